"""What a variational method believes of the weights: a point, or a Gaussian."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import log
from typing import Protocol

from torch.optim import Optimizer

from bayesprune.inference.guides import GateGuide, GaussianWeightGuide
from bayesprune.inference.objective import guide_of
from bayesprune.models.gated import GatedModel
from bayesprune.training import TrainState, adam

DEVIATIONS = "deviations"
"""Name of the optimizer of the weights' standard deviations."""

TRAVELS = 4.0
"""Adam moves a parameter by its rate a step at most; rates let it go so many times the way it may have."""

LEAST_RATE, MOST_RATE = 1e-3, 0.05
"""Limits of such rates, however short or long the phase is: a deviation that doubles at each step ruins a network."""


class WeightLaw(Protocol):
    """The guide's part for the weights."""

    @property
    def make(self) -> Callable[[GatedModel, float], GateGuide]:
        """From a model and the inclusion probability at the start to the guide."""
        ...

    def optimizers(self, state: TrainState) -> dict[str, Optimizer]:
        """Of what the law learns beside the means, which are the network's own parameters; by name."""
        ...


@dataclass(frozen=True)
class PointWeights:
    """The network's own weights, a point."""

    make = GateGuide

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
    """

    deviation: float
    learning_rate: float
    draws: str = "batch"
    kind: str = "independent"

    @property
    def make(self) -> Callable[[GatedModel, float], GateGuide]:
        """The guide."""
        return partial(GaussianWeightGuide, deviation=self.deviation, kind=self.kind, draws=self.draws)

    def optimizers(self, state: TrainState) -> dict[str, Optimizer]:
        """Adam on the logarithms of the deviations."""
        guide = guide_of(state)
        assert isinstance(guide, GaussianWeightGuide)
        return {DEVIATIONS: adam(self.learning_rate)(guide.log_deviation.values())}


def deviation_rate(deviation: float, slab: float, steps: int) -> float:
    """A learning rate at which a deviation can grow from its start to that of the slab several times in so many steps.

    At 1e-3 and 4,200 steps of Adam a logarithm moves by 4.2, less than the 6 from 0.0025 to 1: useless weights would
    still look certain in the end.
    """
    return travel_rate(abs(log(slab / deviation)), steps)


def travel_rate(way: float, steps: int) -> float:
    """What lets a parameter go `TRAVELS` times the way in so many steps of Adam, within limits."""
    return min(MOST_RATE, max(LEAST_RATE, TRAVELS * way / max(steps, 1)))
