"""How many nodes of a perceptron are open epoch by epoch, beside the published trajectory."""

from collections.abc import Sequence
from itertools import pairwise

from bayesprune.experiments.number_format import MISSING
from bayesprune.experiments.papers.spike_slab.published import TRAJECTORY
from bayesprune.experiments.report.tables import Table
from bayesprune.store.runs import RunRecord

INPUTS = "inputs"
"""The group of a perceptron's inputs."""


def open_nodes(run: RunRecord) -> list[int]:
    """Hidden nodes that are more likely open than closed, after every epoch in which gates learnt."""
    return [sum(widths[name] for name in widths if name != INPUTS) for widths in _widths(run)]


def nodes(run: RunRecord) -> int:
    """Hidden nodes at the start."""
    return sum(int(group["size"]) for group in run.groups if group["name"] != INPUTS)


def share_of_macs(run: RunRecord, epoch: int) -> float:
    """Multiply-accumulates after an epoch in percent of the dense network's; those of its end after the last one.

    Args:
        run: of a perceptron.
        epoch: from 1 on.
    """
    dense = _macs([int(group["size"]) for group in run.groups], run.classes)
    learnt = _widths(run)
    if epoch > len(learnt):
        return 100.0 * float(run.result["macs"]) / dense
    return 100.0 * _macs(list(learnt[epoch - 1].values()), run.classes) / dense


def trajectory_table(run: RunRecord) -> Table:
    """Cost and accuracy by epoch, published and ours; epochs that the run did not reach have none of ours."""
    rows = []
    for epoch, (cost, accuracy) in TRAJECTORY.items():
        reached = epoch <= len(run.history)
        ours = share_of_macs(run, epoch), 100.0 * run.history[epoch - 1]["validation_accuracy"] if reached else 0.0
        shown = [f"{value:.1f}" if reached else MISSING for value in ours]
        rows.append((str(epoch), f"{cost:.1f}", shown[0], f"{accuracy:.1f}", shown[1]))
    headings = (
        "epoch", "FLOPs %, published", "MACs %, ours", "test accuracy %, published", "validation accuracy %, ours",
    )  # fmt: skip
    return Table("SS-IG on MNIST, 784-400-400: cost and accuracy by epoch", headings, tuple(rows), words=1)


def _widths(run: RunRecord) -> list[dict[str, int]]:
    """Channels of every group that are more likely open, by epoch; one of every group at least stays."""
    posterior = run.posterior
    if posterior is None:
        return []
    likely = posterior["trace"] > 0.5
    names = [str(group["name"]) for group in run.groups]
    parts = likely.split([int(group["size"]) for group in run.groups], dim=1)
    counts = [part.sum(1).clamp(min=1).tolist() for part in parts]
    return [dict(zip(names, row, strict=True)) for row in zip(*counts, strict=True)]


def _macs(widths: Sequence[int], classes: int) -> int:
    """Of a perceptron with these widths."""
    return sum(reads * writes for reads, writes in pairwise([*widths, classes]))
