"""Many runs: in order, in this process or in a pool, with errors and kills that lose nothing."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import bayesprune as bp
from bayesprune import errors
from bayesprune.errors import (
    BayespruneError,
    DivergenceError,
    InputShapeError,
    SettingError,
    StoreError,
    UnknownNameError,
)
from bayesprune.experiments import executor, job_order
from bayesprune.experiments.executor import run_jobs
from bayesprune.experiments.jobs import Job, folder_of, read_result
from bayesprune.experiments.worker import Failure
from bayesprune.run.settings import RunSettings
from bayesprune.store.runs import RunFolder
from bayesprune.store.tree import load_tree
from bayesprune.training import Progress

MakeJob = Callable[..., Job]


@pytest.fixture(scope="session")
def make_job(small_npz: str) -> MakeJob:
    """Makes a short run on the small data."""

    def make(method: str = "dense", match: str | None = None, **settings: Any) -> Job:
        plain: dict[str, Any] = {"data": small_npz, "widths": (12, 8), "epochs": 2, "batch_size": 50}
        return Job(RunSettings(method, **plain | settings), match)

    return make


def all_kinds(make_job: MakeJob) -> list[Job]:
    """Runs that wait for others stand before those."""
    names = ("l1-units", "magnitude", "random")
    matched = [make_job(name, "parsimonious", seed=seed) for name in names for seed in (0, 1)]
    return [*matched, make_job(), make_job("parsimonious"), make_job("parsimonious", seed=1)]


@pytest.fixture
def order(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Labels of jobs in the order in which they are made; nothing is trained."""
    made: list[str] = []

    def execute(job: Job, root: Path, **settings: Any) -> Path:
        made.append(job.label)
        return root / str(len(made))

    monkeypatch.setattr(executor, "execute", execute)
    monkeypatch.setattr(job_order, "read_result", lambda folder: {"macs": 1, "density": 0.5})
    return made


def test_what_others_wait_for_comes_first(make_job: MakeJob, order: list[str], tmp_path: Path) -> None:
    jobs = all_kinds(make_job)
    folders = run_jobs(jobs, tmp_path, workers=1)
    assert order[:2] == ["parsimonious seed 0", "parsimonious seed 1"]
    assert sorted(order) == sorted(job.label for job in jobs)
    assert [folders[7].name, folders[8].name] == ["1", "2"]
    assert len(set(folders)) == len(jobs)


def test_a_run_waits_for_the_one_with_its_own_seed_and_settings(
    make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: dict[tuple[int, int], Any] = {}

    def execute(job: Job, root: Path, *, sized_by: Any, **settings: Any) -> Path:
        place = (job.settings.seed, job.settings.epochs or 0)
        if job.match is not None:
            sizes[place] = sized_by
        return root / "{}-{}".format(*place)

    monkeypatch.setattr(executor, "execute", execute)
    monkeypatch.setattr(job_order, "read_result", lambda folder: folder.name)
    places = [(seed, epochs) for seed in (0, 1) for epochs in (2, 3)]
    jobs = [make_job("l1-units", "parsimonious", seed=s, epochs=e) for s, e in places]
    jobs += [make_job("parsimonious", seed=s, epochs=e, price=5.0) for s, e in places]
    run_jobs(jobs, tmp_path, workers=1)
    assert sizes == {place: "{}-{}".format(*place) for place in places}


def test_matches_that_cannot_be(make_job: MakeJob, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="l1-units seed 1 matches 'parsimonious', which is not among the runs"):
        run_jobs([make_job("l1-units", "parsimonious", seed=1), make_job("parsimonious")], tmp_path)
    two = [make_job("parsimonious", price=price) for price in (1.0, 2.0)]
    with pytest.raises(SettingError, match="of which there are 2 runs with this seed that differ"):
        run_jobs([make_job("l1-units", "parsimonious"), *two], tmp_path)
    for workers in (0, -1, 1.5):
        with pytest.raises(SettingError, match="workers must be an integer >= 1"):
            run_jobs([make_job()], tmp_path, workers=workers)  # type: ignore[arg-type]  # refused on purpose
    assert list(tmp_path.iterdir()) == []


def test_nothing_to_do(tmp_path: Path) -> None:
    assert run_jobs([], tmp_path, workers=1) == [] == run_jobs([], tmp_path, workers=2)


def every_error() -> Iterator[BayespruneError]:
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, BayespruneError):
            if kind is UnknownNameError:
                yield UnknownNameError("method", "dens", ["dense"])
            elif kind is DivergenceError:
                yield DivergenceError(3, 0.5, Path("state"))
            else:
                yield kind("what was wrong")


