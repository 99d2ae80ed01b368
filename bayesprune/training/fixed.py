"""Training at fixed structure, the same for every method."""

from dataclasses import dataclass
from typing import Any

from torch import nn

from bayesprune.data import Split, TensorSplit, last_batch, steps_per_epoch
from bayesprune.errors import SettingError
from bayesprune.run.settings import RunSettings
from bayesprune.tasks import Likelihood
from bayesprune.training import NegativeLogLikelihood, Phase, Start, cosine
from bayesprune.training.network_kinds import network_kind
from bayesprune.training.phase import MAKERS

RATE = 5e-3
"""Learning rate of Adam at the start: a small network bears more than the dense one, which is trained at 2e-3."""

SGD_RATE = 0.1
"""Learning rate of gradient descent at the start, before pruning as well: usual for networks that batch normalisation
keeps in scale (He et al., arXiv 1512.03385, section 4.2)."""

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
        optimizer: of the weights, a key of `MAKERS`.
    """

    batch_size: int
    steps: int
    learning_rate: float
    decay: float
    noise: float
    consistency: float
    optimizer: str = "adam"

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

        Raises:
            SettingError: consistency is asked for, and there is no law.
        """
        usual = FIXED_DEFAULTS[network_kind(network)]
        compares = len(train) < MANY and (likelihood is None or likelihood.can_sample)
        consistency = usual.consistency if compares else 0.0
        if settings.consistency and likelihood is not None and not likelihood.can_sample:
            raise SettingError(
                f"consistency={settings.consistency:g} compares predicted laws, and a loss predicts none: leave it out"
            )
        size, factor = settings.batch_size, 1.0
        if usual.doubles and _can_double(train, size, epochs):
            size, factor = 2 * size, 2**0.5
        return cls(
            size,
            epochs * steps_per_epoch(train, size),
            usual_rate(settings, RATE) * factor if learning_rate is None else learning_rate,
            max(1 / (len(train) * slab**2), usual.least_decay) if decay is None else decay,
            usual.noise if settings.noise is None else settings.noise,
            consistency if settings.consistency is None else settings.consistency,
            settings.optimizer or "adam",
        )

    @property
    def objective(self) -> NegativeLogLikelihood:
        """What such training minimises."""
        return NegativeLogLikelihood(self.noise, self.consistency)

    def phase(self, start: Start | None = None, **given: Any) -> Phase:
        """The phase; `given` replaces or adds what a phase takes."""
        usual = {"objective": self.objective, "start": start, "batch_size": self.batch_size}
        optimizer = MAKERS[self.optimizer](self.learning_rate, self.decay)
        return Phase("fixed", self.steps, **{"optimizer": optimizer, "schedule": cosine} | usual | given)


def usual_rate(settings: RunSettings, rate: float) -> float:
    """The learning rate where none is named: that of Adam, or that of gradient descent where it is asked for."""
    return SGD_RATE if settings.optimizer == "sgd" else rate


def _can_double(train: Split, size: int, epochs: int) -> bool:
    """Whether twice the batch size leaves enough steps, and no last batch of one example."""
    steps = epochs * steps_per_epoch(train, 2 * size)
    return isinstance(train, TensorSplit) and steps >= LEAST_STEPS and last_batch(train, 2 * size) != 1
