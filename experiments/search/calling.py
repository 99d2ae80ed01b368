"""`bayesprune.search`: one search from Python, and what the command makes of its flags."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from bayesprune.errors import SettingError, UnknownNameError
from bayesprune.experiments.executor import run_jobs
from bayesprune.experiments.jobs import check
from bayesprune.experiments.search.evolution import Candidate
from bayesprune.experiments.search.genomes import Genome
from bayesprune.experiments.search.options import SearchOptions
from bayesprune.experiments.search.progress import told
from bayesprune.experiments.search.running import Trained, job_of, search_of, train
from bayesprune.experiments.search.spaces import SPACES
from bayesprune.experiments.showing import somebody_looks
from bayesprune.experiments.subjects import NAMED, data_of, subject_of
from bayesprune.experiments.worker import leave_if_started_anew
from bayesprune.run.pruned import Pruned
from bayesprune.run.settings import RunSettings, check_integer
from bayesprune.store.atomic import check_writable
from bayesprune.store.runs import RunRecord

BASE = RunSettings("dense", epochs=10, noise=0.0, consistency=0.0)
"""How candidates are trained: the library's plain training without noise, for few epochs."""

_OF_GENOMES = ("method", "network", "data", "seed", "widths", "weights", "options")
_OPTIONS = {field.name for field in fields(SearchOptions)}
_RUN = {field.name for field in fields(RunSettings)} - set(_OF_GENOMES)


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Attributes:
        options: how it searched.
        space: where.
        candidates: all that were trained, in that order.
        records: their runs.
        best: the most accurate on the validation split; of equals the cheapest.
        record: the run whose test accuracy is reported: that of the best, or the longer one that it was given.
        front: those that no other beats in validation accuracy and multiply-accumulates, from cheap to dear.
    """

    options: SearchOptions
    space: Any
    candidates: tuple[Candidate[Genome], ...]
    records: tuple[RunRecord, ...]
    best: Candidate[Genome]
    record: RunRecord
    front: tuple[Candidate[Genome], ...]

    @property
    def test_accuracy(self) -> float:
        """Of the best alone; nothing was chosen by it."""
        return float(self.record.result["accuracy"])

    def load(self) -> Pruned:
        """The trained network of the best.

        Raises:
            StoreError: its run folder is damaged.
        """
        from bayesprune.experiments.facade import load

        assert self.record.folder is not None
        return load(self.record.folder)


def search(
    space: str = "graphs",
    data: Any = "mnist5k",
    *,
    out: str | Path = "runs",
    workers: int = 1,
    fresh: bool = False,
    progress: bool | None = None,
    final_epochs: int | None = None,
    final_data: str | None = None,
    **settings: Any,
) -> SearchResult:
    """Search for a network: train candidates, choose by validation accuracy, report the winner's test accuracy once.

    Every candidate is a run of its own in `out`; the same call goes on where an interrupted one ended, and no candidate
    is trained twice.

    Args:
        space: "graphs" (feed-forward networks from random graphs) or "cells" (networks for pictures).
        data: a name, or what `prune` takes; objects are trained on in this process.
        out: folder of the run folders.
        workers: processes, one thread each, for the candidates of one round; 1 trains in this process.
        fresh: start interrupted runs anew instead of going on from their checkpoints.
        progress: whether to show how it gets on; by default in a terminal and in a notebook.
        final_epochs: train the winner once more, for so long, and report that run; None for no such run.
        final_data: the data of that run, such as the whole of which candidates saw a part; None for the same.
        settings: fields of `SearchOptions`, of the space (`families`, `vertices`, ...), and of `RunSettings` (`epochs`,
            `learning_rate`, `device`, ...).

    Raises:
        SettingError: a setting is unknown or cannot be used, or the data have no classes.
        DataError: the data are none.
        DivergenceError: the loss of a candidate is not finite; a smaller learning rate helps.
    """
    leave_if_started_anew()
    where, options, base = read_settings(space, settings)
    subject, names = subject_of("lenet300", data, base.task)
    base = replace(base, data=names["data"])
    trained = search_of(where, options, data_of(subject, base))
    last = final_run(base, final_epochs, final_data)
    check(job_of(trained.search.ask()[0], base, subject))
    check_writable(out)
    with told(Path(out), somebody_looks() if progress is None else progress) as watcher:
        train([trained], base, Path(out), workers=workers, resume=not fresh, watcher=watcher, subject=subject)
        chosen = trained.winner
        if last is not None:
            job = job_of(trained.search.best.genome, last, subject if final_data is None else NAMED)
            watcher.begin([job.settings], 0)
            chosen = run_jobs([job], Path(out), resume=not fresh, report=watcher.report, finished=watcher.finished)[0]
    return result_of(trained, where, chosen)


def read_settings(space: str, given: Mapping[str, Any]) -> tuple[Any, SearchOptions, RunSettings]:
    """The space, the settings of the search and those of its runs.

    Raises:
        UnknownNameError: there is no such space or setting.
        SettingError: one has a value that cannot be used.
    """
    if space not in SPACES:
        raise UnknownNameError("space", str(space), SPACES)
    kind = SPACES[space]
    of_space = {field.name for field in fields(kind)}
    for name in given:
        if name not in of_space | _OPTIONS | _RUN:
            raise UnknownNameError(f"setting of a search in {space}", name, of_space | _OPTIONS | _RUN)
    own = {
        name: tuple(value) if isinstance(value, list) else value for name, value in given.items() if name in of_space
    }
    options = SearchOptions(**{name: value for name, value in given.items() if name in _OPTIONS})
    base = replace(BASE, **{name: value for name, value in given.items() if name in _RUN})
    if base.epochs == 0:
        raise SettingError("epochs is 0: candidates that are not trained cannot be compared; give 1 or more")
    return kind(**own), options, base


def final_run(base: RunSettings, epochs: int | None, data: str | None) -> RunSettings | None:
    """The settings of the winner's last run; None for none.

    Raises:
        SettingError: data without a number of epochs, or no epoch.
    """
    if epochs is None:
        if data is not None:
            raise SettingError(f"final_data is {data!r} without final_epochs: say how long the winner is trained on it")
        return None
    check_integer("final_epochs", epochs, 1)
    return replace(base, epochs=epochs, data=data or base.data)


def result_of(trained: Trained, space: Any, chosen: Path) -> SearchResult:
    """A search that has ended, as a value."""
    found = trained.search
    records = tuple(RunRecord.read(folder) for folder in trained.folders)
    return SearchResult(
        found.options, space, tuple(found.candidates), records, found.best, RunRecord.read(chosen), tuple(found.front)
    )
