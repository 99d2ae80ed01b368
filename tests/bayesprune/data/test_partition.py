"""Stratified splits: exact counts, in proportion, disjoint, and the same for ever."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bayesprune.data.partition import split_off
from bayesprune.errors import DataError, SettingError


@given(st.lists(st.integers(0, 4), min_size=2, max_size=80), st.data(), st.integers(0, 2**32 - 1))
def test_counts_are_exact_and_every_class_has_its_share(classes: list[int], data: st.DataObject, seed: int) -> None:
    labels = np.array(classes)
    count = data.draw(st.integers(1, len(labels) - 1))
    stays, taken = split_off(labels, count, seed, "validation")
    assert len(taken) == count
    assert sorted([*stays, *taken]) == list(range(len(labels)))
    for name in set(classes):
        share = classes.count(name) * count / len(labels)
        assert abs(int((labels[taken] == name).sum()) - share) < 1


def test_the_seed_decides_which() -> None:
    labels = np.arange(100) % 10
    chosen = split_off(labels, 20, 1, "test")[1]
    np.testing.assert_array_equal(chosen, split_off(labels, 20, 1, "test")[1])
    assert (chosen != split_off(labels, 20, 2, "test")[1]).any()


def test_a_split_stays_what_it_is() -> None:
    """Written down once: results of other days were computed on these splits."""
    assert split_off(np.arange(20) % 2, 6, 0, "test")[1].tolist() == [1, 8, 10, 17, 18, 19]


@pytest.mark.parametrize("count", [-1, 0, 5, 6])
def test_impossible_counts_are_refused(count: int) -> None:
    with pytest.raises(DataError, match="between 1 and 4"):
        split_off(np.zeros(5, np.int64), count, 0, "validation")


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_impossible_seeds_are_refused(seed: int) -> None:
    with pytest.raises(SettingError, match="split seed"):
        split_off(np.zeros(5, np.int64), 2, seed, "validation")
