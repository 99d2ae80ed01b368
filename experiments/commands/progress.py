"""How the runs get on, on standard error: a bar on a terminal, else a line at the start and one a finished run."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from bayesprune.budgets.predicted import MEASURING
from bayesprune.experiments.commands.output import note, terminal
from bayesprune.experiments.jobs import WAITING, Job
from bayesprune.experiments.number_format import MISSING
from bayesprune.experiments.scores import score_of
from bayesprune.experiments.words import counted
from bayesprune.store.runs import RunRecord

if TYPE_CHECKING:
    from bayesprune.training import Progress as Step

COST = {
    ("parsimonious", "prune"): 1.1, ("parsimonious", "fixed"): 0.35,
    ("layer-gates", "prune"): 2.5, ("complexity-aware", "prune"): 2.5, ("complexity-aware", "fixed"): 0.35,
    ("spike-slab-flat", "prune"): 3.0, ("spike-slab-flat", "fixed"): 0.25, ("spike-slab", "prune"): 2.5,
    ("ss-gl", "prune"): 2.5, ("ss-ghs", "prune"): 2.5, ("sv-bnn", "prune"): 4.0,
    **{(method, "fixed"): 0.2 for method in ("l1-units", "geometric-median", "taylor", "slimming")},
    ("random", "fixed"): 0.25, ("ntt", "transfer"): 15.0,
}  # fmt: skip
"""Time of a step in a phase of a method against a dense step (1 where nothing stands), as `compare` was measured to
take; for the estimate of the time left only."""

_REFRESH_SECONDS, _LEAST_SECONDS = 0.1, 2.0


class Watcher:
    """Tells how the runs get on.

    The time left is estimated from work, not from steps: a step on a shrunk network is cheaper than a dense one, so
    the steps of each phase are weighed by what they were measured to take. What was done before, in runs that are
    reused or resumed, counts neither as work done nor as work to do. The line at the start waits for the first run
    to get on: what is refused before that gets one line, its error's.

    Args:
        jobs: the runs.
        phases: steps of each phase of each run.
        out: where run folders lie.
        bar: draws the bar; a disabled one draws nothing, and lines are written instead.
        opening: the line at the start.
        names: of the runs; by default those of `labels`.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        phases: Sequence[Mapping[str, int]],
        out: Path,
        bar: Progress,
        opening: str = "",
        names: Sequence[str] | None = None,
    ) -> None:
        self.reused = 0
        self._jobs, self._phases, self._bar, self._opening = jobs, phases, bar, opening
        self._labels = labels(jobs) if names is None else list(names)
        self._work = [self._work_at(number, sum(steps.values())) for number, steps in enumerate(phases)]
        self._before: dict[int, float] = {}
        self._done = [0.0] * len(jobs)
        self._waiting: set[int] = set()
        self._measuring: set[int] = set()
        self._finished, self._shown, self._begun = 0, 0.0, monotonic()
        self._old = {file.parent: file.stat().st_mtime_ns for file in out.glob("*/run.json")}
        self._task: TaskID = bar.add_task("starting", total=sum(self._work), runs=self._count(), left="")

    def report(self, number: int, step: "Step") -> None:
        """A run made a step, or waits."""
        self._open()
        if step.phase == WAITING:
            self._wait(number)
            return
        if step.phase.startswith(MEASURING) and number not in self._measuring:
            self._measuring.add(number)
            if self._bar.disable:
                note(f"{self._labels[number]}: {MEASURING}: timing layers at several widths, for the budget of latency")
        work = self._work_at(number, step.step)
        self._done[number] = work - self._before.setdefault(number, work)
        if monotonic() - self._shown >= _REFRESH_SECONDS:
            parts = ", ".join(f"{name} {value:.3g}" for name, value in step.parts.items())
            self._show(f"{self._labels[number]}: {step.phase}{f' ({parts})' if parts else ''}")

    def finished(self, number: int, folder: Path) -> None:
        """A run is finished, or was found finished."""
        self._open()
        self._finished += 1
        if (folder / "run.json").stat().st_mtime_ns == self._old.get(folder):
            self.reused += 1
            self._before[number] = self._work[number]
        elif self._bar.disable:
            note(f"[{self._count()}] {self._labels[number]}: {_outcome(RunRecord.read(folder))}")
        self._done[number] = self._work[number] - self._before.get(number, 0.0)
        self._show(None)

    def _wait(self, number: int) -> None:
        """Another process makes a run: say so, in lines only once."""
        message = f"{self._labels[number]}: {WAITING}"
        if self._bar.disable and number not in self._waiting:
            note(message)
        self._waiting.add(number)
        self._show(message)

    def _open(self) -> None:
        """At the first sign of life: start the clock, and write the line at the start where no bar is drawn."""
        if self._opening:
            self._begun = monotonic()
            if self._bar.disable:
                note(self._opening)
        self._opening = ""

    def _work_at(self, number: int, step: int) -> float:
        """The work of a run up to a step, in dense steps."""
        work, method = 0.0, self._jobs[number].settings.method
        for phase, steps in self._phases[number].items():
            work += min(step, steps) * COST.get((method, phase), 1.0)
            step = max(0, step - steps)
        return work

    def _show(self, description: str | None) -> None:
        """Draw the bar anew."""
        self._shown = monotonic()
        done, total = sum(self._done), sum(self._work) - sum(self._before.values())
        left = _time_left(self._shown - self._begun, done, total)
        self._bar.update(
            self._task, completed=done, total=total, description=description, runs=self._count(), left=left
        )

    def _count(self) -> str:
        """So many of all runs are finished."""
        return f"{self._finished}/{len(self._jobs)}"


