"""Figures inside a page, and a palette that everybody can tell apart."""

from itertools import combinations
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest
from numpy.typing import NDArray

from bayesprune.experiments.report.drawing import COLOURS, DARK_PAGE, LIGHT_PAGE, drawing, looks, new_figure
from bayesprune.experiments.report.svg import to_svg

# Viénot, Brettel and Mollon (1999): linear RGB as dichromats see it.
PROTAN = np.array([[0.11238, 0.88762, 0.0], [0.11238, 0.88762, 0.0], [0.00401, -0.00401, 1.0]])
DEUTAN = np.array([[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]])

TO_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def linear(colour: str) -> NDArray[np.float64]:
    """Linear RGB of a hexadecimal sRGB colour."""
    value = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255.0
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def oklab(rgb: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ottosson's perceptual colour space; colours 0.02 apart can just be told apart."""
    cones = np.cbrt(TO_CONES @ rgb)
    return np.asarray(TO_LAB @ cones)


def contrast(one: str, other: str) -> float:
    """Contrast ratio of the Web Content Accessibility Guidelines."""
    lights = sorted(float(linear(colour) @ [0.2126, 0.7152, 0.0722]) + 0.05 for colour in (one, other))
    return lights[1] / lights[0]


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("page", [LIGHT_PAGE, DARK_PAGE])
def test_every_colour_stands_out_on_both_pages(colour: str, page: str) -> None:
    assert contrast(colour, page) >= 3.0


@pytest.mark.parametrize("eye", [np.eye(3), PROTAN, DEUTAN])
def test_colours_differ_to_every_eye(eye: NDArray[np.float64]) -> None:
    seen = [oklab((eye @ linear(colour)).clip(0.0)) for colour in COLOURS]
    assert min(float(np.linalg.norm(a - b)) for a, b in combinations(seen, 2)) > 0.06


def test_looks_differ_by_more_than_colour() -> None:
    found = list(looks([str(number) for number in range(30)]).values())
    assert len({(look.colour, look.marker) for look in found}) == 30
    assert all(a.marker != b.marker for a, b in combinations(found[:10], 2))


def figure_svg(name: str, label: str = "a label") -> str:
    with drawing():
        figure, axes = new_figure()
        axes.plot([1, 2, 3], [1, 4, 9], marker="o", label=label)
        axes.pcolormesh(np.eye(3), rasterized=True)
        axes.set_xlabel(label)
        return str(to_svg(figure, name, "A <title>", "A & description"))


def test_a_figure_has_no_address_and_its_own_ids() -> None:
    text = figure_svg("first")
    assert "http" not in text
    assert "<metadata" not in text
    assert "<style" not in text
    root = ElementTree.fromstring(text)
    assert all(element.attrib["id"].startswith("first-") for element in root.iter() if "id" in element.attrib)
    ids = {element.attrib["id"] for element in root.iter() if "id" in element.attrib}
    assert not ids & {e.attrib["id"] for e in ElementTree.fromstring(figure_svg("second")).iter() if "id" in e.attrib}
    uses = [element.attrib["href"] for element in root.iter("use")]
    assert uses
    assert all(use[1:] in ids for use in uses)
    images = [element.attrib["href"] for element in root.iter("image")]
    assert len(images) == 1
    assert images[0].startswith("data:image/png;base64,")


def test_a_figure_is_named_and_its_words_are_text() -> None:
    root = ElementTree.fromstring(figure_svg("f", "costs $5 < $6 <x>"))
    assert [child.tag for child in root][:2] == ["title", "desc"]
    assert [child.text for child in root][:2] == ["A <title>", "A & description"]
    assert root.attrib["aria-labelledby"].split() == [child.attrib["id"] for child in list(root)[:2]]
    assert "costs $5 < $6 <x>" in [element.text for element in root.iter("text")]


def test_settings_are_put_back_and_pyplot_is_not_touched() -> None:
    before = dict(mpl.rcParams)
    figure_svg("f")
    assert dict(mpl.rcParams) == before


def test_the_same_figure_gives_the_same_text() -> None:
    assert figure_svg("f") == figure_svg("f")
