"""Following labels through one or several passes of a network: layers as wholes, everything else by operator."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from bayesprune.batches import count, parts
from bayesprune.errors import NetworkError
from bayesprune.structure.labels.code import running_line
from bayesprune.structure.labels.record import Record
from bayesprune.structure.labels.storages import Storages, constant
from bayesprune.structure.labels.universe import FIXED, NEUTRAL, Cause, Universe, is_tracked
from bayesprune.structure.nesting import tensors_in


@dataclass
class Operation:
    """One call of an operator, or of a layer that is taken as a whole.

    Attributes:
        trace: that it is part of.
        name: of the operator, without the underscore of one that works in place.
        args: by the names of the operator's parameters.
        outputs: the tensors that it gives.
        given: the operator itself and its arguments, to be applied to labels.
    """

    trace: "Trace"
    name: str
    args: dict[str, Any]
    outputs: list[Tensor]
    given: tuple[Any, tuple[Any, ...], dict[str, Any]]

    @property
    def inputs(self) -> list[Tensor]:
        """All tensors that it gets."""
        return list(tensors_in(list(self.args.values())))

    def of(self, tensor: Tensor) -> Tensor:
        """The thin labels of a tensor."""
        return self.trace.of(tensor)

    def give(self, labels: Tensor) -> None:
        """Give all outputs these labels, expanded to their shapes."""
        for output in self.outputs:
            self.trace.storages.give(output, labels)

    def cause(self, said: str, *, refused: bool = False) -> Cause:
        """What happens here, with the place."""
        return self.trace.cause(said, refused=refused)

    @property
    def mixes(self) -> Cause:
        """That this operator mixes channels."""
        return self.cause(f"{self.name.strip('_')!r} mixes its channels")


Rule = Callable[[Operation], None]


class Trace(TorchDispatchMode):
    """Follows labels while it is entered.

    Args:
        network: the network, whose layers get hooks while `layers_hooked` lasts.
        rule_of: the rule of an operator, or None where there is none.
        example: the network's inputs.
    """

    def __init__(self, network: nn.Module, rule_of: Callable[[Any], Rule | None], example: Any) -> None:
        super().__init__()
        self.example = example
        self.universe = Universe()
        self.storages = Storages(self.universe)
        self.record = Record(network, self.universe)
        self._rule_of = rule_of
        self._path: list[str] = []
        self._inside = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        """Run an operator, and give its outputs labels."""
        kwargs = kwargs or {}
        outputs = func(*args, **kwargs)
        if not self._inside and torch.Tag.inplace_view not in func.tags:
            with _told(str(func)):
                self._follow(func, args, kwargs, outputs)
        return outputs

    def of(self, tensor: Tensor) -> Tensor:
        """The thin labels of a tensor; a parameter or buffer gets one for each element at its first use."""
        if not self.storages.known(tensor):
            owned = self.record.owned(tensor)
            if owned is not None:
                labels = self.universe.fresh(owned.numel()).reshape(owned.shape)
                self.storages.give(owned, labels)
                self.record.touched(owned, labels)
        return self.storages.of(tensor)

    def begin(self) -> None:
        """Begin a pass: the network's inputs are there and stay."""
        self._path, self._inside = [], 0
        for tensor in parts(self.example):
            self.storages.give(tensor, constant(tensor, FIXED))

    def look_at_examples(self, features: Tensor) -> None:
        """Note whether channels that a layer reads have the examples along their first axis."""
        if bool((self.of(features) != NEUTRAL).any()):
            self.record.examples_first &= features.dim() > 1 and len(features) == count(self.example)

    def cause(self, said: str, *, refused: bool = False) -> Cause:
        """What happens now, with the module and the line of the user's code."""
        return Cause(said, self._path[-1] if self._path else "", running_line(), refused)

    @contextmanager
    def layers_hooked(self, network: nn.Module, whole: Callable[[nn.Module], Any]) -> Iterator[None]:
        """Keep account of the modules that run.

        Args:
            network: whose modules run.
            whole: the rule of a layer that is taken as a whole, called with (trace, name, layer, arguments, keywords,
                outputs); None where what happens inside is followed.
        """
        handles = []
        for name, module in network.named_modules():
            rule = whole(module)
            before, after = self._entering(name, rule), self._leaving(name, module, rule)
            handles.append(module.register_forward_pre_hook(before, prepend=True, with_kwargs=True))
            handles.append(module.register_forward_hook(after, with_kwargs=True))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _entering(self, name: str, rule: Any) -> Any:
        def enter(_: nn.Module, arguments: Any, keywords: Any) -> None:
            self._path.append(name)
            self._inside += rule is not None

        return enter

    def _leaving(self, name: str, module: nn.Module, rule: Any) -> Any:
        def leave(_: nn.Module, arguments: Any, keywords: Any, outputs: Any) -> None:
            self._inside -= rule is not None
            if rule is not None and not self._inside:
                with _disable_current_modes(), torch._C.DisableTorchFunction(), torch.no_grad(), _told(name):
                    rule(self, name, module, arguments, keywords, outputs)
            self._path.pop()

        return leave

    def _follow(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], outputs: Any) -> None:
        """Give the outputs of an operator their labels."""
        inputs, found = list(tensors_in([*args, *kwargs.values()])), list(tensors_in(outputs))
        own = {tensor.untyped_storage()._cdata for tensor in inputs}
        if not func._schema.is_mutable:
            found = [tensor for tensor in found if tensor.untyped_storage()._cdata not in own]
        if not found:
            return
        name = func._overloadpacket.__name__
        is_put_together = name in ("cat", "stack") and len({self._is_neutral(tensor) for tensor in inputs}) > 1
        if not any(map(self._matters, inputs)) and not is_put_together:
            is_fixed = any(not self._is_neutral(tensor) for tensor in inputs) and not _is_made_new(name)
            for tensor in found:
                if not (func._schema.is_mutable and self.storages.known(tensor)):
                    self.storages.give(tensor, constant(tensor, FIXED if is_fixed else NEUTRAL))
            return
        named = {argument.name: value for argument, value in zip(func._schema.arguments, args, strict=False)}
        operation = Operation(self, name.rstrip("_"), named | kwargs, found, (func, args, kwargs))
        if _is_made_new(name):
            operation.give(torch.zeros([], dtype=torch.int32))
            return
        rule = self._rule_of(func)
        if rule is None:
            _without_rule(operation)
        else:
            rule(operation)

    def _matters(self, tensor: Tensor) -> bool:
        """Whether a tensor holds channels, or parameters, which may turn out to."""
        if not self.storages.known(tensor):
            return self.record.owned(tensor) is not None
        return is_tracked(self.storages.of(tensor))

    def _is_neutral(self, tensor: Tensor) -> bool:
        return bool((self.storages.of(tensor) == NEUTRAL).all())


@contextmanager
def _told(name: str) -> Iterator[None]:
    """Name what cannot be followed."""
    try:
        yield
    except Exception as error:  # shapes that no rule counted on
        raise NetworkError(
            f"the network cannot be traced for groups of channels at {name!r} {running_line()} "
            f"({type(error).__name__}: {error}): its channels cannot be removed; take a method that masks single "
            "weights, such as magnitude"
        ) from error


def _is_made_new(name: str) -> bool:
    """Whether an operator makes values that depend on no others, of their size at most."""
    return name.endswith("_like") or name.startswith("new_")


def _without_rule(operation: Operation) -> None:
    """Keep what an operator reads that nobody knows."""
    said = f"the operator {operation.name!r} is not known to keep channels apart"
    cause = operation.cause(said, refused=True)
    for tensor in operation.inputs:
        operation.trace.universe.pin(operation.of(tensor), cause)
    operation.give(torch.full([], FIXED, dtype=torch.int32))
