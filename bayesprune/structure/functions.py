"""What functions and methods in a traced forward do to values, by their names: one table for layers and sections."""

from torch import fx

ADDITIONS = frozenset(("add", "add_", "iadd"))
"""Those that add two values."""

PRODUCTS = frozenset(("mul", "mul_", "imul", "multiply"))
"""Those that multiply two values, entry by entry."""

_DIMENSIONS = ("1d", "2d", "3d")

PASSES = frozenset(
    ("contiguous", "clone", "dropout", "alpha_dropout", "feature_dropout", *(f"dropout{d}" for d in _DIMENSIONS))
)
"""The identity in evaluation mode."""

POOLS = frozenset((
    "mean", "sum", "amax", "boolean_dispatch",  # what torch calls some kinds of max pooling
    *(f"{adaptive}{kind}_pool{d}" for adaptive in ("", "adaptive_") for kind in ("avg", "max") for d in _DIMENSIONS),
))  # fmt: skip
"""Each value is the mean, the sum or the largest of some of what they read."""

MOVES = frozenset((
    "flatten", "reshape", "view", "squeeze", "unsqueeze", "permute", "transpose", "unflatten", "expand", "getitem",
    "index_select", "narrow", "roll", "pixel_shuffle", "to", "float", "type_as",
))  # fmt: skip
"""Values in another shape, order or type, or some of them."""

SAME_SIGN = PASSES | POOLS | MOVES
"""Of values that are not negative they say none that is, and of zeros zeros; their first argument counts."""


def called(node: fx.Node) -> str:
    """The name of the function or method that a node calls."""
    return node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "").lstrip("_")
