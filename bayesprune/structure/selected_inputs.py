"""Input gates of a network that was pruned before: the features that it still selects can be removed as well."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from bayesprune.batches import Batch
from bayesprune.structure.groups import Structure
from bayesprune.structure.layers import TRANSPOSED
from bayesprune.structure.members import UNGATED, Group, Reader
from bayesprune.structure.modes import evaluating, hooked
from bayesprune.structure.selectors import Selected

_NAME = "inputs"


def with_input_gates(
    network: nn.Module, structure: Structure, example: Batch, keep: Sequence[str], inputs: str
) -> Structure:
    """The structure with gates on those input features that selectors pass on, numbered as in the full input.

    Args:
        network: some of whose layers may stand behind a selector (`Selected`).
        structure: as `find` gives it; one that has input gates stays as it is.
        example: a batch [B, ...] of inputs.
        keep: as for `find`; "inputs" among it leaves all of them.
        inputs: as for `find`.
    """
    if inputs == "none" or _NAME in keep or not isinstance(example, Tensor):
        return structure
    found = _selected(network, example, convolutions=inputs == "all")
    kept = [module.select.kept for module, _ in found.values()]
    if not found or _NAME in structure.slices() or any(not torch.equal(one, kept[0]) for one in kept):
        return structure
    count, layers = len(kept[0]), tuple(f"{name}.layer" for name in found)
    sizes = {features for _, features in found.values()}
    group = Group(_NAME, max(sizes), kept[0].cpu().clone(), (), layers, "inputs")
    readers = [_reader(f"{name}.layer", module, features) for name, (module, features) in found.items()]
    return replace(
        structure,
        groups=(group, *structure.groups),
        axes=tuple(replace(axis, gates=_moved(axis.gates, count)) for axis in structure.axes),
        readers=(*readers, *(_moved_reader(reader, count) for reader in structure.readers)),
        norms=tuple(replace(norm, gates=_moved(norm.gates, count)) for norm in structure.norms),
    )


@torch.no_grad()
def _selected(network: nn.Module, example: Tensor, *, convolutions: bool) -> dict[str, tuple[Selected, int]]:
    """By name the selected layers that get the network's input itself, maybe reshaped, and its number of features."""
    found: dict[str, tuple[Selected, int]] = {}
    source = example.contiguous()

    def watch(name: str, module: Selected) -> Any:
        def hook(_: nn.Module, arguments: tuple[Any, ...]) -> None:
            features = arguments[0]
            if features.data_ptr() == source.data_ptr() and features.numel() == source.numel():
                found[name] = (module, features.shape[module.select.axis])

        return module.register_forward_pre_hook(hook)

    modules = [(name, module) for name, module in network.named_modules() if isinstance(module, Selected)]
    wanted = [(name, module) for name, module in modules if convolutions or module.select.axis == -1]
    if wanted:
        with hooked(watch(name, module) for name, module in wanted), evaluating(network):
            network(source)
    return found


def _reader(name: str, module: Selected, features: int) -> Reader:
    """A layer behind a selector, whose features have the first gates."""
    kept = module.select.kept.cpu()
    axis = 0 if isinstance(module[1], TRANSPOSED) else 1
    arriving, gates = torch.full((features,), UNGATED), torch.arange(len(kept))
    return Reader(name, axis, module.select.axis, arriving, kept.clone(), gates)


def _moved(gates: Tensor, count: int) -> Tensor:
    """Gates behind so many new ones."""
    return torch.where(gates == UNGATED, gates, gates + count)


def _moved_reader(reader: Reader, count: int) -> Reader:
    selection = None if reader.selection is None else _moved(reader.selection, count)
    return replace(reader, arriving=_moved(reader.arriving, count), selection=selection)
