"""What the loop tells whoever draws a progress bar."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Progress:
    """After a step: the phase's name, steps done and to do in all, the last loss, and its parts by name."""

    phase: str
    step: int
    total: int
    loss: float
    parts: Mapping[str, float] = field(default_factory=dict)
