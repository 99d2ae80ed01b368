"""Searches on the executor of runs: several go on side by side, round by round."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bayesprune.data import Data
from bayesprune.errors import SettingError
from bayesprune.experiments.executor import Report, run_jobs
from bayesprune.experiments.jobs import Job
from bayesprune.experiments.search.evolution import Search
from bayesprune.experiments.search.genomes import Genome
from bayesprune.experiments.search.options import SearchOptions
from bayesprune.experiments.search.spaces import Space
from bayesprune.run.settings import RunSettings
from bayesprune.store.runs import RunRecord

Rounds = Callable[[Sequence[Job], int], None]
"""Called before a round with its runs, and with how many may follow at most."""


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


def job_of(genome: Genome, base: RunSettings) -> Job:
    """The run of a genome: equal genomes have equal runs."""
    return Job(replace(base, network=genome.network, widths=(genome.width,)))


def train(
    searches: Sequence[Trained],
    base: RunSettings,
    root: Path,
    *,
    workers: int = 1,
    resume: bool = True,
    rounds: Rounds | None = None,
    report: Report | None = None,
    finished: Callable[[int, Path], None] | None = None,
) -> None:
    """Go on with searches until all have ended.

    In every round each search names its next candidates, and all of these are trained together. A run that is finished
    already, in this search or another one or by an earlier call, is read and not made again.

    Args:
        searches: those of `search_of`; they are filled.
        base: settings of all runs; network and widths are the genome's.
        root: where run folders lie.
        workers: processes.
        resume: go on from checkpoints of interrupted runs.
        rounds: called before every round.
        report, finished: as for `run_jobs`, with the number of a run in its round.

    Raises:
        BayespruneError: a run failed; what was finished stays.
        KeyboardInterrupt: after Ctrl-C; the same call goes on where this one ended.
    """
    while True:
        asked = [(one, [job_of(genome, base) for genome in one.search.ask()]) for one in searches]
        jobs: list[Job] = []
        for _, own in asked:
            jobs += [job for job in own if job not in jobs]
        if not jobs:
            return
        if rounds is not None:
            rounds(jobs, sum(one.search.left - len(own) for one, own in asked))
        made = run_jobs(jobs, root, workers=workers, resume=resume, report=report, finished=finished)
        for one, own in asked:
            folders = [made[jobs.index(job)] for job in own]
            one.search.tell([validation_accuracy(folder) for folder in folders])
            one.folders += folders


def validation_accuracy(folder: Path) -> float:
    """The accuracy on the validation split after the last epoch."""
    return float(RunRecord.read(folder).history[-1]["validation_accuracy"])
