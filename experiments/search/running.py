"""Searches on the executor of runs: several go on side by side, round by round."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bayesprune.data import Data
from bayesprune.errors import SettingError
from bayesprune.experiments.executor import kept_workers, run_jobs
from bayesprune.experiments.jobs import Job
from bayesprune.experiments.search.evolution import Search
from bayesprune.experiments.search.genomes import Genome
from bayesprune.experiments.search.options import SearchOptions
from bayesprune.experiments.search.progress import Silent, Watcher
from bayesprune.experiments.search.spaces import Space
from bayesprune.experiments.subjects import NAMED, Subject
from bayesprune.run.settings import RunSettings
from bayesprune.store.runs import RunRecord


@dataclass
class Trained:
    """A search and the runs of its candidates.

    Attributes:
        search: what was decided.
        folders: the run folders, in the order of the search's candidates.
    """

    search: Search[Genome]
    folders: list[Path] = field(default_factory=list)

    @property
    def winner(self) -> Path:
        """The run folder of the best."""
        return self.folders[self.search.candidates.index(self.search.best)]


def search_of(space: Space[Any], options: SearchOptions, data: Data) -> Trained:
    """A search that has not begun, for networks that learn from these data.

    Raises:
        SettingError: the data have no classes.
    """
    shape, classes = data.inputs.plain_shape, data.classes
    if not data.task.has_classes:
        raise SettingError(f"a search compares accuracies, and {data.name} has no classes: give data to classify")
    return Trained(
        Search(
            space, options, lambda genome: genome.macs(shape, classes), lambda genome: genome.properties(shape, classes)
        )
    )


def job_of(genome: Genome, base: RunSettings, subject: Subject = NAMED) -> Job:
    """The run of a genome: equal genomes have equal runs."""
    return Job(replace(base, network=genome.network, widths=(genome.width,)), subject=subject)


def train(
    searches: Sequence[Trained],
    base: RunSettings,
    root: Path,
    *,
    workers: int = 1,
    resume: bool = True,
    watcher: Watcher | None = None,
    subject: Subject = NAMED,
    later: int = 0,
) -> None:
    """Go on with searches until all have ended.

    In every round each search names its next candidates, and all of these are trained together. A run that is finished
    already, in this search or another one or by an earlier call, is read and not made again.

    Args:
        searches: those of `search_of`; they are filled.
        base: settings of all runs; network and widths are the genome's.
        root: where run folders lie.
        workers: processes; 1 trains in this one.
        resume: go on from checkpoints of interrupted runs.
        watcher: is told how the runs get on.
        subject: data that were handed over as objects.
        later: networks that are to be trained afterwards, which the estimate of the time left counts.

    Raises:
        BayespruneError: a run failed; what was finished stays.
        KeyboardInterrupt: after Ctrl-C; the same call goes on where this one ended.
    """
    watcher = watcher or Silent()
    with kept_workers() as kept:
        while True:
            asked = [(one, [job_of(genome, base, subject) for genome in one.search.ask()]) for one in searches]
            jobs: list[Job] = []
            for _, own in asked:
                jobs += [job for job in own if job not in jobs]
            if not jobs:
                return
            rest = sum(one.search.left - len(own) for one, own in asked)
            watcher.begin([job.settings for job in jobs], rest + later)
            made = run_jobs(
                jobs, root, workers=workers, resume=resume, report=watcher.report, finished=watcher.finished, kept=kept
            )
            for one, own in asked:
                folders = [made[jobs.index(job)] for job in own]
                one.search.tell([validation_accuracy(folder) for folder in folders])
                one.folders += folders


def validation_accuracy(folder: Path) -> float:
    """The accuracy on the validation split after the last epoch."""
    return float(RunRecord.read(folder).history[-1]["validation_accuracy"])
