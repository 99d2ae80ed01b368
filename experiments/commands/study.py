"""`bayesprune study`: a grid of runs."""

from pathlib import Path

from bayesprune.experiments.commands.shared import finish, prepare, progress_bar
from bayesprune.experiments.executor import run_jobs
from bayesprune.experiments.study import read_study


def study(
    file: Path, *, out: Path | None = None, workers: int = 2, resume: bool = False, json: bool = False
) -> None:
    """Make the runs a TOML file describes; finished ones are not made again.

    Args:
        file: The study.
        out: Folder of the run folders and of report.html; by default the study's `out`, else runs.
        workers: Processes, one thread each.
        resume: Go on with interrupted runs from their checkpoints.
        json: Print one JSON object.
    """
    described = read_study(file)
    place = out or described.out or Path("runs")
    steps = prepare(described.jobs, place)
    with progress_bar(described.jobs, steps) as report:
        folders = run_jobs(described.jobs, place, workers=workers, resume=resume, report=report)
    finish(folders, place / "report.html", json, described.title)
