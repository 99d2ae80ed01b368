"""Finding the groups of a network: labels of channels, followed through its passes, turned into gates on consumers."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn

from bayesprune.batches import Batch, each, is_batch
from bayesprune.structure.copying import copied
from bayesprune.structure.groups import Structure
from bayesprune.structure.labels.classes import Classes
from bayesprune.structure.labels.follow import follow
from bayesprune.structure.refusals import all_refused
from bayesprune.structure.settling import Plan, kept_layers, settled
from bayesprune.structure.sources import input_readers
from bayesprune.structure.whole import left_whole, unknown_operators

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
    kept_layers(network, keep)
    with torch.inference_mode(False), torch.enable_grad():
        copy, example = copied(network), each(Tensor.clone, example) if is_batch(example) else example
        trace, passes = follow(copy, example)
        order = {name: number for number, (name, _) in enumerate(network.named_modules())}
        classes = Classes(trace, order)
        reading = input_readers(copy, example, passes, convolutions=inputs == "all") if inputs != "none" else []

        plan = Plan(keep, classes, reading, flatten_inputs=flatten_inputs)
        refusals = unknown_operators(classes, kept_layers(network, keep))
        structure = settled(plan, copy, example, passes, refusals, check=check)
    if refusals:
        raise all_refused(refusals, keep, structure.gate_count)
    whole = left_whole(copy, structure, classes, kept_layers(network, keep), passes, plan.whole)
    return replace(structure, whole=whole)
