"""Showing how runs get on from Python: a bar in a terminal, lines in a notebook, nothing where nobody looks."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from time import monotonic
from typing import Any

from bayesprune.errors import SettingError
from bayesprune.experiments.jobs import Job
from bayesprune.training import Progress

Tell = Callable[[Progress], None]

_BAR_SECONDS, _LINE_SECONDS = 0.1, 5.0


def somebody_looks() -> bool:
    """Whether standard error is a terminal, or this is a notebook."""
    return _on_terminal() or in_notebook()


def _on_terminal() -> bool:
    """Whether standard error is a terminal; a program without a console has none at all."""
    return sys.stderr is not None and sys.stderr.isatty()


def in_notebook() -> bool:
    """Whether this code runs in a cell of a Jupyter notebook."""
    python = sys.modules.get("IPython")
    shell = None if python is None else python.get_ipython()
    return shell is not None and type(shell).__name__ == "ZMQInteractiveShell"


@contextmanager
def shown(progress: Tell | bool | None, label: str) -> Iterator[Tell | None]:
    """What a run calls after every step.

    Args:
        progress: a function of the user's, whether to show a bar, or None to show one where somebody looks.
        label: what the bar calls the run.

    Raises:
        SettingError: it is none of these.
    """
    if progress is not None and not isinstance(progress, bool) and not callable(progress):
        raise SettingError(f"progress must be True, False or a function of a Progress, not {progress!r}")
    if callable(progress):
        yield progress
    elif progress is False or (progress is None and not somebody_looks()):
        yield None
    elif _on_terminal():
        with _bar(label) as tell:
            yield tell
    else:
        yield _lines(label)


@contextmanager
def watched(
    progress: bool | None, jobs: Sequence[Job], phases: Sequence[Mapping[str, int]], out: Path, workers: int
) -> Iterator[dict[str, Any]]:
    """What `run_jobs` calls on progress, as keyword arguments; none where nobody looks."""
    from bayesprune.experiments.commands.progress import watching

    shows = somebody_looks() if progress is None else progress
    with watching(jobs, phases, out, min(workers, len(jobs))) if shows else nullcontext() as watcher:
        yield {} if watcher is None else {"report": watcher.report, "finished": watcher.finished}


@contextmanager
def _bar(label: str) -> Iterator[Tell]:
    """A bar on standard error, which is gone when the run is done."""
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:,.0f} of {task.total:,.0f} steps"),
        TimeElapsedColumn(), TextColumn("about"), TimeRemainingColumn(), TextColumn("left"),
    )  # fmt: skip
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task, due = bar.add_task(label, total=1.0), 0.0

        def tell(now: Progress) -> None:
            nonlocal due
            if monotonic() >= due or now.step == now.total:
                due = monotonic() + _BAR_SECONDS
                text = f"{label}: {now.phase}, loss {now.loss:.3g}"
                bar.update(task, completed=now.step, total=now.total, description=text)

        yield tell


def _lines(label: str) -> Tell:
    """A line on standard error every few seconds, and one at the end."""
    due = monotonic() + _LINE_SECONDS

    def tell(now: Progress) -> None:
        nonlocal due
        if monotonic() >= due or now.step == now.total:
            due = monotonic() + _LINE_SECONDS
            sys.stderr.write(f"{label}: {now.phase}, {now.step:,} of {now.total:,} steps, loss {now.loss:.3g}\n")

    return tell
