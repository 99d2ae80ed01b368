"""How the runs get on, on standard error: a bar on a terminal, else a line at the start and one a finished run."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from bayesprune.experiments.commands.output import note
from bayesprune.experiments.jobs import Job
from bayesprune.experiments.report.words import counted
from bayesprune.store.runs import RunRecord

if TYPE_CHECKING:
    from bayesprune.training import Progress as Step

COST = {"dense": 1.0, "magnitude": 1.1, "parsimonious": 0.5, "l1-units": 0.45, "random": 0.35}
"""Time of a method's step against a dense one, roughly, for the estimate of the time left only."""

_REFRESH_SECONDS = 0.1


class Watcher:
    """Tells how the runs get on.

    The time left is estimated from work, not from steps: a step of a method that shrinks its network is cheaper than a
    dense one, so the steps of each method are weighed by what they were measured to take. What was done before, in
    runs that are reused or resumed, counts neither as work done nor as work to do.

    Args:
        jobs: the runs.
        steps: of each run.
        out: where run folders lie.
        bar: draws the bar; a disabled one draws nothing.
    """

    def __init__(self, jobs: Sequence[Job], steps: Sequence[int], out: Path, bar: Progress) -> None:
        self.reused = 0
        self._jobs, self._bar, self._shown = jobs, bar, 0.0
        self._work = [
            COST.get(job.settings.method, 1.0) * count for job, count in zip(jobs, steps, strict=True)
        ]
        self._before: dict[int, float] = {}
        self._done = [0.0] * len(jobs)
        self._finished = 0
        self._old = {file.parent: file.stat().st_mtime_ns for file in out.glob("*/run.json")}
        self._task: TaskID = bar.add_task("starting", total=sum(self._work), runs=self._count())

    def report(self, number: int, step: "Step") -> None:
        """A run made a step."""
        part = self._work[number] * step.step / max(step.total, 1)
        self._done[number] = part - self._before.setdefault(number, part)
        if monotonic() - self._shown >= _REFRESH_SECONDS:
            self._show(f"{self._jobs[number].label}: {step.phase}")

    def finished(self, number: int, folder: Path) -> None:
        """A run is finished, or was found finished."""
        self._finished += 1
        self._done[number] = self._work[number] - self._before.get(number, 0.0)
        if (folder / "run.json").stat().st_mtime_ns == self._old.get(folder):
            self.reused += 1
            self._before[number], self._done[number] = self._work[number], 0.0
        elif self._bar.disable:
            note(f"[{self._count()}] {self._jobs[number].label}: {outcome(RunRecord.read(folder))}")
        self._show("")

    def _show(self, description: str) -> None:
        """Draw the bar anew."""
        self._shown = monotonic()
        total = sum(self._work) - sum(self._before.values())
        shown = {"description": description} if description else {}
        self._bar.update(self._task, completed=sum(self._done), total=total, runs=self._count(), **shown)

    def _count(self) -> str:
        """So many of all runs are finished."""
        return f"{self._finished}/{len(self._jobs)}"


@contextmanager
def watching(jobs: Sequence[Job], steps: Sequence[int], out: Path, workers: int) -> Iterator[Watcher]:
    """A watcher of runs that are about to be made; says at the end how many were found finished."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"),
        TextColumn("{task.fields[runs]} runs"), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    quiet = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=quiet) as bar:
        watcher = Watcher(jobs, steps, out, bar)
        if quiet:
            note(f"{counted(len(jobs), 'run')}, {sum(steps):,} steps, {workers} at a time, into {out}")
        yield watcher
    if watcher.reused:
        note(f"reused {counted(watcher.reused, 'finished run')}")


def outcome(record: RunRecord) -> str:
    """Accuracy, cost and time of a run in a few words."""
    result = record.result
    return f"accuracy {100 * result['accuracy']:.1f} %, {result['macs']:,} MACs, {result['train_seconds']:.1f} s"
