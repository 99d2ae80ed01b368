"""A picture of its own file, as PNG or SVG."""

import io
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from bayesprune.errors import SettingError
from bayesprune.store.atomic import write_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PICTURES = {".png": "png", ".svg": "svg"}


def write_picture(draw: "Callable[[], Figure]", path: Path) -> Path:
    """Draw a figure and write it, whole or not at all.

    Args:
        draw: makes the figure.
        path: its suffix, .png or .svg, says which form.

    Returns:
        `path`.

    Raises:
        SettingError: another suffix.
        StoreError: the picture cannot be written.
    """
    kind = _PICTURES.get(path.suffix.lower())
    if kind is None:
        raise SettingError(f"{path.name} has the suffix {path.suffix!r}: a picture is written as .png or .svg")
    from bayesprune.experiments.report.drawing import PRINT_INK, drawing

    file = io.BytesIO()
    with drawing(PRINT_INK), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph \d+ .* missing from")
        metadata = {"Date": None} if kind == "svg" else None
        draw().savefig(file, format=kind, dpi=150, facecolor="white", metadata=metadata)
    write_bytes(path, file.getvalue())
    return path
