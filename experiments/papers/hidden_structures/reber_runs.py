"""The runs of part `reber`: recurrent networks built from random graphs, on strings of Reber's grammar, as data.

Training is the study's (arXiv 2107.12917): Adam at 0.001, batches of 128, 15 epochs, gradients no longer than 5, the
accuracy after the last epoch, strings read to the end of their padding. Gates are tiled, so that networks are built as
their graphs say; the study's GRU and LSTM networks are not.
"""

from dataclasses import replace

from bayesprune.experiments.papers.rows import Row
from bayesprune.run.settings import RunSettings

REBER = "reber"
CELLS = {"gru": 20, "tanh": 5, "relu": 5, "lstm": 5}
"""Kinds of cells, and how many graphs of each family."""

FAMILIES = ("barabasi-albert", "watts-strogatz")
QUICK_GRAPHS, QUICK_EPOCHS = 1, 1

_FIRST = 10
"""Graphs of each family that GRU networks are built from before those with other cells."""


def reber_rows() -> list[Row]:
    """A row for each network, in the order in which they are trained; a study that is broken off has GRU first."""
    blocks = (
        [("gru", number) for number in range(_FIRST)],
        [(cell, number) for number in range(CELLS["tanh"]) for cell in CELLS if cell != "gru"],
        [("gru", number) for number in range(_FIRST, CELLS["gru"])],
    )
    return [_row(cell, family, number) for block in blocks for cell, number in block for family in FAMILIES]


def _row(cell: str, family: str, number: int) -> Row:
    """One network; the number of its graph is the seed of its training too."""
    settings = RunSettings(
        "dense", f"graphrnn(cell={cell},graph={family}:{number},read=last_step)", REBER, epochs=15, batch_size=128,
        options={"training": "adam", "clip": 5, "fixed_decay": 0, "curve": 0},
    )  # fmt: skip
    return Row(f"{REBER}: {cell}", f"{family}:{number}", settings, (number,), int(number < QUICK_GRAPHS))


def quick(row: Row) -> Row:
    """The short run of a row."""
    return replace(row, settings=replace(row.settings, epochs=QUICK_EPOCHS))


def cell_of(row: Row) -> str:
    """The kind of cell of a row's network."""
    return row.factor.partition(": ")[2]
