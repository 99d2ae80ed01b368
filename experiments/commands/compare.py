"""`bayesprune compare`: the main job."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from bayesprune.experiments.commands.shared import RunFlags, finish, prepare, progress_bar
from bayesprune.experiments.compare import COMPARED, REFERENCE, comparison
from bayesprune.experiments.executor import run_jobs
from bayesprune.experiments.study import seeds_from

_DEFAULTS = RunFlags()


def compare(
    *,
    flags: RunFlags = _DEFAULTS,
    methods: Annotated[tuple[str, ...], Parameter(negative=())] = COMPARED,
    seeds: int = 3,
    out: Path = Path("runs"),
    workers: int = 2,
    resume: bool = False,
    json: bool = False,
) -> None:
    """Compare methods side by side, every one with the same seeds and as many epochs.

    Methods that need a size take it from the parsimonious run with the same seed: as many weights, or no more
    multiply-accumulates.

    Args:
        flags: Settings of every run.
        methods: Names in the table of methods.
        seeds: How many seeds, from 0 on.
        out: Folder of the run folders and of report.html.
        workers: Processes, one thread each.
        resume: Go on with interrupted runs from their checkpoints.
        json: Print one JSON object.
    """
    jobs = comparison(flags.settings(REFERENCE, 0), seeds_from(seeds), methods)
    steps = prepare(jobs, out)
    with progress_bar(jobs, steps) as report:
        folders = run_jobs(jobs, out, workers=workers, resume=resume, report=report)
    finish(folders, out / "report.html", json, f"{flags.network} on {flags.data}")
