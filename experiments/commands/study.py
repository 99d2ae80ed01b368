"""`bayesprune study`: a grid of runs."""

from pathlib import Path

from bayesprune.experiments.commands.flags import Accepted, Count, Out, Switch


def study(
    file: Path,
    /,
    *,
    out: Out | None = None,
    workers: Count = 2,
    fresh: Switch = False,
    resume: Accepted = True,
    json: Switch = False,
) -> None:
    """Make the runs a TOML file describes; finished ones are not made again.

    Args:
        file: The study.
        out: Folder of the run folders and of report.html; by default the study's `out`, else runs.
        workers: Processes, one thread each.
        fresh: Start interrupted runs anew instead of going on from their checkpoints.
        resume: Accepted; it is what happens anyway.
        json: Print one JSON object.
    """
    from bayesprune.experiments.commands.shared import finish, make
    from bayesprune.experiments.study import read_study

    described = read_study(file)
    place = out or described.out or Path("runs")
    folders = make(described.jobs, place, workers=workers, fresh=fresh)
    finish(folders, place / "report.html", json, described.title)
