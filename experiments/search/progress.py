"""How a search gets on, on standard error: a bar on a terminal, else a line for each network that was trained."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any, Protocol

from bayesprune.experiments.commands.output import note, terminal
from bayesprune.experiments.words import counted
from bayesprune.run.settings import RunSettings
from bayesprune.store.runs import RunRecord
from bayesprune.training import Progress

_REFRESH_SECONDS = 0.1


class Watcher(Protocol):
    """Is told how the runs of a search get on."""

    def begin(self, runs: Sequence[RunSettings], later: int) -> None:
        """A round of runs begins, after which so many may follow."""

    def report(self, number: int, step: Progress) -> None:
        """A run of the round made a step."""

    def finished(self, number: int, folder: Path) -> None:
        """A run of the round is finished, or was found finished."""


class Silent:
    """Says nothing."""

    def begin(self, runs: Sequence[RunSettings], later: int) -> None:
        """A round begins."""

    def report(self, number: int, step: Progress) -> None:
        """A run made a step."""

    def finished(self, number: int, folder: Path) -> None:
        """A run is finished."""


class Told:
    """Says how many networks were trained, how good the best is, and about how long the rest takes.

    The estimate takes every network still to come for one that has to be trained, at the pace of those that were
    trained here: it is too long where some are found finished. Nothing is estimated before one was trained.

    Args:
        out: where run folders lie.
        bar: of rich; a disabled one draws nothing, and lines are written instead.
    """

    def __init__(self, out: Path, bar: Any) -> None:
        self._bar, self._made, self._reused, self._later, self._best = bar, 0, 0, 0, 0.0
        self._runs: Sequence[RunSettings] = ()
        self._left: set[int] = set()
        self._steps: dict[int, float] = {}
        self._begun, self._shown = monotonic(), 0.0
        self._old = {file.parent: file.stat().st_mtime_ns for file in out.glob("*/run.json")}
        self._task = bar.add_task("search", total=1.0, left="", done="")

    def begin(self, runs: Sequence[RunSettings], later: int) -> None:
        """A round of runs begins, after which so many may follow."""
        self._runs, self._later, self._left, self._steps = runs, later, set(range(len(runs))), {}

    def report(self, number: int, step: Progress) -> None:
        """A run of the round made a step."""
        self._steps[number] = step.step / step.total if step.total else 0.0
        if monotonic() - self._shown >= _REFRESH_SECONDS:
            self._show()

    def finished(self, number: int, folder: Path) -> None:
        """A run of the round is finished, or was found finished."""
        self._left.discard(number)
        self._steps.pop(number, None)
        record = RunRecord.read(folder)
        accuracy = float(record.history[-1]["validation_accuracy"])
        self._best = max(self._best, accuracy)
        if (folder / "run.json").stat().st_mtime_ns == self._old.get(folder):
            self._reused += 1
        else:
            self._made += 1
            if self._bar.disable:
                settings = self._runs[number]
                widths = "" if settings.widths is None else f" width {settings.widths[0]}"
                note(
                    f"[{self._count()}] {settings.network}{widths}: validation accuracy {100 * accuracy:.1f} %, best "
                    f"{100 * self._best:.1f} %{self._time_left()}"
                )
        self._show()

    def close(self) -> None:
        """Say how much was found finished."""
        if self._reused:
            note(f"reused {counted(self._reused, 'finished run')}")

    def _count(self) -> str:
        done = self._made + self._reused
        return f"{done}/{done + len(self._left) + self._later}"

    def _time_left(self) -> str:
        """How long the rest takes at most, at the pace so far."""
        done = self._made + sum(self._steps.values())
        if not self._made:
            return ""
        rest = len(self._left) + self._later - sum(self._steps.values())
        minutes, seconds = divmod(round((monotonic() - self._begun) * rest / done), 60)
        return f", about {minutes}:{seconds:02d} left"

    def _show(self) -> None:
        """Draw the bar anew."""
        self._shown = monotonic()
        done = self._made + self._reused + sum(self._steps.values())
        total = self._made + self._reused + len(self._left) + self._later
        words = f"best validation accuracy {100 * self._best:.1f} %"
        self._bar.update(
            self._task, completed=done, total=total, description=words, done=self._count(), left=self._time_left()
        )


@contextmanager
def told(out: Path, shows: bool = True) -> Iterator[Watcher]:
    """A watcher that tells on standard error, or one that says nothing."""
    if not shows:
        yield Silent()
        return
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    console, drawn = terminal()
    columns = (
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[done]} networks"),
        TimeElapsedColumn(), TextColumn("{task.fields[left]}"),
    )  # fmt: skip
    with Bar(*columns, console=console, transient=True, disable=not drawn) as bar:
        watcher = Told(out, bar)
        yield watcher
    watcher.close()
