"""A document of sections: words, tables and pictures, as one self-contained page or as tables in Markdown."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bayesprune.experiments.report.page import render_template
from bayesprune.experiments.report.tables import Table
from bayesprune.experiments.report.words import clean

if TYPE_CHECKING:
    from bayesprune.experiments.report.pictures import Sketch

_TEMPLATE = "sections.html.jinja"


@dataclass(frozen=True)
class Section:
    """A part of a document; what is empty is left out.

    Attributes:
        heading: above it.
        paragraphs: first.
        tables: below them.
        notes: on the tables, as a list.
        wide: pictures over the whole width.
        pictures: pictures side by side.
        details: tables that a page shows on demand, and Markdown does not.
        summary: what opens them.
    """

    heading: str
    paragraphs: Sequence[str] = ()
    tables: Sequence[Table] = ()
    notes: Sequence[str] = ()
    wide: "Sequence[Sketch]" = ()
    pictures: "Sequence[Sketch]" = ()
    details: Sequence[Table] = ()
    summary: str = "More"


@dataclass(frozen=True)
class Document:
    """A report on many runs.

    Attributes:
        title: heading of all.
        subtitle: what was done, in a line.
        verdict: the sentence that answers the question of the study.
        sections: in their order.
    """

    title: str
    subtitle: str
    verdict: str
    sections: tuple[Section, ...]

    def sketches(self) -> "Iterator[Sketch]":
        """Every picture."""
        for section in self.sections:
            yield from section.wide
            yield from section.pictures

    def page(self) -> str:
        """One self-contained HTML page."""
        return render_template(_TEMPLATE, vars(self))

    def markdown(self) -> str:
        """Words and tables in Markdown; pictures are named by the files they go to."""
        parts = [f"# {self.title}", self.subtitle, f"**{self.verdict}**"]
        for section in self.sections:
            parts += [f"## {section.heading}", *section.paragraphs, *map(markdown_table, section.tables)]
            if section.notes:
                parts.append("\n".join(f"- {note}" for note in section.notes))
            parts += [
                f"![{one.heading}]({one.name}.png)\n\n*{one.caption}*" for one in (*section.wide, *section.pictures)
            ]
        return clean("\n\n".join(parts)) + "\n"


def markdown_table(table: Table) -> str:
    """A table with its caption above it; numbers stand on the right."""
    rules = ["---" if place < table.words else "---:" for place in range(len(table.headings))]
    rows = [table.headings, rules, *table.rows, *([table.total] if table.total else [])]
    lines = [f"| {' | '.join(_cell(cell) for cell in row)} |" for row in rows]
    return "\n".join([f"*{_cell(table.caption)}*", "", *lines])


def _cell(text: str) -> str:
    """Text that neither ends a cell nor a line."""
    return " ".join(text.replace("|", "\\|").split())
