"""What the loop tells whoever draws a progress bar."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """After a step: the phase's name, steps done and to do in all, and the last loss."""

    phase: str
    step: int
    total: int
    loss: float
