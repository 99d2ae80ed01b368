"""Finding the groups of a network: labels of channels, followed through its passes, turned into gates on consumers."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn

from bayesprune.batches import Batch, each, is_batch
from bayesprune.errors import NetworkError
from bayesprune.structure.copying import copied
from bayesprune.structure.examples import examples_come_first
from bayesprune.structure.groups import Structure
from bayesprune.structure.labels.classes import Classes
from bayesprune.structure.labels.follow import follow
from bayesprune.structure.refusals import all_refused
from bayesprune.structure.settling import Plan, kept_layers, settled
from bayesprune.structure.sources import input_readers
from bayesprune.structure.whole import left_whole, unknown_operators, unseen_layers


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
        check: compare gated and compacted copies on random gates: groups that the network's code does not allow to
            shrink go on with zeros in place of removed channels (`Structure.spread`) or stay whole, and what is not
            the same function all the same is refused. Without it none of this is known.

    Returns:
        The groups; layers that could make channels and stay whole are listed with the reason (`Structure.whole`).

    Raises:
        UnsupportedLayerError: operators that are not known, or groups whose removal is not the same function as
            their gates; it names all of them, with the line of code and the `keep` that would do.
        SettingError: `keep` names a layer that is not there.
        InputShapeError: the network cannot take the example.
        NetworkError: the network cannot be copied or traced, or is compiled.
    """
    return _found(network, example, keep, inputs, flatten_inputs=flatten_inputs, check=check)


def find_again(
    network: nn.Module,
    example: Batch,
    *,
    keep: Sequence[str] = (),
    inputs: Literal["auto", "all", "none"] = "auto",
    flatten_inputs: bool = False,
    groups: Mapping[str, Collection[str]],
    spread: Collection[str] = (),
) -> Structure:
    """The structure that an earlier call of `find` found, maybe that of an earlier version; nothing is compared.

    Args:
        network: as it was then.
        example: inputs of the same shape; their values do not matter.
        keep: as for `find`.
        inputs: as for `find`.
        flatten_inputs: as for `find`.
        groups: those that were found, by name, with the attributes that follow their sizes (`Group.counted`); others
            that are found now are left whole.
        spread: layers that were spread.

    Raises:
        NetworkError: as for `find`.
    """
    former = {name: tuple(counted) for name, counted in groups.items()}, frozenset(spread)
    return _found(network, example, keep, inputs, flatten_inputs=flatten_inputs, former=former)


def _found(
    network: nn.Module,
    example: Batch,
    keep: Sequence[str],
    inputs: str,
    *,
    flatten_inputs: bool,
    check: bool = False,
    former: tuple[dict[str, tuple[str, ...]], frozenset[str]] | None = None,
) -> Structure:
    """See `find` and `find_again`."""
    keep = (keep,) if isinstance(keep, str) else tuple(keep)
    _refuse_compiled(network)
    kept_layers(network, keep)
    with torch.inference_mode(False), torch.enable_grad():
        copy, example = copied(network), each(Tensor.clone, example) if is_batch(example) else example
        trace, passes = follow(copy, example)
        order = {name: number for number, (name, _) in enumerate(network.named_modules())}
        classes = Classes(trace, order)
        reading = input_readers(copy, example, passes, convolutions=inputs == "all") if inputs != "none" else []
        reading = [one for one in reading if not trace.record.is_used_otherwise(one[0])]
        plan = Plan(keep, classes, reading, flatten_inputs=flatten_inputs)
        refusals = unknown_operators(classes, kept_layers(network, keep))
        if former is not None:
            plan.restrict(copy, *former)
        structure = settled(plan, copy, example, passes, refusals, check=check)
    if refusals:
        raise all_refused(refusals, keep, structure.gate_count, unseen_layers(copy, passes))
    if check:
        structure = replace(structure, examples_first=True)
        structure = replace(structure, examples_first=examples_come_first(copy, structure, example, passes))
    whole = left_whole(copy, structure, classes, kept_layers(network, keep), passes, plan.whole)
    return replace(structure, whole=whole)


def _refuse_compiled(network: nn.Module) -> None:
    """Refuse modules that run code of torch.compile, in which layers are not seen."""
    for name, module in network.named_modules():
        if "_orig_mod" in module._modules:
            raise NetworkError(
                f"{f'module {name!r}' if name else 'the network'} was compiled (torch.compile), which hides its "
                "layers: give what was compiled (its attribute _orig_mod), and compile the compact network"
            )
