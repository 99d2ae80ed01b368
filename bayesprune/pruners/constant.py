"""Training as the code of neural tangent transfer has it (Liu and Zenke, arXiv 2006.08228): Adam at a constant rate.

No noise, no schedule, next to no decay; the test accuracy is taken down now and then (option `curve`), to show how
fast a network learns. Nothing is chosen by it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from bayesprune.data import Data
from bayesprune.pruners.stages import Stages, test_score
from bayesprune.training import Memory, NegativeLogLikelihood, Objective, Phase, Start, TrainState, adam, constant

LEARNING_RATE, DECAY = 1e-3, 2e-8
"""Adam's rate; the decay that the gradient of 1e-8 |w|^2 is."""


@dataclass
class CurveSoFar(Memory):
    """The test accuracy on the way.

    Attributes:
        rows: (step of the phase, test accuracy).
    """

    rows: list[tuple[int, float]] = field(default_factory=list)


@dataclass(frozen=True)
class Curve:
    """Takes down the test accuracy at steps 1, 1 + every, 1 + 2 every, ... of the phase.

    Attributes:
        data: of the run.
        every: steps from one to the next.
    """

    data: Data
    every: int

    def __call__(self, state: TrainState) -> None:
        """After a step."""
        if state.phase_step % self.every != 1 % self.every:
            return
        score = test_score(state, self.data)
        state.memory(CurveSoFar).rows.append((state.phase_step, score))


@dataclass(frozen=True)
class ConstantStages(Stages):
    """Phases of such training."""

    usual_rate = LEARNING_RATE

    def dense(self) -> list[Phase]:
        """Nothing is removed."""
        return [self.training("train", self.epochs, updates=self._looks())]

    def last(self, epochs: int, start: Start) -> Phase:
        """The phase after the last pruning."""
        rate = self.options.fixed_learning_rate or self.rate
        return self.training("fixed", epochs, rate=rate, start=start, updates=self._looks())

    def _looks(self) -> list[Curve]:
        return [Curve(self.data, self.options.curve)] if self.options.curve else []

    def training(
        self, name: str, epochs: int, *, objective: Objective | None = None, rate: float | None = None, **given: Any
    ) -> Phase:
        """So many epochs at a rate."""
        plain = NegativeLogLikelihood(self.settings.noise or 0.0) if objective is None else objective
        decay = DECAY if self.options.fixed_decay is None else self.options.fixed_decay
        optimizer = adam(rate or self.rate, decay, clip=self.options.clip)
        return Phase(name, self.steps(epochs), plain, optimizer, constant, **given)

    def describe(self) -> Callable[[TrainState], dict[str, Any]]:
        """The part of the curve that an epoch made."""

        def entries(state: TrainState) -> dict[str, Any]:
            rows, begun = state.memory(CurveSoFar).rows, state.phase_step - state.epoch_step
            return {"test_curve": [[step, accuracy] for step, accuracy in rows if step > begun]} if rows else {}

        return entries
