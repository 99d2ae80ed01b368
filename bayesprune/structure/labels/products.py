"""Operators that multiply matrices: linear layers past their module, and products of activations."""

import torch
from torch import Tensor

from bayesprune.structure.labels.layers import convolved, embedded, read_linear
from bayesprune.structure.labels.trace import Operation
from bayesprune.structure.labels.universe import FIXED, is_tracked, varying


def mm(operation: Operation) -> None:
    """mm, bmm and those with a summand."""
    *summand, first, second = operation.inputs
    bias = summand[0] if summand else None
    labels = _by_parameter(operation, first, second, bias)
    if labels is None:
        labels = _product(operation, _matrix(operation.of(first), 0), _matrix(operation.of(second), 1))
        while labels.dim() > operation.outputs[0].dim():
            labels = labels.squeeze(-2 if first.dim() == 1 else -1)
        if bias is not None:
            _join_summand(operation, labels, bias)
    operation.give(labels)


def _matrix(labels: Tensor, place: int) -> Tensor:
    """A vector as a matrix."""
    return labels if labels.dim() > 1 else labels.unsqueeze(0 if place == 0 else 1)


def _by_parameter(operation: Operation, first: Tensor, second: Tensor, bias: Tensor | None) -> Tensor | None:
    """The labels of a product with a whole parameter, which is a linear layer; None for others."""
    trace = operation.trace
    for matrix, features, is_second in ((second, first, True), (first, second, False)):
        found = _parameter_axes(operation, matrix)
        if found is None or (not is_second and trace.record.owned(features) is not None):
            continue
        parameter, rows, columns = found
        own, labels = trace.record.owner(parameter), operation.of(features)
        reads, writes = (rows, columns) if is_second else (columns, rows)
        if not is_second:
            labels = labels.transpose(-1, -2) if labels.dim() > 1 else labels
        said = read_linear(trace, own.layer, own.tensor, labels, (reads, writes), _bias(operation, bias, is_second))
        return said if is_second or said.dim() < 2 else said.transpose(-1, -2)
    return None


def _bias(operation: Operation, bias: Tensor | None, is_second: bool) -> Tensor | None:
    """The bias, where it is a parameter along the output's last axis."""
    return bias if bias is not None and is_second and bias.dim() == 1 else None


def _parameter_axes(operation: Operation, matrix: Tensor) -> tuple[Tensor, int, int] | None:
    """The two-dimensional parameter that a matrix is a view of the whole of, and which of its axes are which."""
    parameter = operation.trace.record.owned(matrix)
    if parameter is None or parameter.dim() != 2 or matrix.dim() not in (2, 3):
        return None
    if matrix.dim() == 3 and matrix.shape[0] != 1 and matrix.stride(0) != 0:
        return None
    if operation.trace.storages.known(parameter):
        return None  # used element by element before
    shape, strides = tuple(matrix.shape[-2:]), matrix.stride()[-2:]
    if shape == tuple(parameter.shape) and strides == parameter.stride():
        return parameter, 0, 1
    if shape == tuple(parameter.shape[::-1]) and strides == parameter.stride()[::-1]:
        return parameter, 1, 0
    return None


def _product(operation: Operation, one: Tensor, other: Tensor) -> Tensor:
    """The labels of a product of [.., M, K] and [.., K, N], each thin."""
    universe = operation.trace.universe
    if is_tracked(one) and is_tracked(other):
        flat = [labels.flatten(-2) for labels in (one, other)]
        batch = torch.broadcast_shapes(*(labels.shape[:-1] for labels in flat))
        both = torch.cat([labels.expand(*batch, -1) for labels in flat], -1)
        return universe.fold(both, (both.dim() - 1,), operation.mixes).unsqueeze(-1)
    tracked, axis = (one, one.dim() - 1) if is_tracked(one) else (other, other.dim() - 2)
    if axis in varying(tracked):
        universe.pin(tracked, operation.cause("are multiplied with a matrix that stays as it is"))
    return universe.fold(tracked, (axis,), operation.mixes)


def _join_summand(operation: Operation, labels: Tensor, bias: Tensor) -> None:
    if is_tracked(labels) and bias.numel() > 1:
        operation.trace.universe.unite(labels, operation.of(bias), operation.cause("are added to what stays whole"))


def attention(operation: Operation) -> None:
    """Scaled dot-product attention: a head is one class."""
    args, universe = operation.args, operation.trace.universe
    parts = [operation.of(args[name]) for name in ("query", "key", "value")]
    mask = args.get("attn_mask", args.get("attn_bias"))
    if mask is not None and is_tracked(operation.of(mask)):
        labels = operation.of(mask)
        parts.append(labels.reshape([1] * (4 - labels.dim()) + list(labels.shape)))
    flat = [labels.flatten(2) for labels in parts]
    batch = torch.broadcast_shapes(*(labels.shape[:2] for labels in flat))
    heads = universe.fold(torch.cat([labels.expand(*batch, -1) for labels in flat], 2), (2,), operation.mixes)
    for output in operation.outputs:
        shape = [*heads.shape[:2], *[1] * (output.dim() - 2)] if output.dim() >= 2 else [1] * output.dim()
        labels = heads.reshape(shape) if output.dim() >= 2 else heads.new_zeros(shape)
        operation.trace.storages.give(output, labels)


def convolution(operation: Operation) -> None:
    """A convolution that is called past its module."""
    args, trace = operation.args, operation.trace
    weight = args["weight"]
    parameter = trace.record.owned(weight)
    if parameter is None or parameter.shape != weight.shape or trace.storages.known(parameter):
        mixed(operation)
        return
    own = trace.record.owner(parameter)
    features, bias = operation.of(args["self"] if "self" in args else args["input"]), args["bias"]
    operation.give(
        convolved(trace, own.layer, own.tensor, features, weight, bias, args["groups"], transposed=args["transposed"])
    )


def embedding(operation: Operation) -> None:
    """Rows of a table, looked up past a module."""
    trace, weight = operation.trace, operation.args["weight"]
    parameter = trace.record.owned(weight)
    indices = operation.args["indices"]
    trace.universe.pin(operation.of(indices), operation.cause("are indices of a table"))
    if parameter is None or trace.storages.known(parameter):
        labels = trace.universe.fold(operation.of(weight), (0,), operation.mixes)
        operation.give(labels.reshape([1] * indices.dim() + [labels.shape[-1]]))
        return
    own = trace.record.owner(parameter)
    operation.give(embedded(trace, own.layer, own.tensor, indices.dim()))


def mixed(operation: Operation) -> None:
    """Everything that is read becomes one class, which is pinned."""
    universe = operation.trace.universe
    for tensor in operation.inputs:
        universe.pin(operation.of(tensor), operation.mixes)
    operation.give(torch.full([], FIXED, dtype=torch.int32))
