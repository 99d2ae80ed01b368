"""`bayesprune prune`: one run."""

from pathlib import Path

from bayesprune.experiments.commands.shared import RunFlags, finish, prepare, progress_bar
from bayesprune.experiments.executor import run_jobs
from bayesprune.experiments.jobs import Job

_DEFAULTS = RunFlags()


def prune(
    *,
    flags: RunFlags = _DEFAULTS,
    method: str = "parsimonious",
    seed: int = 0,
    out: Path = Path("runs"),
    resume: bool = False,
    json: bool = False,
) -> None:
    """Train and prune one network.

    Args:
        flags: Settings of the run.
        method: Name in the table of methods.
        seed: Of initial weights, order, noise and gates.
        out: Folder of the run folder and of its report.
        resume: Go on with an interrupted run from its checkpoint.
        json: Print one JSON object.
    """
    jobs = [Job(flags.settings(method, seed))]
    steps = prepare(jobs, out)
    with progress_bar(jobs, steps) as report:
        folders = run_jobs(jobs, out, workers=1, resume=resume, report=report)
    finish(folders, folders[0] / "report.html", json, f"{method}: {flags.network} on {flags.data}")
