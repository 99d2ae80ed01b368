"""Figures that a study is to reach, and whether it did."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bayesprune.experiments.papers.paper import Findings
from bayesprune.experiments.report.sections import Document, Section
from bayesprune.experiments.report.tables import Table

REACHED, MISSED, UNKNOWN = "reached", "MISSED", "not measured"


@dataclass(frozen=True)
class Target:
    """A figure to reach.

    Attributes:
        subject: of what.
        wanted: in words.
        measured: in words, or why it was not.
        verdict: "reached", "MISSED" or "not measured".
    """

    subject: str
    wanted: str
    measured: str
    verdict: str

    def line(self) -> str:
        """For the terminal."""
        return f"{self.verdict:12} {self.subject}: {self.wanted}; {self.measured}"


def verdict(reached: bool) -> str:
    """Of a figure that was measured."""
    return REACHED if reached else MISSED


def targets_table(found: Sequence[Target], caption: str) -> Table:
    """The targets as a table."""
    rows = tuple((one.subject, one.wanted, one.measured, one.verdict) for one in found)
    return Table(caption, ("figure", "to reach", "measured", "verdict"), rows, words=3)


def summary(found: Sequence[Target]) -> str:
    """How many were reached, in a sentence."""
    counts = {name: sum(one.verdict == name for one in found) for name in (REACHED, MISSED, UNKNOWN)}
    named = [f"{count} {name}" for name, count in counts.items() if count]
    return f"Of {len(found)} figures to reach: {', '.join(named)}." if found else "There is no figure to reach."


def findings_of(
    title: str, subtitle: str, reached: Sequence[Target], caption: str, sections: Sequence[Section], **values: Any
) -> Findings:
    """What a study came to: a table of its figures to reach, then its sections; values are for `results.json`."""
    first = Section("Figures to reach", tables=[targets_table(reached, caption)])
    document = Document(title, subtitle, summary(reached), (first, *sections))
    plain = {"targets": [asdict(target) for target in reached], **values}
    return Findings(document, plain, [*(one.line() for one in reached), summary(reached)])
