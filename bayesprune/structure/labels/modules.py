"""What layers that are taken as a whole do with labels."""

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor, nn

from bayesprune.structure.kinds import kind_of
from bayesprune.structure.kinds.convolution import CONVOLUTION, TRANSPOSED
from bayesprune.structure.kinds.own_norm import own_norm
from bayesprune.structure.labels.insides import with_units
from bayesprune.structure.labels.layers import convolved, embedded, read_linear
from bayesprune.structure.labels.normalised import each_channel, normalised_axis, normalised_in_groups, normalised_last
from bayesprune.structure.labels.storages import constant
from bayesprune.structure.labels.trace import Trace
from bayesprune.structure.labels.universe import FIXED
from bayesprune.structure.layers import trouble, units_inside, written_axes
from bayesprune.structure.nesting import tensors_in

Layer = Any
Calling = Callable[[Trace, str, Layer, tuple[Any, ...], dict[str, Any], Any], None]
"""Gives the outputs of a layer their labels: trace, name, layer, arguments, keywords, outputs."""


def rule_of_layer(layer: nn.Module) -> Calling | None:
    """The rule of a layer that is taken as a whole; None where what happens inside is followed."""
    if isinstance(layer, (nn.LayerNorm, nn.RMSNorm)):
        return None if (axis := normalised_axis(layer)) is None else partial(_layer_norm, axis=axis)
    own = own_norm(layer)
    if own is not None:
        return partial(_layer_norm, axis=own.axis)
    kind = kind_of(layer)
    if kind is None:
        return None
    if isinstance(layer, nn.GroupNorm):
        return _groups if type(layer).forward is nn.GroupNorm.forward else None
    if trouble(layer, frozenset()) is not None:
        return _uncut
    if units_inside(layer) is not None:
        return with_units
    rules = ((nn.Linear, _linear), (CONVOLUTION, _convolution), ((nn.Embedding, nn.EmbeddingBag), _embedding))
    return next((rule for classes, rule in rules if isinstance(layer, classes)), _passed)


def _features(arguments: tuple[Any, ...], keywords: dict[str, Any]) -> tuple[Tensor, bool]:
    """What a layer is called with, and whether by keyword."""
    if arguments:
        return arguments[0], False
    return next(tensors_in(list(keywords.values()))), True


def _note_called(trace: Trace, name: str, by_keyword: bool) -> None:
    """Note a layer that can have others in front of it and behind it."""
    if not by_keyword:
        trace.record.called.add(name)


def _linear(trace: Trace, name: str, layer: Layer, arguments: Any, keywords: Any, outputs: Any) -> None:
    features, by_keyword = _features(arguments, keywords)
    trace.look_at_examples(features)
    _note_called(trace, name, by_keyword)
    said = read_linear(trace, name, "weight", trace.of(features), (1, 0), layer.bias, by_weight=by_keyword)
    trace.storages.give(outputs, said)


def _convolution(trace: Trace, name: str, layer: Layer, arguments: Any, keywords: Any, outputs: Any) -> None:
    features, by_keyword = _features(arguments, keywords)
    trace.look_at_examples(features)
    _note_called(trace, name, by_keyword)
    said = convolved(
        trace,
        name,
        "weight",
        trace.of(features),
        layer.weight,
        layer.bias,
        layer.groups,
        transposed=isinstance(layer, TRANSPOSED),
        by_weight=by_keyword,
    )
    trace.storages.give(outputs, said)


def _passed(trace: Trace, name: str, layer: Layer, arguments: Any, keywords: Any, outputs: Any) -> None:
    """A layer that hands on channels one by one, along axis 1 or the last one."""
    labels = trace.of(_features(arguments, keywords)[0])
    written = written_axes(layer)
    trace.storages.give(outputs, each_channel(trace, name, layer, labels, written, outputs))


def _embedding(trace: Trace, name: str, layer: Layer, arguments: Any, keywords: Any, outputs: Any) -> None:
    indices, by_keyword = _features(arguments, keywords)
    _note_called(trace, name, by_keyword)
    trace.universe.pin(trace.of(indices), trace.cause("are indices of a table"))
    trace.storages.give(outputs, embedded(trace, name, "weight", outputs.dim() - 1))


def _layer_norm(
    trace: Trace, name: str, layer: Layer, arguments: Any, keywords: Any, outputs: Any, *, axis: int
) -> None:
    features, _ = _features(arguments, keywords)
    trace.storages.give(outputs, normalised_last(trace, name, layer, trace.of(features), axis))


def _groups(trace: Trace, name: str, layer: Layer, arguments: Any, keywords: Any, outputs: Any) -> None:
    features, _ = _features(arguments, keywords)
    trace.storages.give(outputs, normalised_in_groups(trace, name, layer, trace.of(features)))


def _uncut(trace: Trace, name: str, layer: Layer, arguments: Any, keywords: Any, outputs: Any) -> None:
    """A layer that cannot be cut: what it reads and says stays."""
    reason = trouble(layer, frozenset()) or "is no layer that can be cut exactly"
    trace.record.whole[name] = f"it {reason}"
    cause = trace.cause(f"are read by {type(layer).__name__} {name!r}, which {reason}")
    for tensor in tensors_in([*arguments, *keywords.values()]):
        trace.universe.pin(trace.of(tensor), cause)
    for tensor in tensors_in(outputs):
        trace.storages.give(tensor, constant(tensor, FIXED))
