"""The split in memory: order, shuffling by seed alone, going on in mid-epoch."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bayesprune.data import Split, TensorSplit, steps_per_epoch
from bayesprune.errors import DataError, SettingError


def make(count: int) -> TensorSplit:
    """Examples whose label is their position, and whose only feature is ten times that."""
    labels = torch.arange(count)
    return TensorSplit(labels[:, None].float() * 10, labels)


def walk(split: Split, batch_size: int, seed: int | None = None, start: int = 0) -> list[Tensor]:
    batches = list(split.batches(batch_size, seed=seed, start=start))
    for inputs, labels in batches:
        assert inputs.dtype == torch.float32
        assert labels.dtype == torch.int64
        torch.testing.assert_close(inputs[:, 0], labels.float() * 10)
    return [labels for _, labels in batches]


def test_without_a_seed_the_order_is_kept_and_the_last_batch_is_what_is_left() -> None:
    batches = walk(make(10), 4)
    assert [len(batch) for batch in batches] == [4, 4, 2]
    assert torch.cat(batches).tolist() == list(range(10))


@settings(max_examples=settings().max_examples // 2)
@given(st.integers(1, 40), st.integers(1, 50), st.one_of(st.none(), st.integers(-5, 2**40)), st.integers(0, 12))
def test_an_epoch_holds_every_example_once_and_start_skips_batches(
    count: int, batch_size: int, seed: int | None, start: int
) -> None:
    split = make(count)
    whole = walk(split, batch_size, seed)
    assert sorted(torch.cat(whole).tolist()) == list(range(count))
    assert len(whole) == steps_per_epoch(split, batch_size)
    rest = walk(split, batch_size, seed, start)
    assert [batch.tolist() for batch in rest] == [batch.tolist() for batch in whole[start:]]


def test_the_seed_alone_decides_the_order() -> None:
    first = torch.cat(walk(make(100), 7, seed=3))
    torch.manual_seed(99)
    assert torch.equal(first, torch.cat(walk(make(100), 25, seed=3)))
    assert not torch.equal(first, torch.cat(walk(make(100), 7, seed=4)))
    assert not torch.equal(first, torch.arange(100))


def test_shuffling_leaves_the_global_random_numbers_alone() -> None:
    before = torch.get_rng_state()
    walk(make(30), 7, seed=3)
    assert torch.equal(before, torch.get_rng_state())


def test_two_walks_at_once_do_not_disturb_each_other() -> None:
    split = make(20)
    both = zip(split.batches(5, seed=1), split.batches(5, seed=2), strict=True)
    assert torch.equal(torch.cat([one[1] for one, _ in both]), torch.cat(walk(split, 5, seed=1)))


@pytest.mark.parametrize(
    ("batch_size", "start", "says"), [(0, 0, "batch_size is 0"), (-3, 0, "-3"), (1, -1, "start is -1")]
)
def test_impossible_batches_are_refused_at_the_call(batch_size: int, start: int, says: str) -> None:
    with pytest.raises(SettingError, match=says):
        make(3).batches(batch_size, start=start)


@pytest.mark.parametrize(
    ("inputs", "labels"),
    [
        (torch.zeros(3, 2, dtype=torch.uint8), torch.zeros(3, dtype=torch.int64)),
        (torch.zeros(3, 2), torch.zeros(3, dtype=torch.int32)),
        ((torch.zeros(3, 2), torch.zeros(4, 2)), torch.zeros(3, dtype=torch.int64)),
        (torch.zeros(3, 2), torch.zeros(4, dtype=torch.int64)),
    ],
)
def test_tensors_that_fit_no_split_are_refused(inputs: Tensor, labels: Tensor) -> None:
    with pytest.raises(DataError):
        TensorSplit(inputs, labels)


def test_it_keeps_the_protocol() -> None:
    assert isinstance(make(2), Split)
