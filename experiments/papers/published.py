"""A published row that networks of ours are compared with."""

from dataclasses import dataclass

REMEMBERED = "remembered, not re-read"


@dataclass(frozen=True)
class Published:
    """A published row.

    Attributes:
        method: its name.
        architecture: inputs-units-units, or filters-filters-inputs of the linear layer-units.
        error: test error in percent.
        params, macs: counted from the architecture; None where that does not tell them.
        source: where it was read.
        remembered: whether it was quoted from memory.
        note: what else the source says.
    """

    method: str
    architecture: str
    error: float
    params: int | None
    macs: int | None
    source: str
    remembered: bool = False
    note: str = ""

    @property
    def said(self) -> str:
        """Source, and how sure it is."""
        return "; ".join(filter(None, [self.source, REMEMBERED if self.remembered else "", self.note]))
