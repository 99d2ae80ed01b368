"""How far restarts agree, as a picture: the channels they keep, and the input features they have in common."""

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bayesprune.experiments.agreement import INPUTS, kept_by, overlap, overlap_by_chance, times_kept
from bayesprune.experiments.report.picture_file import write_picture
from bayesprune.experiments.report.words import short
from bayesprune.store.runs import RunRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_agreement(records: Sequence[RunRecord], path: Path) -> Path:
    """Draw the share of channels that every restart keeps of each group, and the overlap of their input features.

    Args:
        records: at least two restarts.
        path: of the picture: its suffix, .png or .svg, says which.

    Returns:
        `path`.

    Raises:
        SettingError: another suffix.
        StoreError: the picture cannot be written.
    """
    return write_picture(lambda: _figure(records), path)


def _figure(records: Sequence[RunRecord]) -> "Figure":
    from matplotlib.figure import Figure

    times = times_kept(records)
    figure = Figure(figsize=(10.2 if times else 4.4, 3.4), layout="constrained")
    places = figure.subplots(1, 3 if times else 1, squeeze=False)[0]
    _draw_sizes(places[0], records)
    if times:
        _draw_times(places[1], times, len(records))
        _draw_overlap(places[2], records, len(times))
    figure.suptitle(
        f"{len(records)} restarts; hidden units are numbered anew in each, so only sizes compare", fontsize=9
    )
    return figure


def _draw_sizes(axes: "Axes", records: Sequence[RunRecord]) -> None:
    """A point a restart: the share of a group's channels that is left."""
    from bayesprune.experiments.report.drawing import ACCENT

    groups = records[0].groups
    for place, group in enumerate(groups):
        shares = [len(kept) / group["size"] for kept in kept_by(records, group["name"])]
        axes.plot([place] * len(shares), shares, "o", color=ACCENT, alpha=0.7)
    axes.set_xticks(range(len(groups)), [short(group["name"]) for group in groups], rotation=30, ha="right")
    axes.set(ylabel="share of the channels left", ylim=(-0.03, 1.03), xlim=(-0.6, len(groups) - 0.4))


def _draw_times(axes: "Axes", times: Sequence[int], restarts: int) -> None:
    """How many input features are kept by so many restarts."""
    from bayesprune.experiments.report.drawing import ACCENT, write_counts

    counts = np.bincount(times, minlength=restarts + 1)
    axes.bar(range(restarts + 1), counts, color=ACCENT)
    axes.set(xlabel="restarts that keep a feature", ylabel="input features", xticks=range(restarts + 1))
    write_counts(axes.yaxis)


def _draw_overlap(axes: "Axes", records: Sequence[RunRecord], features: int) -> None:
    """The Jaccard index of every pair, beside that of sets of these sizes drawn blindly."""
    from bayesprune.experiments.report.drawing import ACCENT, CONTRAST

    pairs = list(combinations(kept_by(records, INPUTS), 2))
    found = [overlap(*pair) for pair in pairs]
    chance = [overlap_by_chance(len(one), len(other), features) for one, other in pairs]
    axes.plot([0] * len(found), found, "o", color=ACCENT, alpha=0.7)
    axes.plot([1] * len(chance), chance, "s", color=CONTRAST, alpha=0.7)
    axes.set_xticks([0, 1], ["pairs of restarts", "by chance"])
    axes.set(ylabel="Jaccard index of input features", ylim=(-0.03, 1.03), xlim=(-0.5, 1.5))
