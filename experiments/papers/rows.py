"""The runs of a study as rows: one value of one factor around a base, with its seeds."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bayesprune.errors import SettingError
from bayesprune.experiments.job_order import finished_runs
from bayesprune.experiments.jobs import Job
from bayesprune.run.settings import RunSettings
from bayesprune.store.identity import canonical_json
from bayesprune.store.runs import RunRecord


@dataclass(frozen=True)
class Row:
    """One setting of a study.

    Attributes:
        factor: what is varied.
        value: how the table names this row.
        settings: of its runs; the seed is that of the first.
        seeds: of its runs.
        quick: how many of the seeds the quick study takes; 0 leaves the row out of it.
        start: the run whose network all of its runs begin with; None for initial weights.
        match: the method whose run with the same seed gives each of its runs its size; None where the settings do.
    """

    factor: str
    value: str
    settings: RunSettings
    seeds: tuple[int, ...]
    quick: int = 0
    start: RunSettings | None = None
    match: str | None = None

    @property
    def network(self) -> str:
        """The network of its runs."""
        return self.settings.network

    def on(self, data: str) -> "Row":
        """The same on another data set."""
        start = None if self.start is None else replace(self.start, data=data)
        return replace(self, settings=replace(self.settings, data=data), start=start)

    def jobs(self) -> list[Job]:
        """Its runs."""
        return [Job(replace(self.settings, seed=seed), self.match, self.start) for seed in self.seeds]


@dataclass(frozen=True)
class RowRuns:
    """A row and those of its runs that are finished, in the order of its seeds."""

    row: Row
    records: tuple[RunRecord, ...]


def varied(base: RunSettings, **changes: Any) -> RunSettings:
    """A base with some settings changed; options are added to those of the base."""
    options = {**base.options, **changes.pop("options", {})}
    return replace(base, **changes, options=options)


def jobs_of(rows: Iterable[Row]) -> list[Job]:
    """All runs of the rows, each once though several rows may use it."""
    found = {_key(job): job for row in rows for job in row.jobs()}
    return list(found.values())


def names_of(rows: Iterable[Row]) -> list[str]:
    """A name for each of `jobs_of`: that of the first row that uses it."""
    found: dict[str, str] = {}
    for row in rows:
        for job in row.jobs():
            name = " ".join(dict.fromkeys((row.network, row.factor, row.value)))
            found.setdefault(_key(job), f"{name}, seed {job.settings.seed}")
    return list(found.values())


def finished_of(jobs: Sequence[Job], place: Path) -> tuple[list[Job], list[Path]]:
    """The jobs whose runs are finished, and their folders.

    Raises:
        SettingError: there are none.
    """
    made = finished_runs(jobs, place)
    if not made:
        raise SettingError(f"none of the {len(jobs)} runs is finished in {place}: make them first, without --finished")
    return [jobs[number] for number in made], list(made.values())


def gather(rows: Sequence[Row], jobs: Sequence[Job], records: Sequence[RunRecord]) -> list[RowRuns]:
    """The rows with their runs.

    Args:
        rows: of the study.
        jobs: runs that were made.
        records: theirs, in the same order.
    """
    made = {_key(job): record for job, record in zip(jobs, records, strict=True)}
    return [RowRuns(row, tuple(made[key] for job in row.jobs() if (key := _key(job)) in made)) for row in rows]


def _key(job: Job) -> str:
    """One text for equal runs."""
    settings = [None if one is None else one.to_json() for one in (job.settings, job.start)]
    return canonical_json([*settings, job.match])
