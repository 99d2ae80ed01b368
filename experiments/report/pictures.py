"""Pictures as values: a drawn one for a page, and one that can be drawn both for a page and as a PNG file."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from bayesprune.experiments.report.drawing import PRINT_INK, drawing
from bayesprune.experiments.report.svg import to_svg

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DPI = 160


@dataclass(frozen=True)
class Picture:
    """A drawn picture.

    Attributes:
        heading: above it.
        svg: the picture itself.
        caption: below it: how to read it.
    """

    heading: str
    svg: Markup
    caption: str


@dataclass(frozen=True)
class Sketch:
    """A picture that is drawn anew for each form it is wanted in.

    Attributes:
        name: of its file, and prefix of its ids on a page, so unique there.
        heading: above it.
        description: what can be read from it, for those who do not see it.
        caption: below it: how to read it.
        draw: makes the figure; called under `drawing`.
    """

    name: str
    heading: str
    description: str
    caption: str
    draw: "Callable[[], Figure]"

    def picture(self) -> Picture:
        """For a page, light or dark."""
        with drawing():
            svg = to_svg(self.draw(), self.name, self.heading, self.description)
        return Picture(self.heading, svg, self.caption)

    def png(self) -> bytes:
        """For a document that cannot hold the page's form: dark on white."""
        file = io.BytesIO()
        with drawing(PRINT_INK):
            self.draw().savefig(file, format="png", dpi=_DPI, facecolor="white", metadata={"Software": None})
        return file.getvalue()
