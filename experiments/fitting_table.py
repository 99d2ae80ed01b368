"""A terminal table with a second, narrower form of itself."""

from collections.abc import Sequence
from typing import Optional

from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text


class FittingTable(Table):
    """A table that is replaced by a narrower form where the terminal is too small for it.

    Args:
        headings: of the columns; the first is aligned left, the others right.
        rows: cells as plain text: brackets in them are not read as markup.
        narrow: shown where this one does not fit; None to let rich break the cells.
    """

    def __init__(
        self,
        headings: Sequence[str],
        rows: Sequence[Sequence[str]],
        narrow: Optional["FittingTable"] = None,
    ) -> None:
        super().__init__(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
        for place, heading in enumerate(headings):
            self.add_column(Text(heading), justify="right" if place else "left", overflow="fold")
        for row in rows:
            self.add_row(*(Text(cell) for cell in row))
        self._narrow = narrow

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw this table or its narrower form, whichever the width allows."""
        if self._narrow is not None and self._needed(console, options) > options.max_width:
            yield self._narrow
        else:
            yield from super().__rich_console__(console, options)

    def _needed(self, console: Console, options: ConsoleOptions) -> int:
        """Characters for every row on one line."""
        return self.__rich_measure__(console, options.update(width=10_000)).maximum
