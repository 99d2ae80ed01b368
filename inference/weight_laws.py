"""What a variational method believes of the weights: a point, or a Gaussian."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from torch.optim import Optimizer

from bayesprune.inference.guides import GateGuide, GaussianWeightGuide
from bayesprune.inference.objective import DEVIATIONS, guide_of
from bayesprune.models.gated import GatedModel
from bayesprune.training import TrainState, adam

__all__ = ["DEVIATIONS", "GaussianWeights", "PointWeights", "WeightLaw", "travel_rate"]

TRAVEL, LEAST_RATE, MOST_RATE = 70.0, 1e-3, 0.05
"""Rates for logits and logarithms of deviations: what Adam's steps of a phase sum up to at most, and the limits.

SS-IG's public code takes 1,200 epochs of 59 steps at 1e-3, 70 in all. At 1e-3 the 4,200 steps of mnist5k sum up to 4.2:
no gate gets from 0.99 to 1/2, and useless weights still look certain in the end.
"""


class WeightLaw(Protocol):
    """The guide's part for the weights."""

    @property
    def make(self) -> Callable[[GatedModel, Any], GateGuide]:
        """From a model and the inclusion probability at the start, a number or [J], to the guide."""
        ...

    @property
    def means_first(self) -> bool:
        """Whether deviations stay as they are until the network has learnt."""
        ...

    def optimizers(self, state: TrainState) -> dict[str, Optimizer]:
        """Of what the law learns beside the means, which are the network's own parameters; by name."""
        ...


@dataclass(frozen=True)
class PointWeights:
    """The network's own weights, a point."""

    make = GateGuide
    means_first = False

    def optimizers(self, state: TrainState) -> dict[str, Optimizer]:
        """Nothing is learnt beside the network's parameters."""
        return {}


@dataclass(frozen=True)
class GaussianWeights:
    """Independent Gaussians around the network's parameters (`GaussianWeightGuide`).

    Attributes:
        deviation: standard deviation of every weight at the start.
        learning_rate: of the logarithms of the deviations, by Adam.
        draws: of the weights, for each "batch" or "example".
        kind: "independent" or "prior_when_closed".
        means_first: whether deviations stay as they are until the network has learnt.
    """

    deviation: float
    learning_rate: float
    draws: str = "batch"
    kind: str = "independent"
    means_first: bool = False

    @property
    def make(self) -> Callable[[GatedModel, Any], GateGuide]:
        """The guide."""
        return partial(GaussianWeightGuide, deviation=self.deviation, kind=self.kind, draws=self.draws)

    def optimizers(self, state: TrainState) -> dict[str, Optimizer]:
        """Adam on the logarithms of the deviations."""
        guide = guide_of(state)
        assert isinstance(guide, GaussianWeightGuide)
        return {DEVIATIONS: adam(self.learning_rate)(guide.log_deviation.values())}


def travel_rate(steps: int) -> float:
    """A learning rate for logits and logarithms of deviations in a phase of so many steps."""
    return min(MOST_RATE, max(LEAST_RATE, TRAVEL / max(steps, 1)))
