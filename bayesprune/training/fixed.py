"""Training at fixed structure, the same for every method."""

from dataclasses import dataclass
from typing import Any

from torch import nn

from bayesprune.data import Split, TensorSplit, last_batch, steps_per_epoch
from bayesprune.run.settings import RunSettings
from bayesprune.training import CrossEntropy, Phase, Start, adam, cosine

RATE = 5e-3
"""Learning rate of Adam at the start: a small network bears more than the dense one, which is trained at 2e-3."""

LEAST_STEPS = 8_000
"""A perceptron takes twice the examples a step where so many steps are left."""

LEAST_DECAY = 5e-4
"""Weight decay of networks with convolutions at fixed structure: with less, LeNet-5 fits its training images wholly."""


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
    ) -> "FixedTraining":
        """What the settings ask for, and the defaults of the kind of network for the rest.

        Weights decay as the slab's Gaussian prior N(0, slab^2) asks for, with convolutions by `LEAST_DECAY` at least.
        A small perceptron's step costs more calls than arithmetic: it takes twice the examples a step, at sqrt(2) the
        learning rate, where `LEAST_STEPS` are left.
        """
        convolutional = is_convolutional(network)
        size, factor = settings.batch_size, 1.0
        if not convolutional and _can_double(train, size, epochs):
            size, factor = 2 * size, 2**0.5
        noise, consistency = (0.2, 0.0) if convolutional else (0.3, 0.5)
        return cls(
            size,
            epochs * steps_per_epoch(train, size),
            RATE * factor if learning_rate is None else learning_rate,
            _decay(len(train), slab, convolutional) if decay is None else decay,
            noise if settings.noise is None else settings.noise,
            consistency if settings.consistency is None else settings.consistency,
        )

    @property
    def objective(self) -> CrossEntropy:
        """What such training minimises."""
        return CrossEntropy(self.noise, self.consistency)

    def phase(self, start: Start | None = None, **given: Any) -> Phase:
        """The phase; `given` replaces or adds what a phase takes."""
        usual = {"objective": self.objective, "start": start, "batch_size": self.batch_size}
        return Phase(
            "fixed", self.steps, optimizer=adam(self.learning_rate, self.decay), schedule=cosine, **usual | given
        )


def is_convolutional(network: nn.Module) -> bool:
    """Whether the network has convolutions; several defaults differ for those."""
    return any(isinstance(module, nn.modules.conv._ConvNd) for module in network.modules())


def _decay(examples: int, slab: float, convolutional: bool) -> float:
    """What the prior asks for, on the loss per example; with convolutions more where that is little."""
    return max(1 / (examples * slab**2), LEAST_DECAY if convolutional else 0.0)


def _can_double(train: Split, size: int, epochs: int) -> bool:
    """Whether twice the batch size leaves enough steps, and no last batch of one example."""
    steps = epochs * steps_per_epoch(train, 2 * size)
    return isinstance(train, TensorSplit) and steps >= LEAST_STEPS and last_batch(train, 2 * size) != 1
