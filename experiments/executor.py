"""Making many runs: a process pool with one torch thread a worker, sizes passed from run to run."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from queue import Empty
from time import monotonic
from typing import Any

from bayesprune import errors
from bayesprune.errors import BayespruneError, SettingError
from bayesprune.experiments.jobs import Job, execute, read_result
from bayesprune.training import Progress

Report = Callable[[int, Progress], None]
"""Called with a job's number and its progress."""

REPORT_SECONDS = 0.1


@dataclass(frozen=True)
class Failure:
    """An error of ours in a worker, in a form that can be sent."""

    kind: str
    message: str

    def raise_again(self) -> None:
        """Raise the error in this process."""
        kind = getattr(errors, self.kind, BayespruneError)
        error = kind.__new__(kind)
        Exception.__init__(error, self.message)
        raise error


def run_jobs(
    jobs: Sequence[Job], root: Path, *, workers: int = 2, resume: bool = False, report: Report | None = None
) -> list[Path]:
    """Make all runs, as many at a time as there are workers; finished ones are not made again.

    A job that matches another method waits for that method's run with the same seed.

    Args:
        jobs: the runs.
        root: where run folders lie.
        workers: processes; 1 runs in this process.
        resume: go on from checkpoints of interrupted runs.
        report: called on progress.

    Returns:
        The run folders in the order of the jobs.

    Raises:
        BayespruneError: the first error of a run; what was finished stays.
        KeyboardInterrupt: after Ctrl-C, once every worker has saved its state.
    """
    schedule = _Schedule(jobs)
    report = report or (lambda job, progress: None)
    if workers == 1 or len(jobs) == 1:
        return _run_here(schedule, root, resume, report)
    return _run_in_pool(schedule, root, workers, resume, report)


class _Schedule:
    """Which jobs may start, given what is finished."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.jobs = list(jobs)
        self.folders: dict[int, Path] = {}
        self._sources = [self._source(job) for job in jobs]

    def ready(self, started: set[int]) -> list[int]:
        """Jobs not started whose source is finished; those that others wait for come first."""
        awaited = set(self._sources)
        ready = [
            number
            for number, source in enumerate(self._sources)
            if number not in started and (source is None or source in self.folders)
        ]
        return sorted(ready, key=lambda number: (number not in awaited, number))

    def size(self, number: int) -> Mapping[str, Any] | None:
        """The result that gives the job its size."""
        source = self._sources[number]
        return None if source is None else read_result(self.folders[source])

    def in_order(self) -> list[Path]:
        """The folders in the order of the jobs."""
        return [self.folders[number] for number in range(len(self.jobs))]

    def _source(self, job: Job) -> int | None:
        """The job that gives this one its size."""
        if job.match is None:
            return None
        for number, other in enumerate(self.jobs):
            same = (other.settings.method, other.settings.seed, other.settings.data, other.settings.network) == (
                job.match, job.settings.seed, job.settings.data, job.settings.network
            )  # fmt: skip
            if same and other.match is None:
                return number
        raise SettingError(f"{job.label} matches {job.match!r}, which is not among the runs with this seed")


def _run_here(schedule: _Schedule, root: Path, resume: bool, report: Report) -> list[Path]:
    """One after the other in this process."""
    started: set[int] = set()
    while ready := schedule.ready(started):
        number = ready[0]
        started.add(number)
        schedule.folders[number] = execute(
            schedule.jobs[number], root, resume=resume, sized_by=schedule.size(number),
            progress=lambda progress, number=number: report(number, progress),
        )  # fmt: skip
    return schedule.in_order()


def _run_in_pool(schedule: _Schedule, root: Path, workers: int, resume: bool, report: Report) -> list[Path]:
    """Several at a time in processes of their own."""
    context = multiprocessing.get_context("spawn")
    queue: Any = context.Queue()
    pool = ProcessPoolExecutor(workers, context, _prepare_worker, (queue,))
    running: dict[Future[Path | Failure], int] = {}
    started: set[int] = set()
    try:
        while True:
            for number in schedule.ready(started):
                if len(running) < workers:
                    started.add(number)
                    task = pool.submit(
                        _work, number, schedule.jobs[number], root, resume, schedule.size(number)
                    )
                    running[task] = number
            if not running:
                return schedule.in_order()
            done, _ = wait(running, timeout=REPORT_SECONDS, return_when=FIRST_COMPLETED)
            _drain(queue, report)
            for task in done:
                number, outcome = running.pop(task), task.result()
                if isinstance(outcome, Failure):
                    outcome.raise_again()
                else:
                    schedule.folders[number] = outcome
    except BrokenProcessPool as error:
        raise BayespruneError(
            "a worker process was killed (out of memory?); finished runs are kept: start again with --resume"
        ) from error
    finally:
        _stop(pool)
        _drain(queue, report)


def _stop(pool: ProcessPoolExecutor) -> None:
    """Let workers save their states and end."""
    for process in list((pool._processes or {}).values()):
        if process.is_alive() and process.pid is not None:
            os.kill(process.pid, signal.SIGINT)
    pool.shutdown(wait=True, cancel_futures=True)


def _drain(queue: Any, report: Report) -> None:
    """Pass on what the workers reported."""
    while True:
        try:
            number, progress = queue.get_nowait()
        except Empty:
            return
        report(number, progress)


_QUEUE: Any = None


def _prepare_worker(queue: Any) -> None:
    """In a new worker: one thread, and Ctrl-C only where the training loop waits for it."""
    global _QUEUE
    import torch

    _QUEUE = queue
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _work(number: int, job: Job, root: Path, resume: bool, size: Mapping[str, Any] | None) -> Path | Failure:
    """Make one run in a worker."""
    last = monotonic()

    def progress(now: Progress) -> None:
        nonlocal last
        if now.step == now.total or monotonic() - last >= REPORT_SECONDS:
            last = monotonic()
            _QUEUE.put((number, now))

    try:
        return execute(job, root, resume=resume, sized_by=size, progress=progress)
    except BayespruneError as error:
        return Failure(type(error).__name__, str(error))
    except KeyboardInterrupt:
        return Failure("BayespruneError", "interrupted")