@pytest.mark.parametrize("error", [*every_error()], ids=lambda error: type(error).__name__)
def test_every_error_survives_the_way_from_a_worker(error: BayespruneError) -> None:
    here, there = multiprocessing.Pipe()
    with here, there:
        there.send(Failure.of(error))
        failure = here.recv()
    with pytest.raises(type(error)) as caught:
        failure.raise_again()
    assert type(caught.value) is type(error) and str(caught.value) == str(error)
    assert vars(caught.value) == vars(error)


@pytest.fixture(scope="module")
def in_pool(
    make_job: MakeJob, tmp_path_factory: pytest.TempPathFactory
) -> tuple[list[Path], list[tuple[int, Progress]]]:
    """All kinds of runs, made by two workers."""
    seen: list[tuple[int, Progress]] = []
    root = tmp_path_factory.mktemp("pool")
    folders = run_jobs(all_kinds(make_job), root, workers=2, report=lambda number, now: seen.append((number, now)))
    return folders, seen


def test_a_pool_gives_the_results_of_one_process(
    make_job: MakeJob, in_pool: tuple[list[Path], Any], tmp_path: Path
) -> None:
    here = run_jobs(all_kinds(make_job), tmp_path, workers=1)
    assert [folder.name for folder in in_pool[0]] == [folder.name for folder in here]
    for one, other in zip(in_pool[0], here, strict=True):
        ours, theirs = bp.load(one), bp.load(other)
        assert ours.kept == theirs.kept
        for name, value in ours.network.state_dict().items():
            assert torch.equal(value, theirs.network.state_dict()[name])


def test_a_pool_reports_the_end_of_every_run(in_pool: tuple[list[Path], list[tuple[int, Progress]]]) -> None:
    ended = {number for number, now in in_pool[1] if now.step == now.total}
    assert ended == set(range(9))


def test_finished_runs_are_not_made_again(make_job: MakeJob, in_pool: tuple[list[Path], Any]) -> None:
    root = in_pool[0][0].parent
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    told: list[tuple[int, Path]] = []
    folders = run_jobs(
        all_kinds(make_job), root, workers=1, finished=lambda number, folder: told.append((number, folder))
    )
    assert folders == in_pool[0]
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before
    assert sorted(told) == list(enumerate(folders))


def test_an_error_in_a_worker_arrives_and_finished_runs_stay(make_job: MakeJob, tmp_path: Path) -> None:
    jobs = [make_job(), make_job("magnitude", density=0.5, learning_rate=1e30, seed=1), make_job(epochs=5000)]
    finished: list[int] = []
    with pytest.raises(
        DivergenceError, match=r"not finite at step 2 with learning rate .*e\+\d+; the last good"
    ) as caught:
        # The third run would take minutes; it is stopped, and its state is saved.
        run_jobs(jobs, tmp_path, workers=2, finished=lambda number, folder: finished.append(number))
    assert caught.value.step == 2 and caught.value.last_good is not None and caught.value.last_good.exists()
    assert set(finished) <= {0}
    for number in finished:
        assert read_result(run_jobs([jobs[number]], tmp_path, workers=1)[0])["method"] == "dense"


