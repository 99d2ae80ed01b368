"""What layers that make or read channels do with labels, whether they are called or used past their module."""

import torch
from torch import Tensor

from bayesprune.structure.labels.trace import Trace
from bayesprune.structure.labels.universe import FIXED, NEUTRAL, is_tracked, thin, varying

_HOLDS = "each of its channels holds the channels of other layers"


def features_read(trace: Trace, labels: Tensor, axis: int, count: int) -> tuple[Tensor, bool]:
    """The label [count] of each feature that a layer reads along an axis of its input.

    Returns:
        The labels, and whether other axes than this hold channels, each of which the layer treats alike.
    """
    axis %= labels.dim()
    if is_tracked(labels) and axis not in varying(labels) and varying(labels):
        return torch.full((count,), FIXED, dtype=torch.int32), True
    others = tuple(other for other in range(labels.dim()) if other != axis)
    return trace.universe.fold(labels, others, None).flatten().expand(count), False


def read_linear(
    trace: Trace,
    layer: str,
    tensor: str,
    labels: Tensor,
    axes: tuple[int, int],
    bias: Tensor | None,
    *,
    by_weight: bool = True,
) -> Tensor:
    """The labels of what a linear layer says.

    Args:
        trace: that it is part of.
        layer: its name.
        tensor: its weight.
        labels: thin ones of its input [..., F].
        axes: the weight's axes of what is read and of what is written.
        bias: added to what is written, or None.
        by_weight: whether the layer is used past its module.
    """
    reads, writes = axes
    weight = getattr(trace.record.network.get_submodule(layer), tensor)
    arriving, is_alike = features_read(trace, labels, -1, weight.shape[reads])
    trace.record.read(layer, tensor, reads, arriving, -1, by_weight=by_weight)
    name = layer if tensor == "weight" and layer else f"{layer}.{tensor}".lstrip(".")
    written = trace.record.make(layer, tensor, writes, weight.shape[writes], name)
    write_bias(trace, bias, written)
    if is_alike:
        trace.universe.pin(written, trace.cause(_HOLDS))
        return labels
    return thin(written.reshape([1] * (labels.dim() - 1) + [-1]))


def write_bias(trace: Trace, bias: Tensor | None, written: Tensor) -> None:
    """Note what a bias is added to."""
    if bias is None:
        return
    parameter = trace.record.owned(bias)
    if parameter is None or parameter.shape != bias.shape or trace.storages.known(parameter):
        trace.universe.unite(trace.of(bias), written, trace.cause("are added to what stays whole"))
        return
    own = trace.record.owner(parameter)
    trace.record.write(own.layer, own.tensor, 0, written)


def convolved(
    trace: Trace,
    layer: str,
    tensor: str,
    labels: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    groups: int,
    *,
    transposed: bool = False,
    by_weight: bool = True,
) -> Tensor:
    """The labels of what a convolution says; arguments as for `read_linear`, labels of its input [B, C, ...]."""
    if labels.dim() != weight.dim():
        trace.universe.pin(labels, trace.cause("are read by a convolution without an axis of examples"))
        return torch.full([1] * labels.dim(), FIXED, dtype=torch.int32)
    reads = weight.shape[0] if transposed else weight.shape[1] * groups
    writes = weight.shape[1] * groups if transposed else weight.shape[0]
    if groups > 1:
        written = _grouped(trace, layer, tensor, labels, (reads, writes, groups), transposed)
    else:
        arriving, is_alike = features_read(trace, labels, 1, reads)
        read_axis, write_axis = (0, 1) if transposed else (1, 0)
        trace.record.read(layer, tensor, read_axis, arriving, 1, by_weight=by_weight)
        name = layer if tensor == "weight" and layer else f"{layer}.{tensor}".lstrip(".")
        written = trace.record.make(layer, tensor, write_axis, writes, name)
        if is_alike:
            trace.universe.pin(written, trace.cause(_HOLDS))
            write_bias(trace, bias, written)
            spatial = tuple(range(2, labels.dim()))
            return trace.universe.fold(labels, spatial, trace.cause("a convolution mixes its channels"))
    write_bias(trace, bias, written)
    return thin(written.reshape([1, -1] + [1] * (labels.dim() - 2)))


def _grouped(
    trace: Trace, layer: str, tensor: str, labels: Tensor, sizes: tuple[int, int, int], transposed: bool
) -> Tensor:
    """The labels [O] of what a grouped convolution says: a block's inputs and outputs go together."""
    reads, writes, groups = sizes
    others = tuple(axis for axis in range(labels.dim()) if axis != 1)
    arriving = trace.universe.fold(labels, others, None).flatten().expand(reads)
    blocks = trace.universe.fold(
        arriving.reshape(groups, -1), (1,), trace.cause("a convolution reads its channels in groups")
    )
    blocks = blocks.expand(groups, 1).flatten()
    if bool((blocks < 2).all()):
        if layer not in trace.record.whole:
            trace.record.whole[layer] = "it reads in groups what stays whole"
        return torch.full((writes,), int(blocks.max().clamp_min(NEUTRAL)), dtype=torch.int32)
    inner, outer = (blocks.repeat_interleave(size // groups) for size in (reads, writes))
    trace.record.write(layer, tensor, 0, inner if transposed else outer)
    trace.record.passed[layer] = outer
    return outer


def embedded(trace: Trace, layer: str, tensor: str, dimensions: int) -> Tensor:
    """The labels of rows that an embedding looks up at indices of so many dimensions."""
    weight = getattr(trace.record.network.get_submodule(layer), tensor)
    name = layer if tensor == "weight" and layer else f"{layer}.{tensor}".lstrip(".")
    written = trace.record.make(layer, tensor, 1, weight.shape[1], name)
    trace.record.tables.add((layer, tensor))
    return written.reshape([1] * dimensions + [-1])
