"""Published accuracies of pruned recurrent networks (raw results of arXiv 2107.12917's code), one run a setting."""

from collections.abc import Mapping

DENSE: Mapping[str, float] = {"tanh": 0.937, "relu": 1.0, "gru": 1.0, "lstm": 1.0}
"""Test accuracy of the dense networks after 50 epochs."""

_CELLS = ("tanh", "relu", "gru", "lstm")
_ROWS: Mapping[tuple[str, int], tuple[tuple[float, float], ...]] = {
    ("both", 60): ((0.937, 0.937), (0.993, 1.0), (1.0, 1.0), (1.0, 1.0)),
    ("both", 70): ((0.933, 0.937), (0.986, 1.0), (0.998, 1.0), (0.803, 1.0)),
    ("both", 80): ((0.919, 0.933), (0.549, 1.0), (0.994, 1.0), (0.668, 1.0)),
    ("both", 90): ((0.656, 0.925), (0.503, 1.0), (0.551, 1.0), (0.495, 0.9997)),
    ("i2h", 80): ((0.814, 0.935), (0.950, 1.0), (0.997, 1.0), (0.946, 0.9998)),
    ("i2h", 90): ((0.494, 0.739), (0.905, 1.0), (0.876, 1.0), (0.621, 1.0)),
    ("h2h", 80): ((0.937, 0.937), (0.649, 1.0), (0.956, 1.0), (0.999, 1.0)),
    ("h2h", 90): ((0.720, 0.937), (0.464, 1.0), (0.951, 1.0), (0.953, 1.0)),
    ("h2h", 100): ((0.494, 0.518), (0.506, 0.516), (0.573, 0.974), (0.521, 0.988)),
}
PRUNED: Mapping[tuple[str, int, str], tuple[float, float]] = {
    (choice, rate, cell): pair
    for (choice, rate), pairs in _ROWS.items()
    for cell, pair in zip(_CELLS, pairs, strict=True)
}
"""By matrices, rate in percent and cell: right after pruning, and after one epoch of re-training."""

SECOND: Mapping[tuple[str, int, str], float] = {
    ("i2h", 90, "tanh"): 0.923,
    ("h2h", 100, "gru"): 0.9998,
    ("h2h", 100, "lstm"): 0.9997,
}
"""After two epochs, where the first was not enough."""

NEVER: frozenset[tuple[str, int, str]] = frozenset(
    {("h2h", 100, "tanh"), ("h2h", 100, "relu")}
    | {(choice, 100, cell) for choice in ("both", "i2h") for cell in _CELLS}
)
"""What never recovered in 10 epochs."""
