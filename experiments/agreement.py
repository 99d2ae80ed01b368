"""How far restarts agree: which input features they keep, and how large they become.

Hidden units of two restarts have nothing in common but their number, so only input features are compared.
"""

from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from bayesprune.store.runs import RunRecord

if TYPE_CHECKING:
    import pandas

INPUTS = "inputs"
"""Name of the group whose channels are the network's input features."""


def overlap(one: frozenset[int], other: frozenset[int]) -> float:
    """The Jaccard index: features in both over features in either; 1 where neither keeps any."""
    either = one | other
    return len(one & other) / len(either) if either else 1.0


def overlap_by_chance(one: int, other: int, size: int) -> float:
    """Expected Jaccard index of two sets drawn blindly, of `one` and `other` features from `size`.

    What they share then has the hypergeometric distribution.
    """
    from scipy.stats import hypergeom

    if not one + other:
        return 1.0
    shared = np.arange(max(0, one + other - size), min(one, other) + 1)
    chances = hypergeom(size, one, other).pmf(shared)
    return float((chances * shared / (one + other - shared)).sum())


def kept_by(records: Sequence[RunRecord], group: str) -> list[frozenset[int]]:
    """Original indices that each run keeps of a group."""
    return [frozenset(kept["kept"]) for record in records for kept in record.groups if kept["name"] == group]


def times_kept(records: Sequence[RunRecord], group: str = INPUTS) -> list[int]:
    """For each channel of a group in how many runs it is left; empty where the runs have no such group."""
    sizes = [found["size"] for found in records[0].groups if found["name"] == group]
    kept = kept_by(records, group)
    return [sum(index in one for one in kept) for index in range(sizes[0])] if sizes else []


def sizes_table(records: Sequence[RunRecord]) -> "pandas.DataFrame":
    """A row a group: channels at the start, and those left, as mean, standard deviation, least and most of the runs."""
    import pandas

    rows = {}
    for found in records[0].groups:
        left = np.array([len(kept) for kept in kept_by(records, found["name"])], dtype=float)
        spread = left.std(ddof=1) if len(left) > 1 else np.nan
        rows[found["name"]] = {
            "channels": found["size"], "mean_left": left.mean(), "sd": spread, "least": left.min(), "most": left.max()
        }  # fmt: skip
    return pandas.DataFrame.from_dict(rows, orient="index").astype({"channels": int, "least": int, "most": int})


def agreement_table(records: Sequence[RunRecord]) -> "pandas.DataFrame":
    """How far runs keep the same input features; without a row where they have none, or there is one run.

    Columns: `features`; `in_all` and `in_some` of the runs; the mean Jaccard index over all pairs of runs; what it
    would be if each run had drawn as many features blindly.
    """
    import pandas

    times, kept = times_kept(records), kept_by(records, INPUTS)
    columns = ["features", "in_all", "in_some", "jaccard", "jaccard_by_chance"]
    if not times or len(kept) < 2:
        return pandas.DataFrame(columns=columns)
    pairs = list(combinations(kept, 2))
    row = {
        "features": len(times),
        "in_all": sum(count == len(kept) for count in times),
        "in_some": sum(count > 0 for count in times),
        "jaccard": float(np.mean([overlap(*pair) for pair in pairs])),
        "jaccard_by_chance": float(np.mean([overlap_by_chance(len(a), len(b), len(times)) for a, b in pairs])),
    }
    return pandas.DataFrame.from_dict({INPUTS: row}, orient="index")
