"""What a law of random multipliers says: draws, what it costs, what is left of it at test time, and who may go."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn


class MultiplierLaw(nn.Module, ABC):
    """Independent random multipliers, one a gate, that the consumers of a channel multiply it by.

    All parameters have one entry a gate [J]; they are cut along when the network shrinks. A law on a larger whole, such
    as a layer, keeps that apart (`shared_parameters`).

    Attributes:
        keep_above: a channel stays, by the published rule, where `score` is above this.
    """

    keep_above: float = 0.5

    @abstractmethod
    def draw(self, shape: torch.Size, gates: Tensor | None = None) -> Tensor:
        """Multipliers of a shape [J] or [B, J], differentiable in the parameters.

        Args:
            shape: of what is drawn.
            gates: which gates to draw for, [K] instead of all J; the shape then ends in K.
        """

    @abstractmethod
    def penalty(self) -> Tensor:
        """What each multiplier costs [J], in nats of the whole training set: mostly a Kullback-Leibler divergence."""

    @abstractmethod
    def fixed(self) -> Tensor:
        """The multipliers at test time [J], as published."""

    @abstractmethod
    def score(self) -> Tensor:
        """How much speaks for each channel [J], in [0, 1]; a probability only where the law's docstring says so."""

    def hold(self) -> None:
        """Bring the parameters back to where the formulas hold; called after every step."""

    def shared_penalty(self) -> Tensor | float:
        """What parameters that no single gate owns cost, in nats; 0 where there are none."""
        return 0.0

    def shared_parameters(self) -> list[nn.Parameter]:
        """Parameters that no single gate owns, which are not cut."""
        return []

    def gate_parameters(self) -> list[nn.Parameter]:
        """Parameters of one entry a gate."""
        shared = {id(parameter) for parameter in self.shared_parameters()}
        return [parameter for parameter in self.parameters() if id(parameter) not in shared]


def chosen(parameter: Tensor, gates: Tensor | None) -> Tensor:
    """The entries of some gates, or all."""
    return parameter if gates is None else parameter[gates]


def open_unit(shape: torch.Size, like: Tensor) -> Tensor:
    """Uniform numbers strictly inside (0, 1)."""
    uniform = torch.rand(shape, dtype=like.dtype, device=like.device)
    return uniform.clamp(torch.finfo(like.dtype).tiny, 1 - torch.finfo(like.dtype).eps / 2)
