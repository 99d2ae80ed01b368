"""Batches: one tensor, or a tuple or dict of tensors, all with the examples along their first axis."""

from collections.abc import Callable, Mapping, Sequence
from inspect import Parameter, signature
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

Batch: TypeAlias = Any
"""Inputs or targets of some examples: a tensor, or a tuple or dict of tensors.

Most are one tensor, and a union would only stand in the way of whoever has one."""


def parts(batch: Any) -> list[Tensor]:
    """The tensors of a batch in their order."""
    if isinstance(batch, Tensor):
        return [batch]
    return list(batch.values()) if isinstance(batch, Mapping) else list(batch)


def named_parts(batch: Any) -> dict[str, Tensor]:
    """The tensors of a batch by name: its key, its place in the tuple as text, or "" for a tensor alone."""
    if isinstance(batch, Tensor):
        return {"": batch}
    if isinstance(batch, Mapping):
        return {str(name): part for name, part in batch.items()}
    return {str(place): part for place, part in enumerate(batch)}


def formed_like(batch: Any, named: Mapping[str, Tensor]) -> Any:
    """Tensors by name (`named_parts`) in the form of another batch."""
    if isinstance(batch, Tensor):
        return named[""]
    return dict(named) if isinstance(batch, Mapping) else tuple(named.values())


def each(function: Callable[[Tensor], Tensor], batch: Any) -> Any:
    """A batch of the same form, with a function of every tensor."""
    if isinstance(batch, Tensor):
        return function(batch)
    if isinstance(batch, Mapping):
        return {name: function(part) for name, part in batch.items()}
    return tuple(function(part) for part in batch)


def count(batch: Any) -> int:
    """Examples in a batch."""
    return len(batch) if isinstance(batch, Tensor) else len(parts(batch)[0])


def take(batch: Any, rows: Any) -> Any:
    """Those examples that an index, a mask or a slice names."""
    return batch[rows] if isinstance(batch, Tensor) else each(lambda part: part[rows], batch)


def head(batch: Any, most: int) -> Any:
    """The first so many examples."""
    return take(batch, slice(most))


def chunks(batch: Any, size: int) -> list[Any]:
    """The batch in pieces of at most so many examples."""
    return [take(batch, slice(first, first + size)) for first in range(0, count(batch), size)]


def join(batches: Sequence[Any]) -> Any:
    """Several batches of one form as one."""
    first = batches[0]
    if len(batches) == 1:
        return first
    if isinstance(first, Tensor):
        return torch.cat(list(batches))
    if isinstance(first, Mapping):
        return {name: torch.cat([batch[name] for batch in batches]) for name in first}
    return tuple(torch.cat(list(same)) for same in zip(*batches, strict=True))


def repeated(batch: Any, times: int) -> Any:
    """The batch so many times in a row."""
    return join([batch] * times)


def shape_of(batch: Any) -> Any:
    """The shape of one example: a tuple of sizes; for several tensors a tuple or dict of such."""
    if isinstance(batch, Tensor):
        return tuple(batch.shape[1:])
    if isinstance(batch, Mapping):
        return {name: tuple(part.shape[1:]) for name, part in batch.items()}
    return tuple(tuple(part.shape[1:]) for part in batch)


def is_batch(value: Any) -> bool:
    """Whether something is a tensor, or a tuple or dict of tensors."""
    if isinstance(value, Tensor):
        return True
    return isinstance(value, tuple | Mapping) and bool(value) and all(isinstance(part, Tensor) for part in parts(value))


def whole_shape(batch: Any) -> Any:
    """The shape of a batch, its examples included; for several tensors a list of shapes."""
    return tuple(batch.shape) if isinstance(batch, Tensor) else [tuple(part.shape) for part in parts(batch)]


def call(network: nn.Module, inputs: Any) -> Any:
    """What a network says of inputs.

    A tuple is handed over as arguments and a dict as named ones, where the network's `forward` takes them so; else
    either is handed over as it is, as one argument.
    """
    if isinstance(inputs, Tensor):
        return network(inputs)
    if isinstance(inputs, Mapping):
        return network(**inputs) if _takes_names(network, inputs) else network(inputs)
    return network(*inputs) if _takes_places(network, len(inputs)) else network(inputs)


def arguments_of(network: nn.Module, inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments with which `call` calls the network."""
    if isinstance(inputs, Mapping) and _takes_names(network, inputs):
        return (), dict(inputs)
    if isinstance(inputs, tuple) and _takes_places(network, len(inputs)):
        return inputs, {}
    return (inputs,), {}


def _parameters(network: nn.Module) -> list[Parameter]:
    try:
        return list(signature(network.forward).parameters.values())
    except (TypeError, ValueError):
        return []


def _takes_names(network: nn.Module, names: Mapping[str, Any]) -> bool:
    taken = _parameters(network)
    known = {one.name for one in taken if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)}
    return set(names) <= known or any(one.kind is one.VAR_KEYWORD for one in taken)


def _takes_places(network: nn.Module, number: int) -> bool:
    taken = _parameters(network)
    places = [one for one in taken if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    return len(places) >= number or any(one.kind is one.VAR_POSITIONAL for one in taken)
