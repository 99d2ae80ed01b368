"""`bayesprune prune`: one run."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from bayesprune.experiments.commands.flags import DEFAULTS, RUNS, Accepted, Count, Out, RunFlags, Switch


def prune(
    *,
    method: Annotated[str, Parameter(group=RUNS)] = "parsimonious",
    flags: RunFlags = DEFAULTS,
    seed: Count = 0,
    out: Out = Path("runs"),
    fresh: Switch = False,
    resume: Accepted = True,
    json: Switch = False,
) -> None:
    """Train and prune one network.

    Args:
        method: with gates parsimonious, spike-slab, spike-slab-flat, ss-gl, ss-ghs; with random multipliers of channels
            l0, sbp, bmrs, vib, sparse-vd, bc-gnj, bc-ghs; for weights sv-bnn, magnitude, class-uniform,
            class-distributed, obd, layer-obs, snip, logit-snip, grasp, synflow, lottery, set, rigl; for channels
            l1-units, geometric-median, taylor, slimming; for either random, ntt; for residual sections layer-gates,
            and with channels complexity-aware; for layers that act linearly layer-sparsity; or dense, ensemble,
            mc-dropout.
        flags: Settings of the run.
        seed: Of initial weights, order, noise and gates.
        out: Folder of the run folder, which holds the report too.
        fresh: Start an interrupted run anew instead of going on from its checkpoint.
        resume: Accepted; it is what happens anyway.
        json: Print one JSON object.
    """
    from bayesprune.experiments.commands.shared import finish, make
    from bayesprune.experiments.jobs import Job

    jobs = [Job(flags.settings(method, seed))]
    folders = make(jobs, out, workers=1, fresh=fresh)
    finish(folders, folders[0] / "report.html", json, f"{method}: {flags.network} on {flags.data}")
