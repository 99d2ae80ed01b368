"""How every picture of the report looks: palette, markers, and Matplotlib's settings while one is drawn.

Colours are of middle lightness, at least 3:1 against both the light and the dark page, and told apart also by
people who do not see red and green; markers and dashes differ as well.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bayesprune.experiments.number_format import compact

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

INK, PRINT_INK = "#7a808a", "#30343b"
"""Of axes and text on a page of either kind, and on white paper."""
ACCENT, CONTRAST = "#3074ca", "#d77b05"
LIGHT_PAGE, DARK_PAGE = "#ffffff", "#15181e"
COLOURS = (ACCENT, CONTRAST, "#b6436e", "#5aa16e", "#746813", "#b678c2", "#808890")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">")
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.5, 1.5)), (0, (9, 2)))
_SETTINGS = {
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.dpi": 100.0,
    "font.size": 10.0,
    "grid.alpha": 0.25,
    "legend.fontsize": 9.0,
    "legend.frameon": False,
    "svg.fonttype": "none",  # text stays text: the page's font and colour, found by a search
    "svg.hashsalt": "bayesprune",  # the same runs give the same file
    "text.parse_math": False,  # a dollar sign in a name is a dollar sign
    "text.usetex": False,
}

_INKED = ("axes.edgecolor", "axes.labelcolor", "grid.color", "text.color", "xtick.color", "ytick.color")


@dataclass(frozen=True)
class Look:
    """How one method is drawn in every picture."""

    colour: str
    marker: str
    dash: Any


def looks(labels: list[str]) -> dict[str, Look]:
    """One look a label; no two share colour and marker for up to 30 labels."""
    return {
        label: Look(COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)], DASHES[i % len(DASHES)])
        for i, label in enumerate(labels)
    }


def drawing(ink: str = INK) -> AbstractContextManager[None]:
    """Matplotlib's settings for our pictures, put back afterwards; drawing and saving both happen inside.

    Args:
        ink: colour of axes and text.
    """
    import matplotlib

    settings: Any = _SETTINGS | dict.fromkeys(_INKED, ink)
    return matplotlib.rc_context(settings)


def new_figure(width: float = 4.7, height: float = 3.1) -> "tuple[Figure, Axes]":
    """A figure of so many inches with one pair of axes; no global state is touched."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def count_axis(axes: "Axes", counts: Sequence[float]) -> None:
    """A horizontal axis of counts, written 20k or 2M; logarithmic where they spread over a factor of 8."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

    low, high = min(counts, default=0.0), max(counts, default=0.0)
    if low > 0.0 and high / low >= 8.0:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high / low < 100.0 else (1.0,)))
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        axes.xaxis.set_major_locator(MaxNLocator(5))
    write_counts(axes.xaxis)


def write_counts(axis: "Axis") -> None:
    """Write the numbers of an axis as 20k or 2M: powers of ten would be read as plain text."""
    from matplotlib.ticker import FuncFormatter

    axis.set_major_formatter(FuncFormatter(lambda value, _: compact(value)))


def legend_below(figure: "Figure", axes: "Axes") -> None:
    """The names of what is drawn, below the axes, where there is more than one."""
    handles, names = axes.get_legend_handles_labels()
    if len(names) > 1:
        columns = 3 if max(map(len, names)) < 16 else 2 if max(map(len, names)) < 28 else 1
        figure.legend(handles, names, loc="outside lower center", ncols=columns)
