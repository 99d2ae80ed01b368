"""Which layers read the network's input."""

from typing import Any

import torch
from torch import Tensor, nn

from bayesprune.batches import Batch
from bayesprune.structure.layers import is_source, sharing_layers, trouble
from bayesprune.structure.modes import hooked
from bayesprune.structure.passes import Passes

_READING = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


@torch.no_grad()
def input_readers(
    network: nn.Module, example: Batch, passes: Passes, *, convolutions: bool
) -> list[tuple[str, int, int]]:
    """The layers that read the network's input untouched: name, axis of the features and their number.

    A layer reads the input when what it gets is the same memory, reshaped; layers that also read something
    else (a recurrent use) and, unless `convolutions`, convolutions are left out. So are networks with several inputs:
    their features have no common numbers.
    """
    if not isinstance(example, Tensor):
        return []
    found: dict[str, tuple[int, int]] = {}
    calls: dict[str, int] = {}
    source = example.contiguous()

    def watch(name: str, module: nn.Module) -> Any:
        def hook(_: nn.Module, arguments: tuple[Any, ...]) -> None:
            calls[name] = calls.get(name, 0) + 1
            features = arguments[0] if arguments else None
            if features is None or features.data_ptr() != source.data_ptr() or features.numel() != source.numel():
                return
            if isinstance(module, nn.Linear) or (convolutions and is_source(module)):
                feature_axis = -1 if isinstance(module, nn.Linear) else 1
                found[name] = (feature_axis, module.get_parameter("weight").shape[1])

        return module.register_forward_pre_hook(hook)

    shared = sharing_layers(network)
    layers = [
        (name, layer)
        for name, layer in network.named_modules()
        if name and isinstance(layer, _READING) and trouble(layer, shared) is None
    ]
    with hooked(watch(name, layer) for name, layer in layers):
        modes = len(passes(network, source))
    return [(name, axis, features) for name, (axis, features) in found.items() if calls[name] <= modes]
