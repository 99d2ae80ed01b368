"""Which of many runs may start, given what is finished: some take their size or their network from others."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from bayesprune.errors import SettingError
from bayesprune.experiments.jobs import Job, folder_of, read_result
from bayesprune.run.settings import RunSettings

_SHARED = ("seed", "data", "network")
_OWN = ("method", "price", "budget", "density", "options")


class JobOrder:
    """Which jobs may start, given what is finished."""

    def __init__(self, jobs: Sequence[Job], finished: Callable[[int, Path], None]) -> None:
        self.jobs, self._finished = list(jobs), finished
        self.folders: dict[int, Path] = {}
        self._sources = [self._source(job) for job in jobs]
        self._starts = [self._start(job) for job in jobs]

    def ready(self, started: set[int]) -> list[int]:
        """Jobs not started whose sources are finished; those that others wait for come first."""
        awaited = {*self._sources, *self._starts}
        ready = [
            number
            for number, sources in enumerate(zip(self._sources, self._starts, strict=True))
            if number not in started and all(source is None or source in self.folders for source in sources)
        ]
        return sorted(ready, key=lambda number: (number not in awaited, number))

    def finish(self, number: int, folder: Path) -> None:
        """A job's run is in its folder."""
        self.folders[number] = folder
        self._finished(number, folder)

    def size(self, number: int) -> Mapping[str, Any] | None:
        """The result that gives the job its size."""
        source = self._sources[number]
        return None if source is None else read_result(self.folders[source])

    def in_order(self) -> list[Path]:
        """The folders in the order of the jobs."""
        return [self.folders[number] for number in range(len(self.jobs))]

    def _source(self, job: Job) -> int | None:
        """The job that gives this one its size."""
        if job.match is None:
            return None
        agreement = {
            number: _agreement(job.settings, other.settings)
            for number, other in enumerate(self.jobs)
            if other.match is None
            and other.settings.method == job.match
            and all(getattr(other.settings, name) == getattr(job.settings, name) for name in _SHARED)
        }
        if not agreement:
            raise SettingError(f"{job.label} matches {job.match!r}, which is not among the runs with this seed")
        best = [number for number, count in agreement.items() if count == max(agreement.values())]
        if len(best) > 1:
            raise SettingError(
                f"{job.label} matches {job.match!r}, of which there are {len(best)} runs with this seed that "
                "differ in settings of their own: make a study of each"
            )
        return best[0]

    def _start(self, job: Job) -> int | None:
        """The job whose network this one begins with."""
        if job.start is None:
            return None
        for number, other in enumerate(self.jobs):
            if other.settings == job.start and other.match is None and other.start is None:
                return number
        raise SettingError(f"{job.label} begins with the network of a run that is not among the runs to be made")


def _agreement(one: RunSettings, other: RunSettings) -> int:
    """In how many settings that are not a method's own two runs agree."""
    names = {field.name for field in fields(RunSettings)} - set(_OWN)
    return sum(getattr(one, name) == getattr(other, name) for name in names)


def finished_runs(jobs: Sequence[Job], root: Path) -> dict[int, Path]:
    """The folders of those jobs whose runs are finished, by number; none of a job whose source's run is not.

    Args:
        jobs: in any order.
        root: where run folders lie.
    """
    order = JobOrder(jobs, lambda number, folder: None)
    seen: set[int] = set()
    while ready := order.ready(seen):
        for number in ready:
            seen.add(number)
            job, size = jobs[number], order.size(number)
            folder = folder_of(job if size is None else replace(job, settings=job.sized_by(size)), root)
            if folder.finished:
                order.finish(number, folder.path)
    return {number: order.folders[number] for number in sorted(order.folders)}
