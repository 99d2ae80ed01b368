"""Sizes layer by layer: the share of its channels, or of its weights, that each layer keeps."""

from collections.abc import Mapping
from math import isfinite
from typing import Any

from bayesprune.errors import BudgetError
from bayesprune.run.budget import KINDS

_WHOLE = KINDS


def is_table(size: object) -> bool:
    """Whether a budget or density is one for each layer: a mapping, or text such as "conv1=50%,fc1=10%".

    A mapping that names a cost, such as {"macs": 0.1}, is none.
    """
    if isinstance(size, str):
        return "=" in size and size.partition("=")[0].strip().lower() not in _WHOLE
    return isinstance(size, Mapping) and not any(str(name).strip().lower() in _WHOLE for name in size)


def shares_of(size: str, given: str | Mapping[str, Any]) -> dict[str, float]:
    """The share of every layer that is named, in the order of the names.

    Args:
        size: "budget" or "density", for messages.
        given: such as {"conv1": 0.5, "fc1": "10%"}, or "conv1=50%,fc1=10%".

    Raises:
        BudgetError: a share is no number above 0 and at most 1 (100 %), or a layer is named twice.
    """
    if isinstance(given, str):
        pairs = [tuple(part.strip() for part in entry.rpartition("=")[::2]) for entry in given.split(",")]
    else:
        pairs = [(str(name), share) for name, share in given.items()]
    shares = {name: _share(share) for name, share in pairs}
    if len(shares) < len(pairs) or not shares or "" in shares or not all(0 < share <= 1 for share in shares.values()):
        whole = {
            "budget": "macs=150k, params=40000, macs=10% or latency=2ms",
            "density": "one number above 0 and at most 1",
        }[size]
        raise BudgetError(
            f"{size} {given!r}: write {whole}, or for each layer a share above 0 and at most 1 (100%), named once: "
            "conv1=50%,fc1=10%; layers that are not named stay whole"
        )
    return dict(sorted(shares.items()))


def as_text(shares: Mapping[str, float]) -> str:
    """The one way in which shares are written: "conv1=0.5,fc1=0.1"."""
    return ",".join(f"{name}={share!r}" for name, share in shares.items())


def _share(given: object) -> float:
    """A share as a number; 0, which is none, where it cannot be read."""
    text = str(given).strip()
    try:
        share = float(text.removesuffix("%"))
    except ValueError:
        return 0.0
    if isinstance(given, bool) or not isfinite(share):
        return 0.0
    return round(share / 100, 12) if text.endswith("%") else share
