"""Moving averages of the losses of mini-batches, as a run remembers them."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from bayesprune.devices import READ_EVERY
from bayesprune.training import Memory, TrainState

FALLING, NOTABLE = 0.15, 0.02
"""A loss falls fast whose recent average is below the former one by these shares of the former and of the first."""


@dataclass
class Averages(Memory):
    """Averages of the losses seen so far.

    Attributes:
        recent, former: moving averages of the loss, the latter three times as long.
        first: the first loss.
        seen: losses.
        unread: losses on an accelerator that are still to be read.
    """

    recent: float = 0.0
    former: float = 0.0
    first: float = 0.0
    seen: int = 0
    unread: list[Tensor] = field(default_factory=list)

    def arrived(self, state: TrainState, loss: float | Tensor) -> Iterator[float]:
        """The losses that can be looked at now: those on an accelerator are read every `READ_EVERY` steps."""
        if not isinstance(loss, Tensor):
            yield loss
            return
        self.unread.append(loss)
        if (state.phase_step + 1) % READ_EVERY == 0:
            losses, self.unread = self.unread, []
            yield from torch.stack([unread.to(loss) for unread in losses]).cpu().tolist()

    def take_in(self, loss: float, memory: float) -> None:
        """Bring the averages up to date; the recent one lasts `memory` steps."""
        self.seen += 1
        for name, length in (("recent", memory), ("former", 3 * memory)):
            weight = max(1 / self.seen, 1 / length)
            setattr(self, name, getattr(self, name) + weight * (loss - getattr(self, name)))
        if self.seen == 1:
            self.first = loss

    def says(self, memory: float) -> bool:
        """Whether enough losses were seen for their averages to say something."""
        return self.seen >= 3 * memory

    @property
    def falls(self) -> bool:
        """Whether the loss falls fast."""
        return self.former - self.recent > max(FALLING * abs(self.former), NOTABLE * abs(self.first))
