"""What the loop tells whoever draws a progress bar."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Progress:
    """After a step.

    Attributes:
        phase: its name.
        step: steps done.
        total: steps to do in all.
        last_loss: of the step; on an accelerator a tensor. Who shows it takes `loss`, which waits for the device.
        last_parts: what it is made of, by name, likewise.
    """

    phase: str
    step: int
    total: int
    last_loss: float | Tensor
    last_parts: Mapping[str, float | Tensor] = field(default_factory=dict)

    @property
    def loss(self) -> float:
        """The last loss."""
        return float(self.last_loss)

    @property
    def parts(self) -> dict[str, float]:
        """Its parts by name."""
        return {name: float(part) for name, part in self.last_parts.items()}

    def __reduce__(self) -> Any:
        """Between processes it goes as plain numbers."""
        return Progress, (self.phase, self.step, self.total, self.loss, self.parts)
