"""Names beside the points of a picture, none over another or over a point."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Annotation
    from matplotlib.transforms import Bbox

_OFFSETS = (
    (7, 0, "left", "center"), (-7, 0, "right", "center"), (0, 7, "center", "bottom"), (0, -7, "center", "top"),
    (5, 5, "left", "bottom"), (5, -5, "left", "top"), (-5, 5, "right", "bottom"), (-5, -5, "right", "top"),
    (0, 19, "center", "bottom"), (0, -19, "center", "top"), (12, 16, "left", "bottom"), (12, -16, "left", "top"),
    (-12, 16, "right", "bottom"), (-12, -16, "right", "top"),
)  # fmt: skip
"""Places tried for a name, the best first: points to the right and up, and which side of the text is there."""
_POINT, _LEADER = 4.0, 12.0
"""Half the width of a point, and from how far on a name is joined to its point by a line; both in points."""


def place_labels(
    axes: "Axes", labels: Sequence[tuple[float, float, str, str]], points: Sequence[tuple[float, float]]
) -> None:
    """Write a name beside each point where there is most room; call it when the axes have their final limits.

    Args:
        axes: of the picture.
        labels: x, y, name and colour of each point that is named.
        points: x and y of all points, which names keep clear of.
    """
    from matplotlib.transforms import Bbox

    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()
    half = _POINT * figure.dpi / 72.0
    places = [axes.transData.transform(point) for point in points]
    taken = [Bbox.from_extents(x - half, y - half, x + half, y + half) for x, y in places]
    inside = axes.get_window_extent()
    for x, y, name, colour in sorted(labels, key=lambda label: label[0]):
        tried = [(_write(axes, (x, y), name, colour, offset), offset) for offset in _OFFSETS]
        boxes = [text.get_window_extent() for text, _ in tried]
        costs = [_covered(box, taken) + 4.0 * _outside(box, inside) for box in boxes]
        best = min(range(len(tried)), key=lambda place: (round(costs[place]), place))
        for place, (text, _) in enumerate(tried):
            if place != best:
                text.remove()
        taken.append(boxes[best])


def _write(
    axes: "Axes", place: tuple[float, float], name: str, colour: str, offset: tuple[float, float, str, str]
) -> "Annotation":
    """The name beside its point, with a thin line where it is far."""
    right, up, across, along = offset
    far = abs(right) + abs(up) > _LEADER
    arrow = {"arrowstyle": "-", "color": colour, "linewidth": 0.6, "shrinkA": 0.0, "shrinkB": 3.0} if far else None
    return axes.annotate(
        name, place, (right, up), textcoords="offset points", ha=across, va=along, fontsize=8.5, color=colour,
        arrowprops=arrow, annotation_clip=False,
    )  # fmt: skip


def _covered(box: "Bbox", taken: "Sequence[Bbox]") -> float:
    """How much of the boxes that are taken a box covers, in square pixels."""
    total = 0.0
    for other in taken:
        width = min(box.x1, other.x1) - max(box.x0, other.x0)
        height = min(box.y1, other.y1) - max(box.y0, other.y0)
        total += max(0.0, width) * max(0.0, height)
    return total


def _outside(box: "Bbox", inside: "Bbox") -> float:
    """How far a box sticks out of the axes, in square pixels."""
    wide = max(0.0, inside.x0 - box.x0) + max(0.0, box.x1 - inside.x1)
    high = max(0.0, inside.y0 - box.y0) + max(0.0, box.y1 - inside.y1)
    return float(wide * box.height + high * box.width)
