"""One run of a study as a job: from settings to a finished run folder."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import nan
from pathlib import Path
from typing import Any

from bayesprune.data import Data
from bayesprune.errors import PruningWarning, SettingError
from bayesprune.experiments.methods import method
from bayesprune.experiments.subjects import NAMED, Beginning, Subject, data_of
from bayesprune.run.environment import environment
from bayesprune.run.given import fresh_from, spec_for, start_from
from bayesprune.run.identity import RUN, identity_of
from bayesprune.run.method import Method
from bayesprune.run.networks import NetworkSpec
from bayesprune.run.normal import normal_settings, without_usual_widths
from bayesprune.run.running import check_request, initial_network, initial_state, run
from bayesprune.run.settings import RunSettings
from bayesprune.store.identity import run_id
from bayesprune.store.runs import RunFolder, RunRecord
from bayesprune.training import Checkpointer, Progress
from bayesprune.training.interrupt import Interrupt

WAITING = "waiting for the process that makes this run"
"""The phase of a run that another process is making."""

LARGEST_SIZE = 10**15
"""A budget that every network meets."""


class UnderWay(Exception):
    """Another process is making the run."""


@dataclass(frozen=True)
class Job:
    """A run to be made.

    Attributes:
        settings: of the run.
        match: the method whose result with the same seed gives this run its size; None when the settings do.
        start: the run whose network this one begins with, instead of the initial weights.
        subject: network and data where they were handed over as objects.
    """

    settings: RunSettings
    match: str | None = None
    start: RunSettings | None = None
    subject: Subject = NAMED

    @property
    def method(self) -> Method:
        """The method itself."""
        return self.subject.method or method(self.settings.method)

    @property
    def label(self) -> str:
        """What progress bars call it."""
        return f"{self.settings.method} seed {self.settings.seed}"

    def sized_by(self, result: Mapping[str, Any]) -> RunSettings:
        """The settings with the size of another run's result: its weights, or its multiply-accumulates.

        Where that leaves few weights, every layer keeps one at least: nobody chose so small a size.

        Raises:
            SettingError: the method takes neither.
        """
        takes = self.method.takes
        if "budget" in takes:
            return replace(self.settings, budget=budget_of(result), density=None)
        if "density" in takes:
            options = {"least": 1, **self.settings.options}
            return replace(self.settings, density=float(result["density"]), budget=None, options=options)
        raise SettingError(f"method {self.settings.method!r} takes no size, so it cannot match {self.match!r}")


def budget_of(result: Mapping[str, Any]) -> str:
    """The budget of another run that is to cost no more than this result."""
    return f"macs={result['macs']}"


def check(job: Job) -> int:
    """Refuse whatever can be refused before training; returns the number of steps.

    Raises:
        BayespruneError: of the kind that the run would raise.
    """
    return sum(phase_steps(job).values())


@environment()
def phase_steps(job: Job) -> dict[str, int]:
    """The steps of each phase by its name, once everything is refused that can be refused before training.

    Raises:
        BayespruneError: of the kind that the run would raise.
    """
    chosen = job.method
    # A size that another run will give is not known yet: the whole network's stands for it.
    settings = job.settings if job.match is None else job.sized_by({"macs": LARGEST_SIZE, "density": 1.0})
    check_request(chosen, settings)
    data = data_of(job.subject, settings)
    begin = _beginning(settings, replace(job, start=None), Path(), data)
    state = initial_state(begin.network(), data, begin.settings)
    return {phase.name: phase.steps for phase in chosen.plan(state, data, begin.settings).phases}


@environment()
def execute(
    job: Job,
    root: Path,
    *,
    sized_by: Mapping[str, Any] | None,
    progress: Callable[[Progress], None],
    resume: bool = True,
    patient: bool = True,
) -> Path:
    """Make the run unless it is finished already; no two processes make it at a time.

    Ctrl-C and SIGTERM save the state; where they come after the training, the run is finished first.

    Args:
        job: which run.
        root: where run folders lie.
        sized_by: the result that gives it its size, when it matches another.
        progress: called after every step, and now and then while another process makes the run.
        resume: go on from the checkpoint of an interrupted run.
        patient: wait while another process makes the run.

    Returns:
        The run's folder.

    Raises:
        UnderWay: another process makes the run, and `patient` is false.
    """
    settings = job.settings if sized_by is None else job.sized_by(sized_by)
    data = data_of(job.subject, settings)
    begin = _beginning(settings, job, root, data)
    folder = _folder(begin, data, root, job.method)
    if folder.finished:
        return folder.path

    def waiting() -> None:
        if not patient:
            raise UnderWay
        progress(Progress(WAITING, 0, 1, nan))
        interrupt.raise_if_asked()

    with Interrupt() as interrupt, folder.locked(waiting):
        if not folder.finished:
            folder.clean()
            checkpointer = Checkpointer(folder.checkpoint_file, resume=resume)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", PruningWarning)  # the record has them, and commands print it
                pruned = run(
                    job.method,
                    begin.network(),
                    data,
                    begin.settings,
                    spec=begin.spec,
                    given=begin.given,
                    fresh=begin.fresh,
                    checkpointer=checkpointer,
                    progress=progress,
                )
            replace(pruned, identity={**pruned.identity, **begin.marks}).save(folder.path)
        interrupt.raise_if_asked()
    return folder.path


def folder_of(job: Job, root: Path) -> RunFolder:
    """Where the run of a job whose size is settled lies, finished or not."""
    data = data_of(job.subject, job.settings)
    return _folder(_beginning(job.settings, job, root, data), data, root, job.method)


def _beginning(settings: RunSettings, job: Job, root: Path, data: Data) -> Beginning:
    """The run of a job with these settings, in which its size is settled."""
    subject, chosen = job.subject, job.method
    if subject.network is None:
        settled = _settled(settings, job, root, data)
        spec = network_spec(settled, data)
        return Beginning(settled, spec, lambda: build(settled, data, root), fresh=fresh_from(spec, settled.weights))
    start = start_from(subject.network, data, settings)
    settled = normal_settings(chosen, start.settings, data, lambda: start.network)
    return Beginning(settled, start.spec, lambda: start.network, start.given, subject.draws, start.fresh)


def _settled(settings: RunSettings, job: Job, root: Path, data: Data) -> RunSettings:
    """In the form that names the run, and with the name of the run whose network it begins with."""
    weights = settings.weights
    if job.start is not None:
        weights = f"{RUN}{folder_of(Job(job.start, subject=job.subject), root).path.name}"
    settings = without_usual_widths(replace(settings, weights=weights))
    free = replace(settings, weights=None)  # its defaults depend on the network's layers, not on its weights
    return normal_settings(job.method, settings, data, lambda: build(free, data))


def _folder(begin: Beginning, data: Data, root: Path, chosen: Method) -> RunFolder:
    """Named by the hash of all that decides the run's numbers."""
    network = begin.network() if begin.given else None
    identity = identity_of(begin.settings, begin.spec, data.fingerprint, network, chosen)
    return RunFolder(root / run_id(identity | begin.marks))


def network_spec(settings: RunSettings, data: Data) -> NetworkSpec:
    """How to build the run's network for its data."""
    import bayesprune.models.networks  # noqa: F401 - fills the registry

    return spec_for(settings.network, settings, data)


def build(settings: RunSettings, data: Data, root: Path = Path()) -> Any:
    """The run's network before training; `root` is where the run lies that it may begin with."""
    weights = None if settings.weights is None else Path(settings.weights)
    if settings.weights is not None and settings.weights.startswith(RUN):
        weights = RunFolder(root / settings.weights.removeprefix(RUN)).network_file
    return initial_network(network_spec(settings, data), settings.seed, weights)


def read_result(folder: Path) -> dict[str, Any]:
    """The result of a finished run."""
    return RunRecord.read(folder).result
