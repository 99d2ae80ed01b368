"""Finding the groups of a network: labels of channels, followed through its passes, turned into gates on consumers."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn

from bayesprune.batches import Batch, each, is_batch
from bayesprune.errors import NetworkError, UnknownNameError
from bayesprune.structure.builder import StructureBuilder
from bayesprune.structure.copying import copied
from bayesprune.structure.groups import Structure
from bayesprune.structure.labels.classes import Classes
from bayesprune.structure.labels.follow import follow
from bayesprune.structure.passes import Passes, look
from bayesprune.structure.refusals import Refusal, all_refused
from bayesprune.structure.sources import input_readers
from bayesprune.structure.verify import blamed
from bayesprune.structure.whole import left_whole, unknown_operators

Build = Callable[[tuple[str, ...]], StructureBuilder]
"""Collects the groups that are left when the named layers are kept."""


def find(
    network: nn.Module,
    example: Batch,
    *,
    keep: Sequence[str] = (),
    inputs: Literal["auto", "all", "none"] = "auto",
    flatten_inputs: bool = False,
    check: bool = True,
) -> Structure:
    """Find which channels of a network can be removed together.

    Layers that run in training only, such as auxiliary heads, are seen as well.

    Args:
        network: any module; it is left as it is.
        example: a batch [B, ...] of inputs, or a tuple or dict of such.
        keep: names of layers (or of modules that contain them) whose outputs must stay whole; of a layer that
            cannot be cut the inputs stay whole too. "inputs" keeps every input feature, "fc1.inputs" every
            flattened feature that the layer fc1 reads.
        inputs: gates on input features: "auto" where a linear layer reads them, "all" also where a
            convolution does (its channels), "none" nowhere.
        flatten_inputs: give every flattened feature that a linear layer reads a gate of its own as well.
        check: compare gated and compacted copies on random gates, and refuse what is not the same function.

    Raises:
        UnsupportedLayerError: layers whose channels cannot be removed exactly (LayerNorm, grouped
            convolution, ...); it names them all, with the `keep` that would do.
        SettingError: `keep` names a layer that is not there.
        InputShapeError: the network cannot take the example.
        NetworkError: the network cannot be copied or traced.
    """
    keep = (keep,) if isinstance(keep, str) else tuple(keep)
    _kept_layers(network, keep)
    with torch.inference_mode(False), torch.enable_grad():
        copy, example = copied(network), each(Tensor.clone, example) if is_batch(example) else example
        passes = look(copy, example)
        classes = _classes(copied(copy), example, passes)
        reading = input_readers(copy, example, passes, convolutions=inputs == "all") if inputs != "none" else []

        def build(kept: tuple[str, ...]) -> StructureBuilder:
            return _collected(copy, classes, reading, kept, flatten_inputs=flatten_inputs)

        refusals = unknown_operators(classes, _kept_layers(network, keep))
        structure, refusals = _settled(build, copy, example, passes, keep, refusals, check=check)
    if refusals:
        raise all_refused(refusals, keep, structure.gate_count)
    return replace(structure, whole=left_whole(copy, structure, classes, _kept_layers(network, keep), passes))


def _classes(network: nn.Module, example: Batch, passes: Passes) -> Classes:
    """The classes of a network's channels.

    Raises:
        NetworkError: its own code does not run while it is looked at.
    """
    order = {name: number for number, (name, _) in enumerate(network.named_modules())}
    try:
        return Classes(follow(network, example, passes), order)
    except Exception as error:  # whatever the network's own code raises
        raise NetworkError(
            f"the network cannot be traced for groups of channels ({type(error).__name__}: {error}): its channels "
            "cannot be removed; take a method that masks single weights, such as magnitude"
        ) from error


def _settled(
    build: Build, network: nn.Module, example: Batch, passes: Passes, keep: tuple[str, ...], refusals: list[Refusal], *,
    check: bool,
) -> tuple[Structure, list[Refusal]]:
    """The groups that are exact, and why others are not, which are kept as the refusals advise."""
    while True:
        builder = build((*keep, *(refusal.keep for refusal in refusals)))
        found = builder.refusals
        structure = builder.build()
        if not found and check:
            found = blamed(network, structure, example, passes)
        new = [refusal for refusal in found if refusal not in refusals]
        if not new:
            return structure, refusals
        refusals += new


def _collected(
    network: nn.Module,
    classes: Classes,
    reading: list[tuple[str, int, int]],
    keep: tuple[str, ...],
    *,
    flatten_inputs: bool,
) -> StructureBuilder:
    """All groups but those kept."""
    kept = _kept_layers(network, keep)
    builder = StructureBuilder(classes)
    if "inputs" not in keep:
        for layer, feature_axis, features in reading:
            builder.add_selection("inputs", "inputs", layer, feature_axis, features)
    for found in classes.found:
        if found.whole is None and not classes.writers(found) & kept:
            builder.add_channels(found)
    if flatten_inputs:
        for layer, features in builder.flattened(network):
            if layer not in kept and f"{layer}.inputs" not in keep:
                builder.add_selection(f"{layer}.inputs", "flatten", layer, -1, features)
    return builder


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
