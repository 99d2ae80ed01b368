"""What normalisations and other layers with a parameter for each channel do with labels."""

from typing import Any

import torch
from torch import Tensor, nn

from bayesprune.structure.labels.trace import Operation, Trace
from bayesprune.structure.labels.universe import is_tracked, thin, varying
from bayesprune.structure.layers import channel_count, written_axes


def each_channel(
    trace: Trace, name: str, layer: nn.Module, labels: Tensor, written: dict[str, int], outputs: Tensor
) -> Tensor:
    """The labels behind a layer that hands on channels one by one.

    Args:
        trace: that it is part of.
        name: of the layer.
        layer: with parameters or buffers for each channel.
        labels: thin ones of what it reads.
        written: the axis of each such tensor; "" where it has none, but counts its channels.
        outputs: what it says.
    """
    if not written:  # one slope for all channels
        trace.record.passed[name] = torch.cat([trace.record.passed.get(name, labels.new_zeros(0)), labels.flatten()])
        return labels
    width = max(channel_count(layer, tensor, axis) for tensor, axis in written.items())
    axis = 1 if outputs.dim() > 1 and outputs.shape[1] == width else outputs.dim() - 1
    if axis not in varying(labels) and varying(labels):  # channels along another axis
        said = trace.cause("are normalised along another axis than their own")
        trace.universe.pin(labels, said)
    others = tuple(other for other in range(labels.dim()) if other != axis)
    folded = trace.universe.fold(labels, others, None)
    own = folded.flatten().expand(width).clone()
    for tensor, place in written.items():
        if tensor:
            trace.record.write(name, tensor, place, own)
        else:
            trace.record.writes[name, "", place] = own
    trace.record.passed[name] = own
    return folded


def normalised_axis(layer: Any) -> int | None:
    """Which axis a LayerNorm or RMSNorm normalises: the last one, or 1 of maps; None where that cannot be told.

    A class made from one of torch's may move the channels of maps to the end first.
    """
    if type(layer).forward in (nn.LayerNorm.forward, nn.RMSNorm.forward):
        return -1
    if len(layer.normalized_shape) > 1:
        return None
    plain = nn.LayerNorm.forward if isinstance(layer, nn.LayerNorm) else nn.RMSNorm.forward
    generator = torch.Generator().manual_seed(0)
    size = layer.normalized_shape[0]
    for axis, shape in ((1, (2, size, 2, 3)), (-1, (2, 3, size))):
        features = torch.randn(shape, generator=generator, dtype=next(layer.parameters(), torch.zeros(0)).dtype)
        try:
            said, expected = layer(features), plain(layer, features.movedim(axis, -1)).movedim(-1, axis)
            if said.shape == expected.shape and torch.allclose(said, expected, atol=1e-5):
                return axis
        except Exception:  # it takes no input of this shape
            continue
    return None


def normalised_last(trace: Trace, name: str, layer: Any, labels: Tensor, axis: int) -> Tensor:
    """The labels behind a LayerNorm or RMSNorm, which normalises the last axes, or one other axis."""
    count = len(getattr(layer, "normalized_shape", (0,)))
    axes = tuple(range(labels.dim() - count, labels.dim())) if axis == -1 else (axis,)
    mixed = set(axes) & set(varying(labels))
    if not is_tracked(labels) or not mixed:
        return labels
    said = trace.cause(f"are normalised together by {type(layer).__name__} {name!r}")
    if count > 1 or not _is_one_feature(trace, labels, axes):
        return trace.universe.fold(labels, axes, said)
    labels = trace.universe.fold(labels, tuple(axis for axis in range(labels.dim()) if axis not in axes), None)
    own = labels.flatten()
    for tensor in filter(None, written_axes(layer)):
        trace.record.write(name, tensor, 0, own)
    if name in trace.record.norms:
        trace.universe.unite(trace.record.norms[name][0], own, said)
    trace.record.norms[name], trace.record.passed[name] = (own, axis), own
    return labels


