"""A user's loader as a split: reproducible by seed, its own batch size, nobody's random numbers disturbed."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from bayesprune.data import LoaderSplit, Split, from_loaders, steps_per_epoch
from bayesprune.errors import DataError
from bayesprune.tasks import Classification

Pair = tuple[Tensor, Tensor]


class Noisy(Dataset[Pair]):
    """Draws a number from torch's global generator for every example, as augmentations do."""

    def __len__(self) -> int:
        return 20

    def __getitem__(self, index: int) -> Pair:
        return torch.rand(2), torch.tensor(index % 3)


class Stream(IterableDataset[Pair]):
    def __iter__(self) -> Iterator[Pair]:
        return iter([(torch.ones(2), torch.tensor(1))] * 7)


class SizedStream(Stream):
    def __len__(self) -> int:
        return 7


def dataset(count: int = 20, classes: int = 3) -> TensorDataset:
    return TensorDataset(torch.arange(count).float()[:, None], torch.arange(count) % classes)


def walk(split: Split, seed: int | None, start: int = 0) -> list[list[float]]:
    return [inputs.flatten().tolist() for inputs, _ in split.batches(999, seed=seed, start=start)]


LOADERS = {
    "shuffle": lambda: DataLoader(dataset(), batch_size=6, shuffle=True),
    "own generator": lambda: DataLoader(dataset(), batch_size=6, shuffle=True, generator=torch.Generator()),
    "own sampler": lambda: DataLoader(
        dataset(), batch_size=6, sampler=RandomSampler(dataset(), generator=torch.Generator())
    ),
    "weighted": lambda: DataLoader(dataset(), batch_size=6, sampler=WeightedRandomSampler([1.0] * 20, 20)),
    "distributed": lambda: DataLoader(dataset(), batch_size=6, sampler=DistributedSampler(dataset(), 1, 0)),
    "batch sampler": lambda: DataLoader(
        dataset(), batch_sampler=BatchSampler(RandomSampler(dataset(), generator=torch.Generator()), 6, False)
    ),
    "random transform": lambda: DataLoader(Noisy(), batch_size=6, shuffle=True),
}


@pytest.mark.parametrize("kind", LOADERS)
def test_the_seed_decides_the_epoch(kind: str) -> None:
    split = LoaderSplit(LOADERS[kind](), task=Classification(3))
    first = walk(split, 5)
    torch.rand(3)
    assert walk(split, 5) == first
    assert walk(LoaderSplit(LOADERS[kind](), task=Classification(3)), 5) == first
    assert walk(split, 6) != first
    assert walk(split, 5, start=2) == first[2:]
    assert walk(split, None) == walk(split, None)
    assert [len(batch) for batch in first][:3] in ([6, 6, 6], [12, 12, 12])
    assert len(split) == 20


@pytest.mark.parametrize("kind", LOADERS)
def test_the_global_random_numbers_are_left_alone(kind: str) -> None:
    split = LoaderSplit(LOADERS[kind](), task=Classification(3))
    torch.manual_seed(1)
    before = torch.get_rng_state()
    for _ in split.batches(1, seed=3):
        assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(before, torch.get_rng_state())


def test_what_training_draws_between_batches_does_not_change_them() -> None:
    split = LoaderSplit(DataLoader(Noisy(), batch_size=6, shuffle=True))
    expected = walk(split, 5)
    disturbed = []
    for inputs, _ in split.batches(1, seed=5):
        disturbed.append(inputs.flatten().tolist())
        torch.rand(17)
    assert disturbed == expected


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # forking beside threads, Python 3.12
def test_workers_give_the_same_epoch_for_the_same_seed() -> None:
    split = LoaderSplit(DataLoader(Noisy(), batch_size=6, shuffle=True, num_workers=1))
    assert walk(split, 5) == walk(split, 5)


def test_sizes_are_counted_as_the_loader_delivers_them() -> None:
    def sizes(loader: "DataLoader[Any]") -> tuple[int, int]:
        split = LoaderSplit(loader)
        assert sum(len(labels) for _, labels in split.batches(1)) == len(split)
        return len(split), steps_per_epoch(split, 1000)

    assert sizes(DataLoader(dataset(), batch_size=6)) == (20, 4)
    assert sizes(DataLoader(dataset(), batch_size=6, drop_last=True)) == (18, 3)
    assert sizes(DataLoader(dataset(), batch_size=6, sampler=SubsetRandomSampler(range(8)))) == (8, 2)
    assert sizes(DataLoader(SizedStream(), batch_size=3)) == (7, 3)