def test_errors_of_one_process_are_the_same(make_job: MakeJob, tmp_path: Path) -> None:
    with pytest.raises(InputShapeError, match="lenet5 cannot take inputs of shape"):
        run_jobs([make_job(network="lenet5", widths=None)], tmp_path, workers=2)
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError):
        run_jobs([make_job()], tmp_path / "file" / "runs", workers=1)


KILLER = """
import multiprocessing, os, signal
from bayesprune.models import LeNet300

def make(input_shape, classes):
    if multiprocessing.parent_process() is not None:
        os.kill(os.getpid(), signal.SIGKILL)
    return LeNet300((12, 8), input_shape, classes)
"""


def test_a_killed_worker_is_told_of_and_finished_runs_stay(
    make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "killer_network.py").write_text(KILLER)
    monkeypatch.syspath_prepend(tmp_path)
    # The second waits for the first, so that the first is finished when the killing begins.
    jobs = [make_job("parsimonious"), make_job("l1-units", "parsimonious")]
    (finished,) = run_jobs(jobs[:1], tmp_path / "runs", workers=1)
    killer = make_job(network="killer_network:make", widths=None)
    message = "a worker process was killed .out of memory.. while it made dense seed 0; finished runs are kept"
    with pytest.raises(BayespruneError, match=message):
        run_jobs([*jobs[:1], killer, make_job(epochs=5000)], tmp_path / "runs", workers=2)
    assert RunFolder(finished).finished
    assert run_jobs([killer], tmp_path / "runs", workers=1)[0].exists()


MEETING = """
import multiprocessing, os, time
from pathlib import Path
from bayesprune.models import LeNet300

def make(input_shape, classes):
    here = Path(__file__).parent
    while multiprocessing.parent_process() is not None and len(list(here.glob("worker-*"))) < 2:
        (here / f"worker-{os.getpid()}").touch()
        time.sleep(0.01)
    return LeNet300(input_shape=input_shape, classes=classes)
"""

SCRIPT = """
import sys
from pathlib import Path
from bayesprune.experiments.executor import run_jobs
from bayesprune.experiments.jobs import Job
from bayesprune.run.settings import RunSettings

if __name__ == "__main__":
    jobs = [Job(RunSettings("dense", network="meeting_network:make", seed=seed, epochs=30)) for seed in (0, 1)]
    try:
        run_jobs(jobs, Path(sys.argv[1]), workers=2)
    except KeyboardInterrupt:
        print("stopped", flush=True)
        sys.exit(130)
    print("finished", flush=True)
"""


