"""What a paper's study is: its rows of runs, and what is made of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bayesprune.errors import UnknownNameError
from bayesprune.experiments.papers.rows import Row, RowRuns
from bayesprune.experiments.report.sections import Document

ALL = "all"
"""The part of a study that is all its parts."""


@dataclass(frozen=True)
class Findings:
    """What a study came to.

    Attributes:
        document: the report.
        values: what else `results.json` says besides the rows: plain JSON.
        lines: for the terminal.
    """

    document: Document
    values: Mapping[str, Any]
    lines: Sequence[str]


@dataclass(frozen=True)
class Paper:
    """A study of a paper's method.

    Attributes:
        name: on the command line.
        title: of the report.
        data, quick_data: the data sets of the whole study and of the quick one.
        parts: names of its parts, which are networks.
        plan: the rows of the whole study.
        quick_settings: from a row's settings to those of its short runs.
        evaluate: what the runs come to.
    """

    name: str
    title: str
    data: str
    quick_data: str
    parts: tuple[str, ...]
    plan: Callable[[], Sequence[Row]]
    quick_settings: Callable[[Row], Row]
    evaluate: Callable[[Sequence[RowRuns]], Findings]

    def rows(self, part: str = ALL, *, quick: bool = False, data: str | None = None) -> list[Row]:
        """The rows of a part of the study.

        Args:
            part: one of `parts`, or "all".
            quick: fewer and shorter runs.
            data: instead of the study's data set.

        Raises:
            UnknownNameError: there is no such part.
        """
        if part not in (*self.parts, ALL):
            raise UnknownNameError(f"part of {self.name}", part, (*self.parts, ALL))
        rows = [row for row in self.plan() if part in (ALL, row.network)]
        if quick:
            rows = [self.quick_settings(row) for row in rows if row.quick]
        return [row.on(data or (self.quick_data if quick else self.data)) for row in rows]