@pytest.mark.parametrize(
    ("loader", "says"),
    [
        (DataLoader(Stream(), batch_size=3), "does not know its length"),
        (DataLoader(dataset(4), batch_size=6, drop_last=True), "no examples"),
        (DataLoader(dataset(4), batch_size=None), "makes no batches"),
    ],
)
def test_a_loader_that_cannot_be_counted_is_refused(loader: "DataLoader[Pair]", says: str) -> None:
    with pytest.raises(DataError, match=says):
        LoaderSplit(loader)


@pytest.mark.parametrize(
    ("inputs", "labels", "says"),
    [
        (
            torch.zeros(6, 2),
            torch.tensor([0, 1, 2, 0, 1, 3]),
            "label 3 of example 1 of batch 1 of the train loader",
        ),
        (torch.zeros(6, 2), torch.tensor([0, -1, 2, 0, 1, 2]), "label -1 of example 1 of batch 0"),
        (torch.full((6, 2), torch.nan), torch.zeros(6, dtype=torch.int64), "8 values that are not finite"),
        (torch.zeros(6, 2), torch.zeros(6), 'float32, not integers; .* task="regression"'),
        (torch.zeros(6, 2), torch.zeros(6, 2, dtype=torch.int64), "one integer an example is needed"),
    ],
)
def test_bad_batches_are_refused_when_they_come_by(inputs: Tensor, labels: Tensor, says: str) -> None:
    split = LoaderSplit(
        DataLoader(TensorDataset(inputs, labels), batch_size=4), task=Classification(3), name="the train loader"
    )
    with pytest.raises(DataError, match=says):
        list(split.batches(4))


def test_batches_that_are_no_pairs_are_refused() -> None:
    split = LoaderSplit(DataLoader(TensorDataset(torch.zeros(3, 1)), batch_size=2))
    with pytest.raises(DataError, match=r"batch 0 of the loader is a list of 1; a pair \(inputs, targets\) is needed"):
        next(split.batches(2))


def test_data_from_loaders() -> None:
    loaders = [DataLoader(dataset(count), batch_size=6, shuffle=True) for count in (20, 9, 12)]
    before = torch.get_rng_state()
    data = from_loaders(*loaders, classes=3, name="mine")
    assert torch.equal(before, torch.get_rng_state())
    assert data.split_sizes == {"train": 20, "validation": 9, "test": 12}
    assert (data.name, data.input_shape, data.classes) == ("mine", (1,), 3)
    inputs, labels = next(data.train.batches(2, seed=1))
    assert inputs.dtype == torch.float32
    assert torch.equal(labels, inputs[:, 0].long() % 3)
    torch.testing.assert_close(data.normalisation.apply(inputs), inputs)
    assert data.fingerprint == from_loaders(*loaders, classes=3, name="mine").fingerprint
    assert data.fingerprint != from_loaders(*loaders[::-1], classes=3, name="mine").fingerprint


def test_the_fingerprint_of_loaders_is_that_of_one_pass() -> None:
    def fingerprint(changed: int | None = None, batch_size: int = 6) -> str:
        inputs, labels = dataset(20).tensors
        if changed is not None:
            inputs = inputs.clone()
            inputs[changed] += 1e-3
        train = DataLoader(TensorDataset(inputs, labels), batch_size=batch_size)
        return from_loaders(train, DataLoader(dataset(9)), DataLoader(dataset(12)), classes=3).fingerprint

    first = fingerprint()
    assert fingerprint() == first
    assert len({first, fingerprint(batch_size=5), *(fingerprint(place) for place in range(20))}) == 22


def test_loaders_whose_inputs_differ_are_refused() -> None:
    wide = DataLoader(TensorDataset(torch.zeros(4, 2), torch.zeros(4, dtype=torch.int64)), batch_size=2)
    narrow = DataLoader(dataset(4), batch_size=2)
    with pytest.raises(DataError, match="the test loader"):
        from_loaders(narrow, narrow, wide, classes=3)
    with pytest.raises(DataError, match="1 classes"):
        from_loaders(narrow, narrow, narrow, classes=1)
