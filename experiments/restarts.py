"""Several runs that differ in their seed only, as one result: the best of them, with all of them beside it."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch import nn

from bayesprune.errors import SettingError
from bayesprune.experiments.executor import run_jobs
from bayesprune.experiments.facade import load
from bayesprune.experiments.jobs import Job, phase_steps
from bayesprune.experiments.showing import watched
from bayesprune.experiments.subjects import NAMED, Subject, data_of
from bayesprune.experiments.worker import leave_if_started_anew
from bayesprune.run.networks import Factory
from bayesprune.run.pruned import Pruned
from bayesprune.run.settings import RunSettings, check_integer
from bayesprune.structure.copying import copied

WORKERS = 2
"""Processes, one thread each, where network and data are names."""


def make_restarts(
    base: RunSettings, subject: Subject, count: int, folder: Path | None, progress: bool | None
) -> Pruned:
    """Make `count` runs with the seeds from `base.seed` on, and return the best by its validation data.

    Args:
        base: settings of all runs.
        subject: network and data where they are objects.
        count: at least 1.
        folder: where the run folders are kept, and found again by the same call; None keeps nothing.
        progress: whether to show how the runs get on.

    Raises:
        BayespruneError: a setting cannot be used, or a run failed.
    """
    leave_if_started_anew()
    jobs = [Job(replace(base, seed=base.seed + number), subject=subject) for number in range(count)]
    phases = [phase_steps(job) for job in jobs]
    with TemporaryDirectory() if folder is None else nullcontext(folder) as place:
        root = Path(place)
        with watched(progress, jobs, phases, root, WORKERS if subject is NAMED else 1) as watcher:
            folders = run_jobs(jobs, root, workers=WORKERS, **watcher)
        data = data_of(subject, base)
        made = [replace(load(one, _factory(subject)), _data=data) for one in folders]
    return replace(best_of(made), restarts=tuple(made))


def as_restarts(runs: Sequence[Pruned]) -> Pruned:
    """Runs of one data set, such as some that were loaded from disk, as restarts: the best of them, with all beside it.

    Its `ensemble` and `evaluate_ensemble` are of all of them.

    Args:
        runs: at least 2; seeds, methods and sizes may differ.

    Raises:
        SettingError: there are fewer, or their data or tasks differ.
    """
    made = list(runs)
    check_integer("the number of runs", len(made), 2)
    first = made[0]
    for other in made[1:]:
        for what, one, two in (
            ("data", first.data_fingerprint, other.data_fingerprint),
            ("task", first.task_document["name"], other.task_document["name"]),
        ):
            if one != two:
                raise SettingError(
                    f"the runs are of different {what}: {_named(first)} and {_named(other)}; an ensemble predicts one "
                    "target from one kind of inputs: give runs of one data set"
                )
    return replace(best_of(made), restarts=tuple(made))


def _named(run: Pruned) -> str:
    """A run for a message."""
    return f"{run.settings.method} seed {run.settings.seed} on {run.data_summary['name']} ({run.task_document['name']})"


def best_of(made: Sequence[Pruned]) -> Pruned:
    """The one with the best validation score after the last epoch; without validation data the first one."""
    scored = [(one.history[-1]["validation_score"], one) for one in made if one.history]
    known = [(score, one) for score, one in scored if score is not None]
    if not known:
        return made[0]
    metric = made[0].metrics[0]
    best_score, best = known[0]
    for score, one in known[1:]:
        if metric.better(score, best_score) > 0:
            best_score, best = score, one
    return best


def _factory(subject: Subject) -> Factory | None:
    """What makes the dense network again, where no registered name does."""
    given: Any = subject.network
    return (lambda: copied(given)) if isinstance(given, nn.Module) else given
