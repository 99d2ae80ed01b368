"""Operators that act element by element, move elements about, or reduce along axes."""

from typing import Any

import torch
from torch import Tensor

from bayesprune.structure.labels.products import mixed
from bayesprune.structure.labels.trace import Operation
from bayesprune.structure.labels.universe import FIXED, is_tracked, thin, varying
from bayesprune.structure.nesting import mapped, tensors_in


def elementwise(operation: Operation) -> None:
    """Operands that broadcast to the output."""
    shape = operation.outputs[0].shape
    labels = joined(operation, operation.inputs, tuple(shape))
    for output in operation.outputs:
        operation.trace.storages.give(output, labels if output.dim() == len(shape) else labels.new_zeros([]))


def joined(operation: Operation, tensors: list[Tensor], shape: tuple[int, ...]) -> Tensor:
    """The labels of operands that broadcast to a shape, united element by element.

    An operand that is spread along an axis of another's channels is one channel that acts on several: it stays.
    """
    universe = operation.trace.universe
    operands = []
    for tensor in tensors:
        labels, missing = operation.of(tensor), len(shape) - tensor.dim()
        spread = {axis for axis, size in enumerate((*[1] * missing, *tensor.shape)) if size < shape[axis]}
        operands.append((labels.reshape([1] * missing + list(labels.shape)), spread))
    if len(operands) == 1:
        return operands[0][0]
    found = None
    for number in range(len(operands)):
        labels, spread = operands[number]
        others = [other for place, (other, _) in enumerate(operands) if place != number and is_tracked(other)]
        meets = tuple(spread & {axis for other in others for axis in varying(other)})
        if meets and _only_elements(operation, others):
            operands = [
                (one if place == number else universe.fold(one, meets, None), own)
                for place, (one, own) in enumerate(operands)
            ]
            labels, meets = operands[number][0], ()
        if meets and _is_outer(operands, number):
            meets = ()  # the others are pinned: they are fewer
        if meets:
            universe.pin(labels, operation.cause("its one channel acts on several others"))
        elif found is None:
            found = labels
        else:
            found = _together(operation, found, labels)
    return torch.full([1] * len(shape), FIXED, dtype=torch.int32) if found is None else found


def _is_outer(operands: list[tuple[Tensor, set[int]]], number: int) -> bool:
    """Whether one of two operands that are spread along each other's channels has more of them, or is the first."""
    if len(operands) != 2:
        return False
    (own, _), (other, spread) = operands[number], operands[1 - number]
    counts = [int(labels.numel()) for labels in (own, other)]
    return bool(spread & set(varying(own))) and (counts[0] > counts[1] or (counts[0] == counts[1] and number == 0))


def _only_elements(operation: Operation, labels: list[Tensor]) -> bool:
    """Whether these are elements of parameters only, of which those along an axis can go together."""
    record, universe = operation.trace.record, operation.trace.universe
    known = [universe.canonical(own).flatten() for own in (*record.made.values(), *record.writes.values())]
    channels = torch.cat([torch.tensor([FIXED], dtype=torch.int32), *known])
    return not any(bool(torch.isin(universe.canonical(each), channels).any()) for each in labels)


def _together(operation: Operation, one: Tensor, other: Tensor) -> Tensor:
    """The labels of two operands that meet, neither of which is spread along the other's channels."""
    universe = operation.trace.universe
    tracked = [labels for labels in (one, other) if is_tracked(labels)]
    if len(tracked) == 2 or (tracked and varying(tracked[0])):
        universe.unite(one, other, operation.cause("meet what stays whole"))
    return thin(universe.canonical(torch.maximum(*torch.broadcast_tensors(one, other))))


def moved(operation: Operation) -> None:
    """Operators that only move elements: the same is done to the labels."""
    func, args, kwargs = operation.given

    def labels(tensor: Tensor) -> Tensor:
        if not tensor.dtype.is_floating_point and operation.name in _INDEXED and tensor is not args[0]:
            operation.trace.universe.pin(operation.of(tensor), operation.cause("are indices"))
            return tensor
        return operation.of(tensor).expand(tensor.shape)

    changed: Any = mapped([*args], labels)
    if operation.name == "constant_pad_nd":
        changed, kwargs = [changed[0], args[1], 0], {}
    try:
        said = func(*changed, **kwargs)
    except (RuntimeError, NotImplementedError):  # some only know numbers with a fraction
        said = func(*mapped(changed, lambda part: part.double() if part.dtype == torch.int32 else part), **kwargs)
    for output, found in zip(operation.outputs, tensors_in(said), strict=True):
        operation.trace.storages.give(output, thin(found.to(torch.int32)))


_INDEXED = ("index", "index_select", "gather", "take", "repeat_interleave", "index_copy", "take_along_dim")


