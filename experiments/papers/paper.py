"""What a paper's study is: its rows of runs, and what is made of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bayesprune.errors import SettingError, UnknownNameError
from bayesprune.experiments.papers.rows import Row, RowRuns
from bayesprune.experiments.report.sections import Document
from bayesprune.settings import check_integer

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
        data, quick_data: the data sets of the whole study and of the quick one; None for those of the rows.
        parts: names of its parts.
        plan: the rows of the whole study, from how often runs are repeated.
        quick_settings: from a row's settings to those of its short runs.
        evaluate: what the runs come to.
        part_of: the part that a row belongs to; its network by default.
        repeats: how often runs are repeated by default; None where the seeds of every row are settled.
    """

    name: str
    title: str
    data: str | None
    quick_data: str
    parts: tuple[str, ...]
    plan: Callable[[int], Sequence[Row]]
    quick_settings: Callable[[Row], Row]
    evaluate: Callable[[Sequence[RowRuns]], Findings]
    part_of: Callable[[Row], str] = lambda row: row.network
    repeats: int | None = None

    def rows(
        self, part: str = ALL, *, quick: bool = False, data: str | None = None, repeats: int | None = None
    ) -> list[Row]:
        """The rows of a part of the study.

        Args:
            part: one of `parts`, or "all".
            quick: fewer and shorter runs.
            data: instead of the study's data sets.
            repeats: of runs, instead of the default.

        Raises:
            UnknownNameError: there is no such part.
            SettingError: the seeds of this study are settled, or the number is below 1.
        """
        if part not in (*self.parts, ALL):
            raise UnknownNameError(f"part of {self.name}", part, (*self.parts, ALL))
        if repeats is not None and self.repeats is None:
            raise SettingError(f"the study of {self.name} has its seeds: leave out repeats={repeats}")
        check_integer("repeats", repeats or self.repeats or 1, 1)
        rows = [row for row in self.plan(repeats or self.repeats or 1) if part in (ALL, self.part_of(row))]
        if quick:
            rows = [self.quick_settings(row) for row in rows if row.quick]
        chosen = data or (self.quick_data if quick else self.data)
        return rows if chosen is None else [row.on(chosen) for row in rows]
