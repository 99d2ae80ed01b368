"""Making many runs: one after the other, or in worker processes with one torch thread each."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import wait
from pathlib import Path

from bayesprune.experiments.job_order import JobOrder
from bayesprune.experiments.jobs import Job, UnderWay, execute
from bayesprune.experiments.subjects import NAMED
from bayesprune.experiments.worker import Ended, Failure, Task, Worker
from bayesprune.run.settings import check_integer
from bayesprune.training import Progress
from bayesprune.training.interrupt import Interrupt

Report = Callable[[int, Progress], None]
"""Called with a job's number and its progress."""

Finished = Callable[[int, Path], None]
"""Called with a job's number and its run folder."""

LOOK_SECONDS = 0.1


def run_jobs(
    jobs: Sequence[Job],
    root: Path,
    *,
    workers: int = 2,
    resume: bool = True,
    report: Report | None = None,
    finished: Finished | None = None,
    kept: list[Worker] | None = None,
) -> list[Path]:
    """Make all runs, as many at a time as there are workers; finished ones are not made again.

    A job that matches another method waits for that method's run with the same seed, and one that begins with another
    run's network for that run. A run that another process is making is left to it, and waited for at the end.

    Args:
        jobs: the runs.
        root: where run folders lie.
        workers: processes; 1 runs in this process, as do networks and data that were handed over as objects.
        resume: go on from checkpoints of interrupted runs; otherwise they start anew.
        report: called on progress.
        finished: called for each run once it is finished, also where it was already.
        kept: worker processes that several calls share (`kept_workers`); otherwise they end with the call.

    Returns:
        The run folders in the order of the jobs.

    Raises:
        BayespruneError: the first error of a run; what was finished stays, and the other runs' states are saved.
        KeyboardInterrupt: after Ctrl-C or SIGTERM, once every worker has saved its state.
    """
    check_integer("workers", workers, 1)
    queue = _Queue(JobOrder(jobs, finished or (lambda job, folder: None)))
    report = report or (lambda job, progress: None)
    if workers == 1 or len(jobs) <= 1 or any(job.subject is not NAMED for job in jobs):
        _run_here(queue, root, resume, report)
    else:
        _Pool(queue, root, min(workers, len(jobs)), resume, report, kept).run()
    return queue.order.in_order()


@contextmanager
def kept_workers() -> Iterator[list[Worker]]:
    """Worker processes for several calls of `run_jobs`, which start what they need; all end with the context."""
    kept: list[Worker] = []
    try:
        yield kept
    finally:
        for worker in kept:
            worker.close()


class _Queue:
    """The jobs that are still to be given out; those that another process makes come last."""

    def __init__(self, order: JobOrder) -> None:
        self.order = order
        self._started: set[int] = set()
        self._elsewhere: set[int] = set()

    def take(self) -> tuple[int, bool] | None:
        """A job that may start now, and whether to wait where another process makes it; None where there is none."""
        ready = self.order.ready(self._started)
        if not ready:
            return None
        number = min(ready, key=self._elsewhere.__contains__)
        self._started.add(number)
        return number, number in self._elsewhere

    def put_back(self, number: int) -> None:
        """Another process makes the run."""
        self._started.discard(number)
        self._elsewhere.add(number)


def _run_here(queue: _Queue, root: Path, resume: bool, report: Report) -> None:
    """One after the other in this process."""
    while taken := queue.take():
        number, patient = taken
        job, size, tell = queue.order.jobs[number], queue.order.size(number), partial(report, number)
        try:
            folder = execute(job, root, resume=resume, sized_by=size, progress=tell, patient=patient)
        except UnderWay:
            queue.put_back(number)
        else:
            queue.order.finish(number, folder)


class _Pool:
    """Several runs at a time, each worker at the end of a pipe of its own.

    Workers share nothing, so that the death of one can leave no lock behind on which another would wait for ever.
    """

    def __init__(
        self, queue: _Queue, root: Path, count: int, resume: bool, report: Report, kept: list[Worker] | None
    ) -> None:
        self._queue, self._root, self._count, self._resume, self._report = queue, root, count, resume, report
        self._idle = [] if kept is None else kept
        self._keeps = kept is not None
        self._busy: dict[Worker, int] = {}
        self._ending = False
        self._with_script = any(job.settings.network.startswith("__main__:") for job in queue.order.jobs)

    def run(self) -> None:
        """Make all runs; whatever goes wrong, the workers save their states and end."""
        with Interrupt() as interrupt:
            try:
                self._give_out()
                while self._busy:
                    self._look()
                    interrupt.raise_if_asked()
                    self._give_out()
            finally:
                self._end()

    def _give_out(self) -> None:
        """Give jobs to workers that have none."""
        order = self._queue.order
        while len(self._busy) < self._count and (taken := self._queue.take()):
            number, patient = taken
            worker = self._idle.pop() if self._idle else Worker(self._with_script)
            self._busy[worker] = number
            worker.send(Task(order.jobs[number], self._root, self._resume, order.size(number), patient))

    def _look(self) -> None:
        """Act on what the workers have sent."""
        ready = wait([worker.pipe for worker in self._busy], LOOK_SECONDS)
        for worker in [worker for worker in self._busy if worker.pipe in ready]:
            self._receive(worker, self._busy[worker])

    def _receive(self, worker: Worker, number: int) -> None:
        """Act on one message of a worker; while the pool ends, only finished runs count."""
        message = worker.receive()
        if isinstance(message, Progress):
            self._report(number, message)
            return
        del self._busy[worker]
        if isinstance(message, Ended):
            if not self._ending:
                message.raise_for(self._queue.order.jobs[number].label)
            return
        self._idle.append(worker)
        if isinstance(message, Failure):
            if not self._ending:
                message.raise_again()
        elif message is None:
            self._queue.put_back(number)
        else:
            self._queue.order.finish(number, message)

    def _end(self) -> None:
        """Let the busy workers save their states and all of them end; a second Ctrl-C ends them at once."""
        self._ending = True
        try:
            for worker in self._busy:
                worker.stop()
            while self._busy:
                self._look()
            for worker in [] if self._keeps else self._idle:
                worker.close()
        except BaseException:
            for worker in (*self._busy, *self._idle):
                worker.kill()
            raise
