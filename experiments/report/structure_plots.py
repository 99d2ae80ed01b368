"""The pictures of the report about structure: inclusion probabilities over training, and surviving pixels."""

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bayesprune.experiments.configurations import Configuration
from bayesprune.experiments.report.drawing import ACCENT, CONTRAST, INK, drawing, new_figure
from bayesprune.experiments.report.pictures import Picture
from bayesprune.experiments.report.svg import to_svg
from bayesprune.experiments.report.words import short
from bayesprune.experiments.words import counted
from bayesprune.store.runs import RunRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import ListedColormap

Floats = NDArray[np.float64]
_BINS = 20
_FAINT = 0.12
"""Opacity of a cell with a single gate, so that none is invisible."""


def group_slices(groups: Sequence[dict[str, Any]]) -> Iterator[tuple[str, slice]]:
    """Name and place of every group among the gates."""
    start = 0
    for group in groups:
        yield str(group["name"]), slice(start, start + group["size"])
        start += group["size"]


def gate_histograms(trace: Floats) -> Floats:
    """Share of the gates [E, 20] in each of 20 equal bins of inclusion probability, from a trace [E, J]."""
    bins = np.minimum((trace * _BINS).astype(int), _BINS - 1)
    return np.stack([np.bincount(row, minlength=_BINS) / row.size for row in bins])


def draw_inclusion(axes: "Axes", steps: Floats, trace: Floats) -> None:
    """Inclusion probabilities [E, J] after steps [E], an epoch a histogram, and the share not closed."""
    shares = gate_histograms(trace)
    edges = step_edges(steps)
    # Roots show the few gates on their way beside the many that have arrived.
    axes.pcolormesh(
        edges,
        np.linspace(0.0, 1.0, _BINS + 1),
        np.sqrt(shares.T),
        cmap=_fading(),
        vmin=0.0,
        vmax=1.0,
        rasterized=True,
        antialiased=False,
    )
    open_share = (trace > 0.0).mean(axis=1)
    axes.plot(steps, open_share, color=CONTRAST, linewidth=1.8)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlim(edges[0], edges[-1])
    axes.grid(visible=False)


def step_edges(steps: Floats) -> Floats:
    """Borders [E + 1] half-way between neighbouring steps, for columns of a picture."""
    if len(steps) == 1:
        return np.array([0.0, float(steps[0]) or 1.0])
    middle = (steps[1:] + steps[:-1]) / 2.0
    return np.concatenate([[2 * steps[0] - middle[0]], middle, [2 * steps[-1] - middle[-1]]])


def inclusion_pictures(run: RunRecord, prefix: str) -> list[Picture]:
    """A picture for every group of a run that has a posterior; none where it has not."""
    posterior = run.posterior
    if posterior is None or len(posterior["steps"]) == 0:
        return []
    steps, trace, theta, decided = (
        posterior[name].numpy().astype(float) for name in ("steps", "trace", "inclusion_probability", "decided")
    )
    return [
        _inclusion_picture(
            name, steps, trace[:, place], _gate_facts(theta[place], decided[place]), f"{prefix}-{number}"
        )
        for number, (name, place) in enumerate(group_slices(run.groups))
    ]


def _gate_facts(theta: Floats, decided: Floats) -> str:
    """How many gates are kept and how many were undecided, in words."""
    undecided = int(((theta > 0.0) & (theta < 1.0)).sum())
    kept = f"{int(decided.sum()):,} of {counted(theta.size, 'gate')} kept"
    return f"{kept}; {undecided:,} were undecided when pruning ended."


def _inclusion_picture(name: str, steps: Floats, trace: Floats, facts: str, ident: str) -> Picture:
    with drawing():
        figure, axes = new_figure(3.7, 2.5)
        draw_inclusion(axes, steps, trace)
        axes.set_xlabel("optimizer step")
        axes.set_ylabel("inclusion probability")
        svg = to_svg(figure, ident, f"Inclusion probabilities of {short(name)} over training", facts)
    return Picture(short(name), svg, facts)


def pixel_shares(runs: Sequence[RunRecord]) -> Floats | None:
    """Share of the runs that keep each input feature, in the input's shape; None without such gates."""
    if not runs:
        return None
    shape = runs[0].input_shape
    counts = np.zeros(math.prod(shape))
    for run in runs:
        kept = next((g["kept"] for g in run.groups if g["name"] == "inputs" and g["size"] == counts.size), None)
        if kept is None or run.input_shape != shape:
            return None
        counts[kept] += 1.0
    return (counts / len(runs)).reshape(shape)


def pixel_picture(found: Configuration, ident: str) -> Picture | None:
    """Which input pixels are kept, by how many of the seeds; None where none was ever removed."""
    shares = pixel_shares(found.records)
    if shares is None or shares.min() == 1.0:
        return None
    facts = _pixel_facts(shares, _kept_counts(found))
    image = np.atleast_2d(shares.mean(axis=tuple(range(shares.ndim - 2))))  # over colours
    with drawing():
        figure, axes = new_figure(3.2, 3.2 * image.shape[0] / image.shape[1] if image.shape[0] > 1 else 0.6)
        axes.pcolormesh(image[::-1], cmap=_fading(), vmin=0.0, vmax=1.0, rasterized=True, antialiased=False)
        axes.set_aspect("equal")
        axes.set(xticks=[], yticks=[])
        axes.grid(visible=False)
        for spine in axes.spines.values():
            spine.set(visible=True, color=INK, linewidth=0.8)
        svg = to_svg(figure, ident, f"Input pixels that {short(found.label)} keeps", facts)
    return Picture(short(found.label), svg, facts)


def _kept_counts(found: Configuration) -> list[int]:
    return [len(g["kept"]) for run in found.records for g in run.groups if g["name"] == "inputs"]


def _pixel_facts(shares: Floats, kept: list[int]) -> str:
    """How many pixels are kept, in words; `shares` are of the runs in `kept`."""
    every, size = int((shares == 1.0).sum()), shares.size
    if len(kept) == 1:
        return f"{kept[0]:,} of {size:,} kept."
    some = int((shares > 0.0).sum())
    return (
        f"Kept of {size:,}, seed by seed: {', '.join(f'{count:,}' for count in kept)}; "
        f"{every:,} by all {len(kept)} seeds, {some - every:,} by some, {size - some:,} by none."
    )


def _fading() -> "ListedColormap":
    """From nothing to the full accent colour, so that the page shows through in light and dark alike."""
    from matplotlib.colors import ListedColormap, to_rgb

    opacities = np.concatenate([[0.0], np.linspace(_FAINT, 1.0, 255)])
    return ListedColormap([(*to_rgb(ACCENT), float(opacity)) for opacity in opacities])