def _is_one_feature(trace: Trace, labels: Tensor, axes: tuple[int, ...]) -> bool:
    """Whether no two channels that layers make lie at the same place of the normalised axes, as those of heads do."""
    others = tuple(axis for axis in range(labels.dim()) if axis not in axes)
    if not set(varying(labels)) & set(others):
        return True
    made = torch.cat([trace.universe.canonical(own) for own in trace.record.made.values()])
    labels = labels.where(torch.isin(labels, made), torch.zeros_like(labels))
    most = labels.amax(others, keepdim=True)
    return bool((labels.where(labels > 0, most) == most).all())


def normalised_in_groups(trace: Trace, name: str, layer: Any, labels: Tensor) -> Tensor:
    """The labels behind a GroupNorm: the channels of one of its groups go together."""
    others = tuple(axis for axis in range(labels.dim()) if axis != 1)
    if 1 not in varying(labels):
        return labels
    own = trace.universe.fold(labels, others, None).flatten()
    said = trace.cause(f"are normalised together by GroupNorm {name!r}")
    blocks = trace.universe.fold(own.reshape(layer.num_groups, -1), (1,), said)
    own = blocks.expand(layer.num_groups, layer.num_channels // layer.num_groups).flatten()
    for tensor in ("weight", "bias"):
        if getattr(layer, tensor, None) is not None:
            trace.record.write(name, tensor, 0, own)
    if layer.weight is None:
        trace.record.writes[name, "", 0] = own
    trace.record.passed[name] = own
    return own.reshape([1, -1] + [1] * (labels.dim() - 2))


def batch_norm(operation: Operation) -> None:
    """Batch normalisation past its module: every parameter and buffer has an element for each channel."""
    args = operation.args
    labels = operation.of(args["input"])
    others = tuple(axis for axis in range(labels.dim()) if axis != 1)
    labels = operation.trace.universe.fold(labels, others, None)
    for name in ("weight", "bias", "running_mean", "running_var"):
        if isinstance(args.get(name), Tensor):
            labels = _joined(operation, labels, args[name], [1, -1] + [1] * (labels.dim() - 2))
    for output in operation.outputs:
        own = labels if output.dim() == labels.dim() else labels.flatten()
        operation.trace.storages.give(output, own if output.dim() else own.new_zeros([]))


def layer_norm(operation: Operation) -> None:
    """Layer normalisation past its module."""
    args = operation.args
    labels = operation.of(args["input"])
    count = len(args["normalized_shape"])
    labels = operation.trace.universe.fold(labels, tuple(range(labels.dim() - count, labels.dim())), operation.mixes)
    for name in ("weight", "bias"):
        if isinstance(args.get(name), Tensor):
            shape = [1] * (labels.dim() - count) + list(args[name].shape)
            labels = _joined(operation, labels, args[name], shape)
    outer = operation.trace.universe.fold(labels, tuple(range(labels.dim() - count, labels.dim())), operation.mixes)
    operation.give(outer)


def group_norm(operation: Operation) -> None:
    """Group normalisation past its module."""
    args = operation.args
    labels, groups, count = operation.of(args["input"]), args["group"], args["input"].shape[1]
    others = tuple(axis for axis in range(labels.dim()) if axis != 1)
    own = operation.trace.universe.fold(labels, others, None).flatten().expand(count)
    blocks = operation.trace.universe.fold(own.reshape(groups, -1), (1,), operation.mixes)
    labels = blocks.expand(groups, count // groups).reshape([1, -1] + [1] * (labels.dim() - 2))
    for name in ("weight", "bias"):
        if isinstance(args.get(name), Tensor):
            labels = _joined(operation, labels, args[name], [1, -1] + [1] * (labels.dim() - 2))
    operation.trace.storages.give(operation.outputs[0], thin(labels))
    for output in operation.outputs[1:]:
        operation.trace.storages.give(output, blocks.reshape(1, -1))


def _joined(operation: Operation, labels: Tensor, parameter: Tensor, shape: list[int]) -> Tensor:
    """The labels with those of a parameter's elements united with them."""
    own = operation.trace.of(parameter)
    own = own.expand(parameter.shape).reshape(shape)
    universe = operation.trace.universe
    if is_tracked(labels) or is_tracked(own):
        universe.unite(labels, own, operation.cause("meet what stays whole"))
    return thin(universe.canonical(torch.maximum(*torch.broadcast_tensors(labels, own))))
