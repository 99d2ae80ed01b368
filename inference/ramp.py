"""How prices rise while the weights learn."""

from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from bayesprune.devices import READ_EVERY
from bayesprune.errors import SettingError
from bayesprune.training import Memory, TrainState


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
    """Prices rise in equal parts.

    Attributes:
        steps: until they have their full height; 0 for none.
    """

    steps: int

    def __post_init__(self) -> None:
        if self.steps < 0:
            raise SettingError(f"ramp must be >= 0 steps, not {self.steps}")

    def factor(self, state: TrainState) -> float:
        """The share of the steps that will be done."""
        return min(1.0, (state.phase_step + 1) / self.steps) if self.steps else 1.0

    def waits(self, state: TrainState) -> bool:
        """Gates move from the first step on."""
        return False

    def opens(self, state: TrainState) -> bool:
        """Gates move by their gradient only."""
        return False

    def observe(self, state: TrainState, loss: float | Tensor) -> None:
        """Nothing to look at."""


@dataclass
class Learning(Memory):
    """What a `LearningRamp` has seen.

    Attributes:
        clock: steps of the ramp that are done.
        recent, former: moving averages of the loss, the latter three times as long.
        first: the first loss.
        seen: losses.
        unread: losses on an accelerator that are still to be read.
    """

    clock: int = 0
    recent: float = 0.0
    former: float = 0.0
    first: float = 0.0
    seen: int = 0
    unread: list[Tensor] = field(default_factory=list)


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
        return self.waits(state) and self._looks(state.memory(Learning)) and not _has_fallen(state.memory(Learning))

    def _clock(self, state: TrainState) -> int:
        return max(state.memory(Learning).clock, state.phase_step - self.latest)

    def observe(self, state: TrainState, loss: float | Tensor) -> None:
        """Go on unless the loss falls fast; losses on an accelerator are looked at every `READ_EVERY` steps."""
        learning = state.memory(Learning)
        if not isinstance(loss, Tensor):
            self._take_in(learning, loss)
            return
        learning.unread.append(loss)
        if (state.phase_step + 1) % READ_EVERY == 0:
            for one in torch.stack([unread.to(loss) for unread in learning.unread]).cpu().tolist():
                self._take_in(learning, one)
            learning.unread = []

    def _take_in(self, learning: Learning, loss: float) -> None:
        """Look at the loss of a step."""
        learning.seen += 1
        for name, memory in (("recent", self.memory), ("former", 3 * self.memory)):
            weight = max(1 / learning.seen, 1 / memory)
            setattr(learning, name, getattr(learning, name) + weight * (loss - getattr(learning, name)))
        if learning.seen == 1:
            learning.first = loss
        fall = learning.former - learning.recent
        falls = fall > max(FALLING * learning.former, NOTABLE * learning.first)
        learning.clock += int(self._looks(learning) and _has_fallen(learning) and not falls)

    def _looks(self, learning: Learning) -> bool:
        """Whether enough losses were seen for their averages to say something."""
        return learning.seen >= 3 * self.memory


def _has_fallen(learning: Learning) -> bool:
    """Whether anything was learnt."""
    return learning.recent < LEARNT * learning.first


FALLING, NOTABLE, LEARNT = 0.15, 0.02, 0.9
"""A loss falls fast whose recent average is below the former one by these shares of the former and of the first; it has
fallen when it is below this share of the first."""
