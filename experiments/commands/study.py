"""`bayesprune study`: a grid of runs."""

from pathlib import Path

from bayesprune.experiments.commands.flags import Count, Out, Switch


def study(
    file: Path, /, *, out: Out | None = None, workers: Count = 2, resume: Switch = False, json: Switch = False
) -> None:
    """Make the runs a TOML file describes; finished ones are not made again.

    Args:
        file: The study.
        out: Folder of the run folders and of report.html; by default the study's `out`, else runs.
        workers: Processes, one thread each.
        resume: Go on with interrupted runs from their checkpoints.
        json: Print one JSON object.
    """
    from bayesprune.experiments.commands.shared import finish, make
    from bayesprune.experiments.study import read_study

    described = read_study(file)
    place = out or described.out or Path("runs")
    folders = make(described.jobs, place, workers=workers, resume=resume)
    finish(folders, place / "report.html", json, described.title)
