"""What attention and recurrent layers do with labels: units inside of them are channels like others."""

from typing import Any

import torch
from torch import Tensor

from bayesprune.structure.kinds import Inside
from bayesprune.structure.labels.layers import features_read
from bayesprune.structure.labels.storages import constant
from bayesprune.structure.labels.trace import Trace
from bayesprune.structure.labels.universe import FIXED
from bayesprune.structure.layers import units_inside
from bayesprune.structure.nesting import tensors_in


def with_units(
    trace: Trace, name: str, layer: Any, arguments: tuple[Any, ...], keywords: dict[str, Any], outputs: Any
) -> None:
    """The labels of what a layer with units inside says.

    Args:
        trace: that it is part of.
        name: of the layer.
        layer: attention, or a recurrent layer.
        arguments: that it is called with.
        keywords: likewise.
        outputs: what it says.
    """
    inside = units_inside(layer)
    assert inside is not None
    labels = _made(trace, name, inside)
    given = dict(zip(inside.inputs, arguments, strict=False)) | {
        k: v for k, v in keywords.items() if k in inside.inputs
    }
    for kind, value in given.items():
        labels[kind] = _features(trace, inside, kind, value)
    for kind, other in (inside.tied or {}).items():
        trace.universe.unite(labels[kind], labels[other], trace.cause("meet what stays whole"))
    for place in inside.written:
        trace.record.write(_joined(name, place.layer), place.tensor, place.axis, labels[place.kind][place.units])
    for place in inside.read:
        own = labels[place.kind][place.units]
        trace.record.read(_joined(name, place.layer), place.tensor, place.axis, own, -1, by_weight=True)
    _rest(trace, inside, labels, [*arguments[len(inside.inputs) :], *_others(keywords, inside)])
    _say(trace, name, inside, labels, list(tensors_in(outputs)))


def _made(trace: Trace, name: str, inside: Inside) -> dict[str, Tensor]:
    """The labels of the units, and of the features that it writes besides; the same at every call."""
    record, labels = trace.record, {}
    for kind in dict.fromkeys(place.kind for place in inside.written):
        first = next(place for place in inside.written if place.kind == kind)
        layer = _joined(name, first.layer) if kind not in inside.units else name
        if layer not in record.made:
            record.made[layer] = trace.universe.fresh(int(first.units.max()) + 1)
            record.maker[layer] = layer
        labels[kind] = record.made[layer]
    return labels


def _features(trace: Trace, inside: Inside, kind: str, value: Any) -> Tensor:
    """The labels of the features that an argument has along its last axis."""
    tensor = next(tensors_in(value))
    names = {kind, (inside.tied or {}).get(kind, kind)}
    count = next(int(place.units.max()) + 1 for place in inside.read if place.kind in names)
    labels, is_alike = features_read(trace, trace.of(tensor), -1, count)
    if is_alike:
        trace.universe.pin(trace.of(tensor), trace.cause("are read along another axis than their own"))
    return labels


def _rest(trace: Trace, inside: Inside, labels: dict[str, Tensor], others: list[Any]) -> None:
    """First states go together with the units; other arguments, such as masks, stay."""
    for tensor in tensors_in(others):
        if inside.states is not None and tensor.dim() and tensor.shape[-1] == len(inside.states):
            own, _ = features_read(trace, trace.of(tensor), -1, len(inside.states))
            trace.universe.unite(own, labels[inside.output][inside.states], trace.cause("meet what stays whole"))
        else:
            trace.universe.pin(trace.of(tensor), trace.cause("are read as a mask"))


def _others(keywords: dict[str, Any], inside: Inside) -> list[Any]:
    return [value for key, value in keywords.items() if key not in inside.inputs]


def _say(trace: Trace, name: str, inside: Inside, labels: dict[str, Tensor], outputs: list[Tensor]) -> None:
    """Give the outputs their labels."""
    first, *others = outputs
    says = labels[inside.output][inside.says]
    trace.storages.give(first, says.reshape([1] * (first.dim() - 1) + [-1]))
    for output in others:
        if inside.states is not None and output.is_floating_point():
            own = labels[inside.output][inside.states]
            trace.storages.give(output, own.reshape([1] * (output.dim() - 1) + [-1]))
        elif inside.states is None and output.is_floating_point():  # attention's weights, of which all heads are part
            witness = trace.universe.fresh(1)
            heads = torch.cat([labels[kind] for kind in inside.units])
            trace.record.witnesses.append((witness, heads, trace.cause(f"are averaged in the weights of {name!r}")))
            trace.storages.give(output, witness.reshape([1] * output.dim()))
        else:
            trace.storages.give(output, constant(output, FIXED))


def _joined(name: str, inner: str) -> str:
    return ".".join(part for part in (name, inner) if part)
