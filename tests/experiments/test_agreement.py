"""Agreement of restarts: sets by hand, chance by enumeration."""

from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest

from bayesprune.experiments.agreement import agreement_table, overlap, overlap_by_chance, sizes_table, times_kept
from bayesprune.store.runs import RunRecord

MakeRun = Callable[..., RunRecord]


def ends(*kept: int) -> list[int]:
    """Why each of 16 + 8 + 6 gates ended as it did: these inputs are open, and all units."""
    return [0 if place in kept else 1 for place in range(16)] + [0] * 14


@pytest.mark.parametrize(("one", "other", "size"), [(2, 3, 5), (0, 2, 4), (4, 4, 6), (5, 5, 5), (0, 0, 3)])
def test_chance_is_the_mean_over_all_pairs_of_sets(one: int, other: int, size: int) -> None:
    first, second = ([frozenset(c) for c in combinations(range(size), n)] for n in (one, other))
    expected = np.mean([overlap(a, b) for a in first for b in second])
    assert overlap_by_chance(one, other, size) == pytest.approx(expected, abs=1e-12)


def test_restarts_by_hand(make_run: MakeRun) -> None:
    runs = [make_run("parsimonious", s, ends=ends(*kept)) for s, kept in enumerate([(0, 1, 2), (1, 2, 3, 4), (2,)])]
    assert times_kept(runs)[:6] == [1, 2, 3, 1, 1, 0]
    row = agreement_table(runs).to_dict("index")["inputs"]
    assert (row["features"], row["in_all"], row["in_some"]) == (16, 1, 5)
    assert row["jaccard"] == pytest.approx((2 / 5 + 1 / 3 + 1 / 4) / 3)
    chances = [overlap_by_chance(3, 4, 16), overlap_by_chance(3, 1, 16), overlap_by_chance(4, 1, 16)]
    assert row["jaccard_by_chance"] == pytest.approx(np.mean(chances))
    sizes = sizes_table(runs)
    assert [sizes.at["inputs", name] for name in ("channels", "least", "most")] == [16, 1, 4]
    assert sizes.loc["inputs", "mean_left"] == pytest.approx(8 / 3)
    assert sizes.loc["inputs", "sd"] == pytest.approx(np.std([3, 4, 1], ddof=1))
    assert [sizes.at["fc1", name] for name in ("least", "most", "sd")] == [8, 8, 0]


def test_nothing_is_compared_where_there_is_nothing_to_compare(make_run: MakeRun) -> None:
    assert len(agreement_table([make_run("parsimonious", 0)])) == 0
    without = [make_run("parsimonious", s, sizes={"fc1": 8}, input_shape=(4,)) for s in range(2)]
    assert len(agreement_table(without)) == 0 and times_kept(without) == []
