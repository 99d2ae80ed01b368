"""What the commands that make runs have in common: checks before anything is written, and the answer."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from bayesprune.errors import SettingError
from bayesprune.experiments.commands.fetching import fetch_missing
from bayesprune.experiments.commands.output import answer, answer_object
from bayesprune.experiments.commands.progress import watching
from bayesprune.experiments.commands.sentences import sentence_about
from bayesprune.experiments.compare import as_json
from bayesprune.experiments.executor import run_jobs
from bayesprune.experiments.gates import warning_lines
from bayesprune.experiments.jobs import Job, phase_steps
from bayesprune.experiments.report import write_report
from bayesprune.experiments.summary import summary_rows, terminal_table
from bayesprune.run.running import check_request
from bayesprune.run.settings import check_integer
from bayesprune.store.atomic import check_writable
from bayesprune.store.runs import RunRecord


def make(
    jobs: Sequence[Job], out: Path, *, workers: int, fresh: bool, names: Sequence[str] | None = None
) -> list[Path]:
    """Check the runs, make those that are not finished, and tell how they get on.

    Args:
        jobs: the runs.
        out: where run folders lie.
        workers: processes.
        fresh: start interrupted runs anew instead of going on from their checkpoints.
        names: what progress calls the runs; by default method, seed and the settings in which they differ.

    Returns:
        The run folders in the order of the jobs.

    Raises:
        BayespruneError: bad input, naming value, limit and cure (nothing is written then), or a run failed.
        KeyboardInterrupt: after Ctrl-C, once the states of unfinished runs are saved.
    """
    check_integer("workers", workers, 1)
    phases = prepare(jobs, out)
    with watching(jobs, phases, out, min(workers, len(jobs)), names) as watcher:
        return run_jobs(jobs, out, workers=workers, resume=not fresh, report=watcher.report, finished=watcher.finished)


def prepare(jobs: Sequence[Job], out: Path) -> list[dict[str, int]]:
    """Refuse bad input before anything is written; returns the steps of each run's phases.

    Raises:
        BayespruneError: naming value, limit and cure.
    """
    check_folder(out)
    for job in jobs:
        chosen = job.method
        if job.match is None:  # the size of another run is not known yet
            check_request(chosen, job.settings)
    fetch_missing(dict.fromkeys(job.settings.data for job in jobs))
    # What can be refused does not depend on the seed, so that one run of each kind is checked.
    kinds = [(replace(job.settings, seed=0), job.match) for job in jobs]
    found: list[tuple[object, dict[str, int]]] = []
    for job, kind in zip(jobs, kinds, strict=True):
        if all(kind != known for known, _ in found):
            found.append((kind, phase_steps(job)))
    return [next(phases for known, phases in found if known == kind) for kind in kinds]


def check_folder(folder: Path) -> None:
    """Refuse an output folder that is a file or cannot be written to.

    Raises:
        SettingError: a file has its name.
        StoreError: it cannot be written to.
    """
    if folder.exists() and not folder.is_dir():
        raise SettingError(f"--out {folder} is a file: name a folder, which is made where it is missing")
    check_writable(folder)


def finish(folders: Sequence[Path], page: Path, as_object: bool, title: str) -> None:
    """Write the report, and print the table, warnings and the verdict (or the JSON object)."""
    records = [RunRecord.read(folder) for folder in folders]
    sentence = sentence_about(records)
    write_report(records, page, title=title, verdict=sentence)
    if as_object:
        answer_object(as_json(records, summary_rows(records), str(page)))
        return
    print_table(records)
    for line in warning_lines(records):
        answer(f"! {line}")
    answer(sentence)
    answer(f"report: {page}")


def print_table(records: Sequence[RunRecord]) -> None:
    """The summary by method on standard output, as wide as the terminal is."""
    console = Console()
    with console.capture() as captured:
        console.print(terminal_table(records))
    answer(captured.get().rstrip())
