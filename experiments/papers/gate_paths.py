"""The picture of gates on their way: inclusion probabilities of some gates of every layer, epoch by epoch."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bayesprune.experiments.report.drawing import ACCENT, CONTRAST
from bayesprune.experiments.report.pictures import Sketch
from bayesprune.experiments.report.structure_plots import group_slices
from bayesprune.experiments.report.words import short
from bayesprune.store.runs import RunRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]
_SHOWN = 60
"""So many gates a layer are drawn."""


def gates_sketch(run: RunRecord, name: str, title: str, start: float) -> Sketch | None:
    """Paths of some gates of every layer of a run, each to where it ended; None without a trace.

    Args:
        run: a finished one.
        name: of the picture's file, after "gates-".
        title: of the network.
        start: inclusion probability of all gates at the start.
    """
    posterior = run.posterior
    if posterior is None or len(posterior["steps"]) == 0 or not run.history:
        return None
    facts = [f"{group['name']}: {len(group['kept']):,} of {group['size']:,} kept" for group in run.groups]
    return Sketch(
        f"gates-{name}",
        f"{title}: gates on their way",
        f"Inclusion probabilities by epoch, seed {run.result['seed']}. {'; '.join(facts)}.",
        f"Up to {_SHOWN} gates a layer, evenly drawn from all of it; blue: kept, orange: removed. The last point is "
        f"where a gate ended; {run.result['decided_at_end'] or 0:,} of {run.gates:,} were undecided when pruning "
        "ended.",
        lambda: _figure(run, start),
    )


def paths(run: RunRecord, start: float) -> tuple[Floats, Floats]:
    """Epochs [E + 2] and inclusion probabilities [E + 2, J]: the start, after each epoch, and the decision.

    The decision stands half an epoch after the last epoch in which gates learnt.
    """
    posterior = run.posterior
    assert posterior is not None
    steps, trace, decided = (posterior[name].numpy().astype(float) for name in ("steps", "trace", "decided"))
    epochs = steps / float(run.history[0]["step"])
    begins = np.full(trace.shape[1], start)
    return np.concatenate([[0.0], epochs, [epochs[-1] + 0.5]]), np.vstack([begins, trace, decided])


def sample(count: int, most: int = _SHOWN) -> list[int]:
    """At most so many of `count` gates, evenly spaced."""
    return sorted({round(place) for place in np.linspace(0, count - 1, min(count, most))})


def _figure(run: RunRecord, start: float) -> "Figure":
    """A pair of axes a layer, side by side."""
    from matplotlib.figure import Figure

    epochs, values = paths(run, start)
    groups = list(group_slices(run.groups))
    figure = Figure(figsize=(2.6 * len(groups) + 0.4, 2.8), layout="constrained")
    for axes, (name, place) in zip(np.atleast_1d(figure.subplots(1, len(groups), sharey=True)), groups, strict=True):
        mine = values[:, place]
        _draw(axes, epochs, mine[:, sample(mine.shape[1])])
        kept = int(mine[-1].sum())
        axes.set_title(f"{short(name)}: {kept:,} of {mine.shape[1]:,} kept", fontsize=9.5)
        axes.set_xlabel("epoch")
    figure.axes[0].set_ylabel("inclusion probability")
    return figure


def _draw(axes: "Axes", epochs: Floats, values: Floats) -> None:
    """Thin lines, the removed below the kept."""
    from matplotlib.ticker import MaxNLocator

    for kept, colour in ((False, CONTRAST), (True, ACCENT)):
        chosen = values[:, (values[-1] > 0.5) == kept]
        if chosen.size:
            axes.plot(epochs, chosen, color=colour, linewidth=0.8, alpha=0.45)
    axes.set_ylim(-0.03, 1.03)
    axes.set_xlim(epochs[0], epochs[-1])
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
