"""The runs of the study of sparse recurrent networks (arXiv 2107.12917 and its code), as data: nets of 3 x 50 units.

Part `rnn-pruning` trains dense networks for 5 epochs and pruned ones for 2, which is as far as the published table
goes; `rnn-pruning-long` takes the published 50 and 10. A rate is the share of the chosen matrices that is removed at
once; at 100 % a weight stays in each matrix, where the published networks kept one in all.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from bayesprune.experiments.papers.rows import Row, varied
from bayesprune.run.settings import RunSettings

RNN, RNN_LONG = "rnn-pruning", "rnn-pruning-long"
PARTS = (RNN, RNN_LONG)
CELLS = {"tanh": "tanh", "relu": "ReLU", "gru": "GRU", "lstm": "LSTM"}
"""Kinds of cells, and what they are called in tables."""

GATES = {"tanh": 1, "relu": 1, "gru": 3, "lstm": 4}
MATRICES = {"both": "recurrent", "i2h": "input-to-hidden", "h2h": "hidden-to-hidden"}
"""The three choices of matrices, as tables call them, and the option."""

RATES = tuple(range(10, 101, 10))
METHODS = ("parsimonious", "spike-slab-flat", "l1-units")
"""Methods that remove hidden units; the first two are Bayesian."""

BUDGETS = (20, 10)
"""What they may leave of the multiply-accumulates, in percent."""

DATA, QUICK_DATA = "reber-study", "reber"
_LAYERS, _UNITS = 3, 50
_EPOCHS: Mapping[str, tuple[int, int]] = {RNN: (5, 2), RNN_LONG: (50, 10)}
"""Of dense networks, and after pruning."""

_UNIT_EPOCHS, _UNIT_BATCH = 10, 128
_QUICK_EPOCHS, _QUICK_UNIT_EPOCHS, _QUICK_BATCH = 3, 4, 128
_QUICK_LSTM = {("both", 50), ("both", 80), ("both", 90), ("i2h", 80), ("h2h", 80)}
"""What the quick study removes of an LSTM; of other cells 80 % of both."""

_FIRST_RATES = (80, 90, 70, 60)
"""What is run first: the rates that the published table has."""


@dataclass(frozen=True)
class StringRow(Row):
    """A row of networks that read strings: sets of anything else are not for it."""

    def on(self, data: str) -> Row:
        """The same on another set of strings."""
        return super().on(data) if data.startswith("reber") else self


def rnn_rows(repeats: int) -> list[Row]:
    """The rows of both parts, the published rates first: so a study that is stopped has what can be compared."""
    seeds = tuple(range(repeats))
    return [row for part in PARTS for row in _rows(part, seeds)]


def quick(row: Row) -> Row:
    """The short runs of a row."""
    epochs = _QUICK_UNIT_EPOCHS if row.settings.method in METHODS else _QUICK_EPOCHS

    def shorter(settings: RunSettings) -> RunSettings:
        return replace(settings, epochs=epochs, batch_size=_QUICK_BATCH, data=QUICK_DATA)

    settings, start = shorter(row.settings), None if row.start is None else shorter(row.start)
    if "retrain" in settings.options:
        settings = varied(settings, options={"retrain": 1})
    return replace(row, settings=settings, seeds=row.seeds[: row.quick], start=start)


def part_of(row: Row) -> str | None:
    """The part that a row belongs to; None for one of the networks without recurrence."""
    name = row.factor.partition(":")[0]
    return name if name in PARTS else None


def cell_of(row: Row) -> str:
    """The kind of cell of a row's networks."""
    return row.network.removeprefix("rnn-")


def choice_of(row: Row) -> str:
    """Which matrices a row of pruned networks is about; "" of others."""
    name = row.factor.partition(": ")[2]
    return name if name in MATRICES else ""


def rate_of(row: Row) -> int:
    """The share, in percent, that a row of pruned networks removes."""
    return int(row.value.split()[-2])


def weights_of_choice(cell: str, choice: str) -> int:
    """How many weights the chosen matrices of a network of 3 x 50 units have."""
    return _LAYERS * GATES[cell] * _UNITS * _UNITS * (2 if choice == "both" else 1)


def _rows(part: str, seeds: tuple[int, ...]) -> list[Row]:
    short = part == RNN
    dense = [
        StringRow(f"{part}: dense", CELLS[cell], _dense(part, cell, seed), (seed,), int(short and seed == 0))
        for cell in CELLS
        for seed in seeds
    ]
    rates = [*_FIRST_RATES, *(rate for rate in RATES if rate not in _FIRST_RATES)]
    pruned = [
        StringRow(
            f"{part}: {choice}", f"{CELLS[cell]}, {rate} %", _pruned(part, cell, choice, rate), (seed,),
            int(short and seed == 0 and _is_quick(cell, choice, rate)), _dense(part, cell, seed),
        )
        for rate in rates for choice in MATRICES for cell in CELLS for seed in seeds
    ]  # fmt: skip
    return [*dense, *pruned, *(_units(seeds) if short else [])]


def _is_quick(cell: str, choice: str, rate: int) -> bool:
    return (choice, rate) in (_QUICK_LSTM if cell == "lstm" else {("both", 80)})


def _units(seeds: tuple[int, ...]) -> list[Row]:
    """Methods that remove hidden units."""
    return [
        StringRow(
            f"{RNN}: {method}", f"{CELLS[cell]}, {budget} % of the MACs",
            RunSettings(
                method, f"rnn-{cell}", DATA, epochs=_UNIT_EPOCHS, batch_size=_UNIT_BATCH, budget=f"macs={budget}%"
            ),
            seeds, int(cell == "lstm" and budget == BUDGETS[0]),
        )
        for budget in BUDGETS for cell in ("lstm", "gru", "relu", "tanh") for method in METHODS
    ]  # fmt: skip


def _dense(part: str, cell: str, seed: int) -> RunSettings:
    """A dense network that pruned ones begin with."""
    return RunSettings(
        "dense", f"rnn-{cell}", DATA, seed=seed, epochs=_EPOCHS[part][0], batch_size=32, options={"training": "clipped"}
    )


def _pruned(part: str, cell: str, choice: str, rate: int) -> RunSettings:
    """A trained network of which a share of some matrices is removed at once."""
    left = _LAYERS * (2 if choice == "both" else 1) / weights_of_choice(cell, choice)
    return varied(
        _dense(part, cell, 0), method="magnitude", density=round(1 - rate / 100, 2) or left,
        options={"prune_share": 0.0, "matrices": MATRICES[choice], "retrain": _EPOCHS[part][1], "least": 1},
    )  # fmt: skip
