"""Networks that say several things: which output counts, and auxiliary outputs that help to train."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from bayesprune.batches import count, repeated
from bayesprune.devices import widened
from bayesprune.errors import NetworkError
from bayesprune.tasks import Likelihood

FIRST = ""
"""Stands for the first output."""


class Heads:
    """Lets a network say only the output that counts, and remembers auxiliary outputs of training.

    Args:
        network: says a tensor, or a tuple, list or dict of tensors; a hook on it picks one.
        output: the key or place of the output that counts; "" for the first.
        aux: weights of auxiliary outputs, by key or place; they are compared with the same targets.
    """

    def __init__(self, network: nn.Module, output: str = FIRST, aux: Mapping[str, float] | None = None) -> None:
        self.output, self.aux = output, dict(aux or {})
        self._said: dict[str, Tensor] = {}
        network.register_forward_hook(self._pick)

    @staticmethod
    def remove(network: nn.Module) -> None:
        """Let a network say everything again."""
        for key in [key for key, hook in network._forward_hooks.items() if isinstance(_owner(hook), Heads)]:
            del network._forward_hooks[key]

    def __deepcopy__(self, memory: Any) -> "Heads":
        """For the hook on a copy of the network; what was said stays behind."""
        made = Heads.__new__(Heads)
        made.output, made.aux, made._said = self.output, dict(self.aux), {}
        memory[id(self)] = made
        return made

    @staticmethod
    def of(network: nn.Module) -> "Heads | None":
        """Those that a network, or the network that it is a copy of, was given."""
        owners = map(_owner, network._forward_hooks.values())
        return next((owner for owner in owners if isinstance(owner, Heads)), None)

    def loss(self, likelihood: Likelihood, targets: Any) -> Any:
        """The weighted losses of the auxiliary outputs of the last pass with gradients; 0 where there were none."""
        total: Any = 0.0
        for name, said in self._said.items():
            times = len(said) // count(targets)
            total = total + self.aux[name] * likelihood.loss(widened(said), repeated(targets, times))
        self._said = {}
        return total

    def _pick(self, module: nn.Module, _: Any, outputs: Any) -> Any:
        """A forward hook."""
        named = named_outputs(outputs)
        if torch.is_grad_enabled() and module.training:
            self._said = {name: named[name] for name in self.aux if name in named}
        return picked(outputs, self.output)


def _owner(hook: Any) -> Any:
    """Whose method a hook is."""
    return getattr(hook, "__self__", None)


@contextmanager
def saying(network: nn.Module, output: str) -> Iterator[None]:
    """For a while a network says only the output of this name; "" leaves it as it is."""
    if output == FIRST:
        yield
        return
    Heads(network, output)
    try:
        yield
    finally:
        Heads.remove(network)


def named_outputs(outputs: Any) -> dict[str, Tensor]:
    """Several outputs by key, or by place as text; nothing for a single tensor."""
    if isinstance(outputs, Mapping):
        return {str(key): value for key, value in outputs.items()}
    return {str(place): value for place, value in enumerate(outputs)} if isinstance(outputs, tuple | list) else {}


def picked(outputs: Any, name: str) -> Any:
    """One of several outputs; a single tensor as it is.

    Raises:
        NetworkError: there is none of this name.
    """
    if isinstance(outputs, Tensor):
        return outputs
    named = named_outputs(outputs)
    if name == FIRST:
        return next(iter(named.values()), outputs)
    if name not in named:
        said = ", ".join(map(repr, named)) or type(outputs).__name__
        raise NetworkError(f"output={name!r} is no output of the network: it says {said}")
    return named[name]
