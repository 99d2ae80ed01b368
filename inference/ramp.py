"""How prices rise while the weights learn."""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from bayesprune.errors import SettingError
from bayesprune.inference import onset
from bayesprune.inference.averages import Averages
from bayesprune.training import TrainState


class Ramp(Protocol):
    """From 0 to 1: what the prices are multiplied by at a step."""

    def factor(self, state: TrainState) -> float:
        """The factor for the step to come; `state.phase_step` steps are done."""
        ...

    def waits(self, state: TrainState) -> bool:
        """Whether the gates stay where they are for the step to come."""
        ...

    def opens(self, state: TrainState) -> bool:
        """Whether the gates open at the step to come, because the network learns nothing as it is."""
        ...

    def observe(self, state: TrainState, loss: float | Tensor) -> None:
        """After the loss of a step: the mean negative log-likelihood of its mini-batch."""
        ...


@dataclass(frozen=True)
class LinearRamp:
    """Prices rise in equal parts, from the step on at which the loss has left that of a guess (`inference.onset`).

    Attributes:
        steps: until they have their full height; 0 for none.
    """

    steps: int

    def __post_init__(self) -> None:
        if self.steps < 0:
            raise SettingError(f"ramp must be >= 0 steps, not {self.steps}")

    def factor(self, state: TrainState) -> float:
        """The share of the steps that will be done."""
        return onset.risen(state, self.steps)

    def waits(self, state: TrainState) -> bool:
        """Gates move from the first step on."""
        return False

    def opens(self, state: TrainState) -> bool:
        """Gates move by their gradient only."""
        return False

    def observe(self, state: TrainState, loss: float | Tensor) -> None:
        """Nothing to look at."""


@dataclass
class Learning(Averages):
    """What a `LearningRamp` has seen.

    Attributes:
        clock: steps of the ramp that are done.
    """

    clock: int = 0


@dataclass(frozen=True)
class LearningRamp:
    """Gates and prices that wait until the loss has fallen, and while it falls fast.

    A unit must not be judged before it has learnt.

    The loss falls fast where its average over the last `memory` steps is notably below that over three times as many.
    Where it has not fallen at all the gates open: too many of them are closed for the network to learn. After `latest`
    steps nothing waits any more.

    Attributes:
        steps: of the rise.
        latest: step from which on prices wait no more.
        memory: of the recent average, in steps.
    """

    steps: int
    latest: int
    memory: float

    def factor(self, state: TrainState) -> float:
        """The share of the rise that is done."""
        return min(1.0, (self._clock(state) + 1) / self.steps) if self.steps else 1.0

    def waits(self, state: TrainState) -> bool:
        """Until the ramp has begun."""
        return self._clock(state) <= 0

    def opens(self, state: TrainState) -> bool:
        """While gates wait and the loss is where it was at first."""
        learning = state.memory(Learning)
        return self.waits(state) and learning.says(self.memory) and not _has_fallen(learning)

    def _clock(self, state: TrainState) -> int:
        """Steps of the rise that are done; none while the loss is still that of a guess."""
        if onset.waits(state):
            return 0
        return max(state.memory(Learning).clock, min(state.phase_step - self.latest, onset.since(state)))

    def observe(self, state: TrainState, loss: float | Tensor) -> None:
        """Go on unless the loss falls fast; losses on an accelerator are looked at every `READ_EVERY` steps."""
        learning = state.memory(Learning)
        for one in learning.arrived(state, loss):
            learning.take_in(one, self.memory)
            level = learning.says(self.memory) and _has_fallen(learning) and not learning.falls
            learning.clock += int(level and not onset.waits(state))


def _has_fallen(learning: Learning) -> bool:
    """Whether anything was learnt."""
    return learning.recent < LEARNT * learning.first


LEARNT = 0.9
"""A loss has fallen when it is below this share of the first."""
