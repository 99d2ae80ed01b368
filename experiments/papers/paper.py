"""What a paper's study is: its rows of runs, and what is made of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bayesprune.errors import SettingError, UnknownNameError
from bayesprune.experiments.papers.rows import Row, RowRuns
from bayesprune.experiments.report.sections import Document
from bayesprune.run.settings import check_integer

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
        extra_parts: names of parts that "all" leaves out, since they take too long to be made unasked.
        computed: parts without runs, by name, which "all" leaves out: what `evaluate(quick=...)` of each comes to.
        searched: parts by name whose runs follow from each other's results, which "all" leaves out: called with the
            folder of the runs and `quick`, `data`, `repeats`, `workers` and `fresh`.
        with_steps: from rows and a number to rows with so many steps of transfer; None where nothing is transferred.
    """

    name: str
    title: str
    data: str | None
    quick_data: str | None
    parts: tuple[str, ...]
    plan: Callable[[int], Sequence[Row]]
    quick_settings: Callable[[Row], Row]
    evaluate: Callable[[Sequence[RowRuns]], Findings]
    part_of: Callable[[Row], str] = lambda row: row.network
    repeats: int | None = None
    extra_parts: tuple[str, ...] = ()
    with_steps: Callable[[Sequence[Row], int], list[Row]] | None = None
    computed: Mapping[str, Callable[..., Findings]] = field(default_factory=dict)
    searched: Mapping[str, Callable[..., Findings]] = field(default_factory=dict)

    def rows(
        self,
        part: str = ALL,
        *,
        quick: bool = False,
        data: str | None = None,
        repeats: int | None = None,
        steps: int | None = None,
    ) -> list[Row]:
        """The rows of a part of the study.

        Args:
            part: one of `parts` or `extra_parts`, or "all".
            quick: fewer and shorter runs.
            data: instead of the study's data sets.
            repeats: of runs, instead of the default.
            steps: of every transfer, instead of the study's.

        Raises:
            UnknownNameError: there is no such part.
            SettingError: the seeds of this study are settled, it transfers nothing, or a number is below 1.
        """
        self._check(part, repeats, steps)
        parts = self.parts if part == ALL else (part,)
        rows = [row for row in self.plan(repeats or self.repeats or 1) if self.part_of(row) in parts]
        if quick:
            rows = [self.quick_settings(row) for row in rows if row.quick]
        if steps is not None and self.with_steps is not None:
            rows = self.with_steps(rows, steps)
        chosen = data or (self.quick_data if quick else self.data)
        return rows if chosen is None else [row.on(chosen) for row in rows]

    def _check(self, part: str, repeats: int | None, steps: int | None) -> None:
        """Refuse what this study does not have."""
        known = (*self.parts, *self.extra_parts, *self.computed, *self.searched, ALL)
        if part not in known:
            raise UnknownNameError(f"part of {self.name}", part, known)
        if repeats is not None and self.repeats is None:
            raise SettingError(f"the study of {self.name} has its seeds: leave out repeats={repeats}")
        if steps is not None and self.with_steps is None:
            raise SettingError(
                f"the study of {self.name} has no transfer to take so many steps: leave out steps={steps}"
            )
        check_integer("repeats", (self.repeats or 1) if repeats is None else repeats, 1)
        check_integer("steps", 1 if steps is None else steps, 1)
