"""Finding the groups of a network: torch-pruning's dependency graph, turned into gates on consumers."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from bayesprune.errors import InputShapeError, UnknownNameError
from bayesprune.structure.builder import StructureBuilder
from bayesprune.structure.groups import Structure
from bayesprune.structure.modes import evaluating
from bayesprune.structure.sources import flattened_readers, input_readers
from bayesprune.structure.tracing import Member, coupled_channels
from bayesprune.structure.verify import verify


def find(
    network: nn.Module,
    example: Tensor,
    *,
    keep: Sequence[str] = (),
    inputs: Literal["auto", "all", "none"] = "auto",
    flatten_inputs: bool = False,
    check: bool = True,
) -> Structure:
    """Find which channels of a network can be removed together.

    Args:
        network: any module that torch-pruning's dependency graph understands; it is left as it is.
        example: a batch [B, ...] of inputs.
        keep: names of layers (or of modules that contain them) whose outputs must stay whole; of a layer that
            cannot be cut the inputs stay whole too. "inputs" keeps every input feature, "fc1.inputs" every
            flattened feature that the layer fc1 reads.
        inputs: gates on input features: "auto" where a linear layer reads them, "all" also where a
            convolution does (its channels), "none" nowhere.
        flatten_inputs: give every flattened feature that a linear layer reads a gate of its own as well.
        check: compare gated and compacted copies on random gates, and refuse what is not the same function.

    Raises:
        UnsupportedLayerError: a layer whose channels cannot be removed exactly (LayerNorm, grouped
            convolution, ...).
        SettingError: `keep` names a layer that is not there.
        InputShapeError: the network cannot take the example.
        NetworkError: the network cannot be traced.
    """
    order = {name: number for number, (name, _) in enumerate(network.named_modules()) if name}
    keep = (keep,) if isinstance(keep, str) else tuple(keep)
    kept = _kept_layers(network, keep)
    _try(network, example)
    builder = StructureBuilder(order)
    if "inputs" not in keep and inputs != "none":
        for layer, feature_axis, features in input_readers(network, example, convolutions=inputs == "all"):
            builder.add_selection("inputs", "inputs", layer, feature_axis, features)
    groups = [members for members in coupled_channels(network, example) if not _is_kept(members, kept)]
    for members in sorted(groups, key=lambda members: min(order.get(m.name, len(order)) for m in members)):
        builder.add_channels(members)
    if flatten_inputs:
        for layer, features in flattened_readers(network, builder.arriving):
            if layer not in kept and f"{layer}.inputs" not in keep:
                builder.add_selection(f"{layer}.inputs", "flatten", layer, -1, features)
    structure = builder.build()
    if check:
        verify(network, structure, example)
    return structure


def _kept_layers(network: nn.Module, keep: tuple[str, ...]) -> set[str]:
    """The layers named in `keep`, and those inside them.

    Raises:
        SettingError: a name is not there.
    """
    names = {name for name, _ in network.named_modules() if name}
    features = {f"{name}.inputs" for name, layer in network.named_modules() if isinstance(layer, nn.Linear)}
    for name in keep:
        if name not in names | features | {"inputs"}:
            raise UnknownNameError("layer in keep", name, names | {"inputs"})
    return {name for name in names if any(name == k or name.startswith(f"{k}.") for k in keep)}


@torch.no_grad()
def _try(network: nn.Module, example: Tensor) -> None:
    """Refuse an example that the network cannot take.

    Raises:
        InputShapeError: with what the network said.
    """
    try:
        with evaluating(network):
            network(example)
    except Exception as error:  # whatever the network's own code raises
        raise InputShapeError(f"the network cannot take inputs of shape {tuple(example.shape)}: {error}") from error


def _is_kept(members: list[Member], kept: set[str]) -> bool:
    """Whether the user excluded a layer that writes these channels, or that reads them and cannot be cut."""
    return any(m.name in kept and (not m.reads or m.trouble is not None) for m in members)