@pytest.fixture
def start(repository: Path, tmp_path: Path) -> Iterator[Callable[[], "subprocess.Popen[str]"]]:
    """Starts the script in a session of its own, as a terminal would."""
    started: list[subprocess.Popen[str]] = []
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "meeting_network.py").write_text(MEETING)  # no run begins before both workers are there
    path = os.pathsep.join([str(repository), os.environ.get("PYTHONPATH", "")])

    def begin() -> "subprocess.Popen[str]":
        command = [sys.executable, str(tmp_path / "script.py"), str(tmp_path / "runs")]
        environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            command, env=environment, stdout=pipe, stderr=pipe, text=True, start_new_session=True
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        for pipe in (process.stdout, process.stderr):
            assert pipe is not None
            pipe.close()
        if not is_gone(process.pid):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def is_gone(group: int) -> bool:
    """Whether no process of the group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


def wait_until(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.02)


@pytest.mark.long
def test_ctrl_c_saves_every_run_leaves_no_process_and_can_be_gone_on_from(
    start: Callable[[], "subprocess.Popen[str]"], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = tmp_path / "runs"
    process = start()
    wait_until(lambda: len(list(runs.glob("*/checkpoint.safetensors"))) == 2)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (130, "stopped\n")
    assert err == ""
    wait_until(lambda: is_gone(process.pid))
    steps = [load_tree(file)["counters"]["step"] for file in runs.glob("*/checkpoint.safetensors")]
    assert len(steps) == 2 and all(0 < step < 30 * 35 for step in steps)

    process = start()
    out, err = process.communicate(timeout=300)
    assert (process.returncode, out, err) == (0, "finished\n", "")
    monkeypatch.syspath_prepend(tmp_path)
    jobs = [Job(RunSettings("dense", network="meeting_network:make", seed=seed, epochs=30)) for seed in (0, 1)]
    for resumed, whole in zip(
        run_jobs(jobs, runs, workers=1), run_jobs(jobs, tmp_path / "whole", workers=1), strict=True
    ):
        one, other = (bp.load(folder, bp.models.LeNet300).network.state_dict() for folder in (resumed, whole))
        assert all(torch.equal(one[name], other[name]) for name in other)


@pytest.mark.long
def test_workers_end_when_their_parent_is_killed(start: Callable[[], "subprocess.Popen[str]"], tmp_path: Path) -> None:
    process = start()
    wait_until(lambda: len(list((tmp_path / "runs").glob("*/checkpoint.safetensors"))) == 2)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    wait_until(lambda: is_gone(process.pid))


@pytest.mark.long
def test_ctrl_c_before_anything_is_trained_stops_as_well(start: Callable[[], "subprocess.Popen[str]"]) -> None:
    process = start()
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    if not children.exists():
        pytest.skip("this system does not say which processes a process has started")
    wait_until(lambda: len(children.read_text().split()) == 3)  # two workers and the tracker of semaphores
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (130, "stopped\n")
    assert err == ""
    wait_until(lambda: is_gone(process.pid))


def begun(make_job: MakeJob, **settings: Any) -> list[Job]:
    """A run that begins with another's network stands before it."""
    base = make_job(seed=3)
    plain: dict[str, Any] = {"density": 0.5, "seed": 1, "options": {"prune_share": 0.0}}
    job = make_job("magnitude", **plain | settings)
    return [Job(job.settings, start=base.settings), base]


def test_a_run_begins_with_the_network_of_another(make_job: MakeJob, tmp_path: Path) -> None:
    job, base = begun(make_job, learning_rate=1e-12, options={"prune_share": 0.0, "fixed_learning_rate": 1e-12})
    folder, source = run_jobs([job, base], tmp_path / "one", workers=1)
    trained, pruned = bp.load(source).network.state_dict(), bp.load(folder).network.state_dict()
    for name, value in pruned.items():
        kept = value != 0
        assert torch.allclose(value[kept], trained[name][kept], atol=1e-6)
    assert sum(int((pruned[f"fc{n}.weight"] != 0).sum()) for n in (1, 2, 3)) == 276
    # It is named by what it began with, wherever that lies; and is found again.
    assert bp.load(folder).settings.weights == f"run:{source.name}"
    again, _ = run_jobs([job, base], tmp_path / "other", workers=1)
    assert again.name == folder.name
    made = read_result(folder)
    assert run_jobs([job, base], tmp_path / "one", workers=1)[0] == folder and read_result(folder) == made
    assert folder_of(job, tmp_path / "one").finished
    assert folder_of(make_job("magnitude", **_given(job)), tmp_path / "one").path != folder


def _given(job: Job) -> dict[str, Any]:
    return {name: getattr(job.settings, name) for name in ("density", "seed", "options", "learning_rate")}


def test_what_others_begin_with_comes_first(make_job: MakeJob, order: list[str], tmp_path: Path) -> None:
    run_jobs([make_job(seed=9), *begun(make_job)], tmp_path, workers=1)
    assert order == ["dense seed 3", "dense seed 9", "magnitude seed 1"]


def test_a_start_that_is_not_among_the_runs_is_refused(make_job: MakeJob, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="magnitude seed 1 begins with the network of a run that is not among"):
        run_jobs(begun(make_job)[:1], tmp_path, workers=1)
