"""The losses of an epoch's steps, read in one go: to look at one an accelerator must be waited for."""

from math import isfinite

import torch
from torch import Tensor


class Losses:
    """Losses that were not read yet.

    Args:
        every: steps from one reading to the next.
    """

    def __init__(self, every: int) -> None:
        self.every = every
        self._unread: list[Tensor] = []

    def add(self, loss: Tensor) -> bool:
        """Take the loss of a step; True where it is time to read."""
        self._unread.append(loss.detach())
        return len(self._unread) >= self.every

    def read(self) -> list[float]:
        """Those added since the last reading, in their order."""
        unread, self._unread = self._unread, []
        if len(unread) < 2:
            return [float(loss) for loss in unread]
        found: list[float] = torch.stack(unread).cpu().tolist()
        return found


def first_wrong(losses: list[float]) -> int | None:
    """Which of them is the first that is not finite."""
    return next((place for place, loss in enumerate(losses) if not isfinite(loss)), None)