@contextmanager
def watching(
    jobs: Sequence[Job],
    phases: Sequence[Mapping[str, int]],
    out: Path,
    workers: int,
    names: Sequence[str] | None = None,
) -> Iterator[Watcher]:
    """A watcher of runs that are about to be made; says at the end how many were found finished."""
    console, drawn = terminal()
    columns = (
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"),
        TextColumn("{task.fields[runs]} runs"), TimeElapsedColumn(), TextColumn("{task.fields[left]}"),
    )  # fmt: skip
    steps = sum(sum(of_run.values()) for of_run in phases)
    opening = f"{counted(len(jobs), 'run')}, {steps:,} steps, {workers} at a time, into {out}"
    with Progress(*columns, console=console, transient=True, disable=not drawn) as bar:
        watcher = Watcher(jobs, phases, out, bar, opening, names)
        yield watcher
    if watcher.reused:
        note(f"reused {counted(watcher.reused, 'finished run')}")


def labels(jobs: Sequence[Job]) -> list[str]:
    """A name for each run: method, seed, and the settings in which runs of the method differ."""
    settings = [job.settings.to_json() for job in jobs]
    found = []
    for job, own in zip(jobs, settings, strict=True):
        alike = [other for other in settings if other["method"] == own["method"]]
        varied = [name for name in own if name != "seed" and any(other.get(name) != own[name] for other in alike)]
        found.append(" ".join([job.label, *(f"{name}={own[name]}" for name in varied)]))
    return found


def _time_left(spent: float, done: float, total: float) -> str:
    """How long the rest takes at the pace so far; nothing before there is a pace."""
    if spent < _LEAST_SECONDS or not done > 0.0:
        return ""
    minutes, seconds = divmod(round(spent * (total - done) / done), 60)
    return f"about {minutes}:{seconds:02d} left"


def _outcome(record: RunRecord) -> str:
    """The task's first metric, cost and time of a run in a few words."""
    result, score = record.result, score_of(record)
    value = score.of(record)
    quality = f"{score.label} {MISSING if value is None else score.show(value)}"
    return f"{quality}, {result['macs']:,} MACs, {result['train_seconds']:.1f} s"
