"""Matplotlib figures as SVG inside a page: no addresses, no clashing ids, text in the page's colour."""

import io
import re
import warnings
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from markupsafe import Markup

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_REFERENCE = re.compile(r"url\(#([^)]+)\)")
_NO_METADATA: dict[str, str | None] = {"Date": None, "Creator": None, "Format": None, "Type": None}


def to_svg(figure: "Figure", name: str, title: str, description: str) -> Markup:
    """The figure as an `svg` element, safe to put into a page.

    Namespaces are left out, since HTML gives them; the width is the page's to decide.

    Args:
        figure: drawn under `style.drawing`.
        name: prefix of the element's ids, unique on its page.
        title: what the picture shows, for those who do not see it.
        description: what can be read from it.
    """
    root = _parsed(figure)
    for element in root.iter():
        element.tag = _local(element.tag)
        element.attrib = {_local(key): _renamed(_local(key), value, name) for key, value in element.attrib.items()}
    for definitions in root.iter("defs"):
        # Matplotlib's rule for every element would reach the whole page; the page's own style has it for svg.
        for style in definitions.findall("style"):
            definitions.remove(style)
    for metadata in root.findall("metadata"):
        root.remove(metadata)
    root.attrib = {
        "viewBox": root.attrib["viewBox"],
        "role": "img",
        "aria-labelledby": f"{name}-title {name}-description",
    }
    for place, (tag, text) in enumerate((("title", title), ("desc", description))):
        child = ElementTree.Element(tag, id=f"{name}-{'title' if tag == 'title' else 'description'}")
        child.text = text
        root.insert(place, child)
    return Markup(ElementTree.tostring(root, encoding="unicode", short_empty_elements=False))


def _parsed(figure: "Figure") -> ElementTree.Element:
    """The tree of Matplotlib's own SVG."""
    file = io.BytesIO()
    with warnings.catch_warnings():
        # The reader's fonts draw the text, not Matplotlib's, which may lack a letter of some name.
        warnings.filterwarnings("ignore", message=r"Glyph \d+ .* missing from")
        figure.savefig(file, format="svg", transparent=True, metadata=_NO_METADATA)
    return ElementTree.fromstring(file.getvalue())


def _local(name: str) -> str:
    """A tag or attribute name without its namespace."""
    return name.rsplit("}", 1)[-1]


def _renamed(key: str, value: str, name: str) -> str:
    """An attribute's value with the ids in it made unique to this picture."""
    if key == "id":
        return f"{name}-{value}"
    if key == "href" and value.startswith("#"):
        return f"#{name}-{value[1:]}"
    return _REFERENCE.sub(rf"url(#{name}-\1)", value)
