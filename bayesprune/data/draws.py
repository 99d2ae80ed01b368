"""Names of data that are drawn anew: "teacher200" is draw 0, "teacher200@3" draw 3."""

from bayesprune.errors import SettingError

MOST_DRAWS = 2**32
"""Draws are numbered below this."""


def plain_and_draw(name: str) -> tuple[str, int]:
    """The name without its draw, and the number of the draw.

    Raises:
        SettingError: the draw is no whole number from 0 on.
    """
    plain, at, draw = name.partition("@")
    if at and not (draw.isdecimal() and int(draw) < MOST_DRAWS):
        raise SettingError(f"{name!r}: behind the @ stands the number of the draw, from 0 on, as in {plain}@3")
    return plain, int(draw or 0)