def spatial(axes: int) -> Any:
    """Operators over so many last axes: pooling, resizing."""

    def rule(operation: Operation) -> None:
        tensor = operation.inputs[0]
        for other in operation.inputs[1:]:
            operation.trace.universe.pin(operation.of(other), operation.mixes)
        labels = operation.of(tensor)
        along = tuple(range(labels.dim() - axes, labels.dim()))
        operation.give(operation.trace.universe.fold(labels, along, operation.mixes))

    return rule


def reduced(operation: Operation) -> None:
    """Sums, means, norms, softmax, sorting: along one or several axes."""
    tensor = operation.inputs[0]
    if "other" in operation.args:
        elementwise(operation)
        return
    dims = _axes(operation, tensor.dim())
    labels = operation.trace.universe.fold(operation.of(tensor), dims, operation.mixes)
    for output in operation.outputs:
        own = labels
        if output.dim() < tensor.dim():
            own = labels.reshape([size for axis, size in enumerate(labels.shape) if axis not in dims])
        operation.trace.storages.give(output, own)


def _axes(operation: Operation, dimensions: int) -> tuple[int, ...]:
    """The axes along which an operator works; all where it names none."""
    func, _, _ = operation.given
    args, names = operation.args, {argument.name: argument for argument in func._schema.arguments}
    if "dim" not in names:
        return tuple(range(dimensions))
    dims = args.get("dim", names["dim"].default_value)
    if dims is None or (isinstance(dims, list | tuple) and not dims):
        return tuple(range(dimensions))
    listed = dims if isinstance(dims, list | tuple) else [dims]
    return tuple(sorted({axis % dimensions for axis in listed})) if dimensions else ()


def halves(operation: Operation) -> None:
    """A gated linear unit: what lies at the same place in both halves goes together."""
    tensor = operation.args["self"]
    axis = operation.args.get("dim", -1) % tensor.dim()
    one, other = operation.of(tensor).expand(tensor.shape).chunk(2, axis)
    operation.trace.universe.unite(one, other, operation.cause("meet what stays whole"))
    both = torch.maximum(*(operation.trace.universe.canonical(part) for part in (one, other)))
    operation.give(thin(both))


def triangular(operation: Operation) -> None:
    """Values that stay where they are, some of them set to zero."""
    operation.give(operation.of(operation.inputs[0]))


def added_at(operation: Operation) -> None:
    """Values added to, or written over, others at indices along one axis: both go together with what they meet."""
    args, universe = operation.args, operation.trace.universe
    data, values = args["self"], args.get("source", args.get("src"))
    universe.pin(operation.of(args["index"]), operation.cause("are indices"))
    if not isinstance(values, Tensor) or not data.dim() == values.dim() > 0:
        mixed(operation)
        return
    axis = args["dim"] % data.dim()
    one, other = (universe.fold(operation.of(tensor), (axis,), operation.mixes) for tensor in (data, values))
    shape = [1 if place == axis else size for place, size in enumerate(values.shape)]
    inner = one.expand([1 if place == axis else size for place, size in enumerate(data.shape)])
    for place, size in enumerate(shape):
        inner = inner.narrow(place, 0, size)
    universe.unite(inner, other, operation.cause("meet what stays whole"))
    met = torch.zeros_like(inner).copy_(torch.maximum(*torch.broadcast_tensors(inner, other)))
    whole = one.expand([1 if place == axis else size for place, size in enumerate(data.shape)]).clone()
    whole[tuple(slice(size) for size in shape)] = met  # values may be fewer along the other axes
    operation.give(thin(universe.canonical(whole)))


def packed(operation: Operation) -> None:
    """Sequences of several lengths put one behind the other, or padded again: features stay along the last axis."""
    labels = operation.of(operation.inputs[0])
    labels = operation.trace.universe.fold(labels, tuple(range(labels.dim() - 1)), operation.mixes)
    first, *others = operation.outputs
    operation.trace.storages.give(first, labels.reshape([1] * (first.dim() - 1) + [-1]))
    for output in others:
        operation.trace.storages.give(output, labels.new_zeros([]))


def put(operation: Operation) -> None:
    """Values written into a tensor at indices: both go together with what they meet."""
    func, args, _ = operation.given
    data, indices, values = args[0], args[1], args[2]
    universe = operation.trace.universe
    if len(args) > 3 or not isinstance(values, Tensor):
        mixed(operation)
        return
    labels = operation.of(data).expand(data.shape).clone()
    there = torch.ops.aten.index.Tensor(labels, indices)
    new = operation.of(values)
    universe.unite(there, new, operation.cause("meet what stays whole"))
    both = torch.maximum(*torch.broadcast_tensors(universe.canonical(there), universe.canonical(new)))
    operation.give(thin(torch.ops.aten.index_put(labels, indices, both)))
