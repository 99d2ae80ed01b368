"""`bayesprune compare`: the main job."""

from pathlib import Path

from bayesprune.experiments.commands.flags import DEFAULTS, Accepted, Count, Names, Out, RunFlags, Switch


def compare(
    *,
    flags: RunFlags = DEFAULTS,
    methods: Names | None = None,
    seeds: Count = 3,
    out: Out = Path("runs"),
    workers: Count = 2,
    fresh: Switch = False,
    resume: Accepted = True,
    json: Switch = False,
) -> None:
    """Compare methods side by side, every one with the same seeds and as many epochs.

    Args:
        flags: Settings of every run.
        methods: Which ones; by default dense, parsimonious, magnitude, l1-units and random.
        seeds: How many, from 0 on.
        out: Folder of the run folders and of report.html.
        workers: Processes, one thread each.
        fresh: Start interrupted runs anew instead of going on from their checkpoints.
        resume: Accepted; it is what happens anyway.
        json: Print one JSON object.
    """
    from bayesprune.experiments.commands.shared import finish, make
    from bayesprune.experiments.compare import COMPARED, REFERENCE, comparison
    from bayesprune.experiments.study import seeds_from

    named = COMPARED if methods is None else methods
    jobs = comparison(flags.settings(REFERENCE, 0), seeds_from(seeds), named)
    folders = make(jobs, out, workers=workers, fresh=fresh)
    finish(folders, out / "report.html", json, f"{flags.network} on {flags.data}")
