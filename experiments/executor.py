"""Making many runs: a process pool with one torch thread a worker, sizes passed from run to run."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import Empty
from time import monotonic
from typing import Any

from bayesprune.errors import BayespruneError
from bayesprune.experiments.job_order import JobOrder
from bayesprune.experiments.jobs import Job, execute
from bayesprune.run.settings import check_integer
from bayesprune.training import Progress
from bayesprune.training.interrupt import Interrupt

Report = Callable[[int, Progress], None]
"""Called with a job's number and its progress."""

Finished = Callable[[int, Path], None]
"""Called with a job's number and its run folder."""

REPORT_SECONDS = 0.1


@dataclass(frozen=True)
class Failure:
    """An error of ours in a worker, in a form that can be sent: an error with arguments of its own cannot.

    Attributes:
        kind: its class.
        message: what it says.
        details: its attributes.
    """

    kind: type[BayespruneError]
    message: str
    details: Mapping[str, Any]

    def raise_again(self) -> None:
        """Raise the error in this process."""
        error = self.kind.__new__(self.kind)
        Exception.__init__(error, self.message)
        vars(error).update(self.details)
        raise error


def run_jobs(
    jobs: Sequence[Job],
    root: Path,
    *,
    workers: int = 2,
    resume: bool = False,
    report: Report | None = None,
    finished: Finished | None = None,
) -> list[Path]:
    """Make all runs, as many at a time as there are workers; finished ones are not made again.

    A job that matches another method waits for that method's run with the same seed, and one that begins with another
    run's network for that run.

    Args:
        jobs: the runs.
        root: where run folders lie.
        workers: processes; 1 runs in this process.
        resume: go on from checkpoints of interrupted runs.
        report: called on progress.
        finished: called for each run once it is finished, also where it was already.

    Returns:
        The run folders in the order of the jobs.

    Raises:
        BayespruneError: the first error of a run; what was finished stays.
        KeyboardInterrupt: after Ctrl-C, once every worker has saved its state.
    """
    check_integer("workers", workers, 1)
    order = JobOrder(jobs, finished or (lambda job, folder: None))
    report = report or (lambda job, progress: None)
    if workers == 1 or len(jobs) == 1:
        return _run_here(order, root, resume, report)
    return _run_in_pool(order, root, workers, resume, report)


def _run_here(order: JobOrder, root: Path, resume: bool, report: Report) -> list[Path]:
    """One after the other in this process."""
    started: set[int] = set()
    while ready := order.ready(started):
        number = ready[0]
        started.add(number)
        job, size, tell = order.jobs[number], order.size(number), partial(report, number)
        order.finish(number, execute(job, root, resume=resume, sized_by=size, progress=tell))
    return order.in_order()


def _run_in_pool(order: JobOrder, root: Path, workers: int, resume: bool, report: Report) -> list[Path]:
    """Several at a time in processes of their own."""
    context = multiprocessing.get_context("spawn")
    queue: Any = context.Queue()
    pool = ProcessPoolExecutor(workers, context, _prepare_worker, (queue,))
    running: dict[Future[Path | Failure], int] = {}
    started: set[int] = set()
    try:
        while True:
            for number in order.ready(started)[: workers - len(running)]:
                started.add(number)
                with _interrupts_held():
                    task = pool.submit(_work, number, order.jobs[number], root, resume, order.size(number))
                running[task] = number
            if not running:
                break
            done, _ = wait(running, timeout=REPORT_SECONDS, return_when=FIRST_COMPLETED)
            _drain(queue, report)
            failures = []
            for task in done:
                number, outcome = running.pop(task), task.result()
                if isinstance(outcome, Failure):
                    failures.append(outcome)
                else:
                    order.finish(number, outcome)
            for failure in failures:
                failure.raise_again()
    except BrokenProcessPool as error:
        _stop(pool)
        raise BayespruneError(
            "a worker process was killed (out of memory?); finished runs are kept: start again with --resume"
        ) from error
    except BaseException:
        _stop(pool)
        raise
    pool.shutdown()
    _drain(queue, report)
    return order.in_order()


def _stop(pool: ProcessPoolExecutor) -> None:
    """Let workers save their states and end; a second Ctrl-C ends them at once."""
    processes = list((pool._processes or {}).values())
    for process in processes:
        process.terminate()
    try:
        pool.shutdown(cancel_futures=True)
    except KeyboardInterrupt:
        for process in processes:
            process.kill()
        raise


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Ctrl-C waits meanwhile, and never reaches a process that is started meanwhile: it inherits the mask."""
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)


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
    """In a new worker: one thread, and no Ctrl-C, which reaches it too but is for the parent to act on."""
    global _QUEUE
    import torch

    _QUEUE = queue
    queue.cancel_join_thread()  # what was not reported yet must not keep a worker from ending
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A worker whose parent was killed would wait for its next job for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(number: int, job: Job, root: Path, resume: bool, size: Mapping[str, Any] | None) -> Path | Failure:
    """Make one run in a worker."""
    last = monotonic()

    def progress(now: Progress) -> None:
        nonlocal last
        if now.step == now.total or monotonic() - last >= REPORT_SECONDS:
            last = monotonic()
            _QUEUE.put((number, now))

    with Interrupt():  # the parent's SIGTERM may come before training begins
        try:
            return execute(job, root, resume=resume, sized_by=size, progress=progress)
        except BayespruneError as error:
            return Failure(type(error), str(error), vars(error))
        except KeyboardInterrupt:
            os._exit(1)  # at once: another worker's death may have left the pool's queues locked
