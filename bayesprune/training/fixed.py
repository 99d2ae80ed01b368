"""Training at fixed structure, the same for every method."""

from dataclasses import dataclass
from typing import Any

from torch import nn

from bayesprune.data import Split, TensorSplit, last_batch, steps_per_epoch
from bayesprune.run.settings import RunSettings
from bayesprune.tasks import Likelihood
from bayesprune.training import NegativeLogLikelihood, Phase, Start, adam, cosine
from bayesprune.training.network_kinds import network_kind

RATE = 5e-3
"""Learning rate of Adam at the start: a small network bears more than the dense one, which is trained at 2e-3."""

LEAST_STEPS = 8_000
"""A perceptron takes twice the examples a step where so many steps are left."""


MANY = 10_000
"""Training examples from which on two predictions are not asked to agree: it pays with 3,500 and not with 55,000."""


@dataclass(frozen=True)
class FixedDefaults:
    """What was measured to be good for a kind of network at fixed structure.

    Attributes:
        noise: see `FixedTraining`.
        consistency: likewise, with fewer than `MANY` examples; with as many or more it is 0.
        least_decay: weight decay at least; with less than 5e-4 LeNet-5 fits its training images wholly.
        doubles: whether a step takes twice the examples where enough steps are left: the steps of a small perceptron
            cost more calls than arithmetic.
    """

    noise: float
    consistency: float
    least_decay: float
    doubles: bool


FIXED_DEFAULTS = {
    "perceptron": FixedDefaults(0.3, 0.5, 0.0, True),
    "convolutional": FixedDefaults(0.2, 0.0, 5e-4, False),
}
"""By kind of network."""


@dataclass(frozen=True)
class FixedTraining:
    """How a network is trained while its structure stays.

    Attributes:
        batch_size: examples a step.
        steps: optimizer steps.
        learning_rate: at the start; it falls to 0 along half a cosine.
        decay: weight decay.
        noise: standard deviation of the multiplicative noise.
        consistency: weight of the agreement between two noisy predictions.
    """

    batch_size: int
    steps: int
    learning_rate: float
    decay: float
    noise: float
    consistency: float

    @classmethod
    def of(
        cls,
        settings: RunSettings,
        network: nn.Module,
        train: Split,
        *,
        epochs: int,
        slab: float,
        learning_rate: float | None = None,
        decay: float | None = None,
        likelihood: Likelihood | None = None,
    ) -> "FixedTraining":
        """What the settings ask for, and the defaults of the kind of network for the rest.

        Weights decay as the slab's Gaussian prior N(0, slab^2) asks for, by `least_decay` at least. A step takes twice
        the examples, at sqrt(2) the learning rate, where the kind of network asks for it and `LEAST_STEPS` are left.
        By default there is no consistency where the likelihood is a loss, which predicts no law to compare.
        """
        usual = FIXED_DEFAULTS[network_kind(network)]
        compares = len(train) < MANY and (likelihood is None or likelihood.can_sample)
        consistency = usual.consistency if compares else 0.0
        size, factor = settings.batch_size, 1.0
        if usual.doubles and _can_double(train, size, epochs):
            size, factor = 2 * size, 2**0.5
        return cls(
            size,
            epochs * steps_per_epoch(train, size),
            RATE * factor if learning_rate is None else learning_rate,
            max(1 / (len(train) * slab**2), usual.least_decay) if decay is None else decay,
            usual.noise if settings.noise is None else settings.noise,
            consistency if settings.consistency is None else settings.consistency,
        )

    @property
    def objective(self) -> NegativeLogLikelihood:
        """What such training minimises."""
        return NegativeLogLikelihood(self.noise, self.consistency)

    def phase(self, start: Start | None = None, **given: Any) -> Phase:
        """The phase; `given` replaces or adds what a phase takes."""
        usual = {"objective": self.objective, "start": start, "batch_size": self.batch_size}
        return Phase(
            "fixed", self.steps, optimizer=adam(self.learning_rate, self.decay), schedule=cosine, **usual | given
        )


def _can_double(train: Split, size: int, epochs: int) -> bool:
    """Whether twice the batch size leaves enough steps, and no last batch of one example."""
    steps = epochs * steps_per_epoch(train, 2 * size)
    return isinstance(train, TensorSplit) and steps >= LEAST_STEPS and last_batch(train, 2 * size) != 1
