"""Rules that say when a gate's channel may be removed during training."""

from typing import Any, Protocol

import torch
from torch import Tensor

from bayesprune.errors import UnknownNameError
from bayesprune.inference.attraction import StepAttraction
from bayesprune.inference.objective import gate_optimizer, guide_of
from bayesprune.structure.members import UNGATED, Reader
from bayesprune.training import TrainState

SMOOTHING, SLOW_SMOOTHING = 0.98, 0.998
"""Of the averages of gradient lengths, and of the slow average of d + c."""


LEAST = 1e-9
"""Stands for a steepness or price of 0: far below all that matter, with a finite square."""


class RemovalRule(Protocol):
    """Decides which gates may go."""

    @property
    def slow_smoothing(self) -> float | None:
        """Of the slow average that the gates' optimizer is to keep for the rule; None for none."""
        ...

    def observe(self, state: TrainState) -> None:
        """After every step: keep in the gates' optimizer, which is saved and cut along, what the rule needs."""
        ...

    def removable(self, state: TrainState) -> Tensor:
        """Gates [J] that may be removed now: bool."""
        ...


class Closed:
    """Remove what is closed: theta is exactly 0."""

    name = "closed"
    slow_smoothing: float | None = None

    def observe(self, state: TrainState) -> None:
        """Nothing to keep."""

    def removable(self, state: TrainState) -> Tensor:
        """Gates with theta = 0."""
        return guide_of(state).theta.detach() == 0


class SlowAverage(Closed):
    """Remove a closed gate only if the slow average of d + c is positive too (recipe, section 5)."""

    name = "average"
    slow_smoothing: float | None = SLOW_SMOOTHING

    def removable(self, state: TrainState) -> Tensor:
        """Gates with theta = 0 that were not worth their price for hundreds of steps."""
        return super().removable(state) & (gate_optimizer(state).slow_average(guide_of(state).theta) > 0)


class Attraction:
    """Remove a gate once training's own steps are bound to close it, and not before (`StepAttraction`).

    kappa_j is estimated by the average length of the batch gradient in the outgoing weights w_j over the average of
    theta_j: E||g|| >= ||E g||, and a closed gate passes no gradient, hence the division. A coordinate of w_j moves by
    about the learning rate at most under Adam, so ||w_j|| by that times sqrt(dim w_j). The average m_j that theta
    follows lags behind; the norm is therefore taken as max(||w_j||, -m_j/kappa_j), from which on -m_j <= kappa r holds.
    It is no proof: kappa is an estimate of the past, and noise of d has no bound.

    Args:
        decay: weight decay whose share in the gradient is taken out, 1/(N slab^2).
    """

    name = "attraction"
    slow_smoothing: float | None = None

    def __init__(self, decay: float) -> None:
        self.decay = decay

    @torch.no_grad()
    def observe(self, state: TrainState) -> None:
        """Average the length of the gradients in the outgoing weights, and theta."""
        theta = guide_of(state).theta
        memory: dict[str, Any] = gate_optimizer(state).state[theta]
        for name, value in (("gradient", self._gradient_norms(state)), ("openness", theta)):
            if name not in memory:
                memory[name] = torch.zeros_like(theta)
            memory[name].lerp_(value, 1 - SMOOTHING)

    @torch.no_grad()
    def removable(self, state: TrainState) -> Tensor:
        """Gates in the attraction set."""
        theta, gates = guide_of(state).theta, gate_optimizer(state)
        memory, prices = gates.state[theta], gates.prices
        assert prices is not None
        if gates.ramp <= 0:
            return torch.zeros_like(theta, dtype=torch.bool)  # nothing draws a gate to 0 yet
        kappa = (memory["gradient"] / memory["openness"].clamp_min(LEAST)).clamp_min(LEAST)
        squares, counts = outgoing(state, lambda weight, _: weight)
        norm = torch.maximum(squares.sqrt(), -gates.average(theta) / kappa)
        speed = state.optimizers["network"].param_groups[0]["lr"] * counts.clamp_min(1).sqrt()
        prices = prices.clamp_min(LEAST)
        bounds = StepAttraction(kappa, prices * gates.ramp, gates.gate_step(prices), speed)
        return bounds.contains(norm, theta.detach())

    def _gradient_norms(self, state: TrainState) -> Tensor:
        """Length [J] of the mean loss's batch gradient in each gate's outgoing weights."""
        return outgoing(state, lambda weight, gradient: gradient - self.decay * weight)[0].sqrt()


def outgoing(state: TrainState, pick: Any) -> tuple[Tensor, Tensor]:
    """For each gate the sum of squares, and the number, of the weights that read its channel: [J] both.

    Args:
        state: of the run.
        pick: from a reader's weight and its gradient (zeros where there is none) to what is squared.
    """
    theta = guide_of(state).theta
    squares, counts = theta.new_zeros(2, theta.numel() + 1)  # the last entry takes what belongs to no gate
    for reader in state.structure.readers:
        weight = state.network.get_parameter(reader.parameter)
        gradient = torch.zeros_like(weight) if weight.grad is None else weight.grad
        values = pick(weight.detach(), gradient).movedim(reader.weight_axis, 0).flatten(1)
        column = values.square().sum(1)
        for place in _owners(reader, theta):
            squares.index_add_(0, place, column.to(theta.dtype))
            counts.index_add_(0, place, torch.full_like(column, values.shape[1], dtype=theta.dtype))
    return squares[:-1], counts[:-1]


def _owners(reader: Reader, theta: Tensor) -> list[Tensor]:
    """The gates of the features that a reader reads, J where there is none, where theta lies: copied there once."""
    key = (str(theta.device), theta.numel())
    places: dict[tuple[str, int], list[Tensor]] = reader.__dict__.setdefault("_places", {})
    if key not in places:
        owners = [reader.arriving[reader.selected]] + ([] if reader.selection is None else [reader.selection])
        places[key] = [torch.where(gates == UNGATED, theta.numel(), gates).to(theta.device) for gates in owners]
    return places[key]


REMOVALS = (Closed.name, SlowAverage.name, Attraction.name)
"""The rules by name."""


def removal_rule(name: str, decay: float) -> RemovalRule:
    """Make a rule by name.

    Args:
        name: one of `REMOVALS`.
        decay: weight decay that the prior of the weights amounts to, 1/(N slab^2).

    Raises:
        UnknownNameError: there is no such rule.
    """
    if name not in REMOVALS:
        raise UnknownNameError("removal", name, REMOVALS)
    if name == Attraction.name:
        return Attraction(decay)
    return SlowAverage() if name == SlowAverage.name else Closed()
