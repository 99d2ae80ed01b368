"""Documents of sections as Markdown, and names beside points."""

import itertools

from bayesprune.experiments.report.drawing import drawing, new_figure
from bayesprune.experiments.report.label_places import place_labels
from bayesprune.experiments.report.sections import Document, Section, markdown_table
from bayesprune.experiments.report.tables import Table


def test_a_table_in_markdown() -> None:
    table = Table("What\nit is", ("name", "a|b"), (("x", "1 ± 2"),), ("sum", "3"))
    assert markdown_table(table).splitlines()[2:] == [
        "| name | a\\|b |",
        "| --- | ---: |",
        "| x | 1 ± 2 |",
        "| sum | 3 |",
    ]


def test_what_is_empty_is_left_out_and_everything_is_escaped() -> None:
    document = Document("<b>T</b>", "sub", "won", (Section("One", ["<i>words</i>"]), Section("Two", notes=["note"])))
    page = document.page()
    assert "&lt;b&gt;T&lt;/b&gt;" in page and "&lt;i&gt;words" in page and "<i>" not in page
    assert "<table" not in page and "<figure" not in page and "<details" not in page
    assert document.markdown() == "# <b>T</b>\n\nsub\n\n**won**\n\n## One\n\n<i>words</i>\n\n## Two\n\n- note\n"


def test_names_of_close_points_do_not_cover_each_other() -> None:
    points = [(1.0, 1.0), (1.01, 1.0), (1.02, 1.01), (3.0, 2.0), (0.0, 0.0)]
    with drawing():
        figure, axes = new_figure(5.0, 4.0)
        axes.plot(*zip(*points, strict=True), "o")
        place_labels(axes, [(x, y, f"a rather long name {x}", "black") for x, y in points], points)
        boxes = [text.get_window_extent() for text in axes.texts]
        inside = figure.bbox
    assert len(boxes) == len(points)
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    assert all(inside.x0 <= box.x0 and box.x1 <= inside.x1 for box in boxes)
