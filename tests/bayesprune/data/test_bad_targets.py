"""Targets, weights and loaders that cannot be used: one line each, with the value and the cure."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, TensorDataset

from bayesprune.data import Data, from_tensors
from bayesprune.data.given import as_data
from bayesprune.errors import BayespruneError, DataError, SettingError

ROWS = torch.randn(100, 4, generator=torch.Generator().manual_seed(0))
NUMBERS = 2.5 * ROWS[:, 0]
LABELS = (NUMBERS > 0).long()
TAGS = (ROWS[:, :3] > 0).long()
THIRDS = torch.arange(100) % 3
HOLES = torch.where(torch.arange(100) == 7, torch.nan, NUMBERS)


def data(targets: Tensor, **settings: Any) -> Callable[[], Data]:
    return lambda: from_tensors(ROWS, targets, **settings)


class Records(Dataset[Any]):
    """Gives a dict for each example."""

    def __len__(self) -> int:
        return len(ROWS)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"x": ROWS[index], "y": LABELS[index]}


def loader(source: Any) -> Callable[[], Data]:
    return lambda: as_data(DataLoader(source, batch_size=20))


CASES: dict[str, tuple[Callable[[], Data], type[BayespruneError], str]] = {
    "floats for classes": (data(NUMBERS, task="classification"), DataError, 'or task="regression" for numbers'),
    "floats with a number of classes": (data(NUMBERS, classes=3), DataError, 'or task="regression" for numbers'),
    "negative counts": (data(NUMBERS.round(), task="counts"), DataError, r"the count of example \d+ of .* is -\d"),
    "broken counts": (data(NUMBERS.abs(), task="counts"), DataError, 'other numbers: task="regression"'),
    "a third tag": (data(THIRDS[:, None].expand(-1, 2), task="multi-label"), DataError, "is 2; tags are 0 or 1"),
    "a third value": (data(THIRDS, task="binary"), DataError, "is 2; tags are 0 or 1"),
    "several binary columns": (data(TAGS, task="binary"), DataError, 'has one .several: task="multi-label"'),
    "NaN": (data(HOLES), DataError, "1 targets .* are NaN or infinite; the first is that of example 7"),
    "NaN where numbers are asked for": (data(HOLES, task="regression"), DataError, "example 7"),
    "constant numbers": (data(torch.ones(100), task="regression"), DataError, "there is nothing to learn"),
    "no counts": (data(torch.zeros(100), task="counts"), DataError, "all counts .* are 0"),
    "labels of positions": (data(LABELS, task="segmentation"), DataError, r"\[N, H, W\] or \[N, L\]"),
    "an unknown task": (data(NUMBERS, task="regresion"), SettingError, "did you mean 'regression'"),
    "too many class weights": (data(LABELS, class_weights=[1, 2, 3]), SettingError, "give 2 finite numbers >= 0"),
    "negative class weights": (data(LABELS, class_weights=[1, -1]), SettingError, "give 2 finite numbers >= 0"),
    "a table of one class": (data(LABELS, class_weights={1: 2.0}), SettingError, "give 2 finite numbers >= 0"),
    "weights in words": (data(LABELS, class_weights=["a", "b"]), SettingError, "give 2 finite numbers >= 0"),
    "a number for all": (data(LABELS, class_weights=2.0), SettingError, "give 2 finite numbers >= 0"),
    "balanced, misspelt": (data(LABELS, class_weights="balance"), SettingError, "or 'balanced'"),
    "class weights of numbers": (data(NUMBERS, class_weights="balanced"), SettingError, "this one is 'regression'"),
    "class weights of tags": (data(TAGS, class_weights="balanced"), SettingError, "this one is 'multi-label'"),
    "negative example weights": (data(LABELS, example_weights=-torch.ones(100)), DataError, "finite and >= 0"),
    "example weights of NaN": (data(LABELS, example_weights=HOLES), DataError, "finite and >= 0"),
    "example weights of 0": (data(LABELS, example_weights=torch.zeros(100)), DataError, "not all 0"),
    "too few example weights": (data(LABELS, example_weights=torch.ones(9)), DataError, r"have shape \[9\]"),
    "a loader of three": (loader(TensorDataset(ROWS, ROWS, LABELS)), DataError, r"several inputs: \(\(x1, x2\), y\)"),
    "a loader of inputs alone": (loader(TensorDataset(ROWS)), DataError, "a list of 1; a pair .* is needed"),
    "a loader of dicts": (loader(Records()), DataError, "a dict of 2; a pair .* is needed"),
}


@pytest.mark.parametrize(("make", "error", "message"), CASES.values(), ids=list(CASES))
def test_it_is_refused_in_one_line(make: Callable[[], Data], error: type[BayespruneError], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        make()
    assert type(caught.value) is error or isinstance(caught.value, SettingError)
    assert "\n" not in str(caught.value)


def test_data_of_another_task_are_refused() -> None:
    with pytest.raises(SettingError, match="give task='regression' where the data are made"):
        as_data(data(LABELS)(), "regression")


@pytest.mark.parametrize("weights", [(1.0, 3.0), {0: 1.0, 1: 3.0}, {1: 3, 0: 1}], ids=str)
def test_class_weights_are_of_mean_one(weights: Any) -> None:
    split: Any = from_tensors(ROWS, LABELS, class_weights=weights).train
    assert float(split.weights.mean()) == pytest.approx(1)
    once, thrice = (split.weights[split.labels == label].unique() for label in (0, 1))
    assert len(once) == len(thrice) == 1 and float(thrice / once) == pytest.approx(3)


def test_balanced_classes_count_alike() -> None:
    rare = (torch.arange(100) % 20 == 0).long()
    split: Any = from_tensors(ROWS, rare, class_weights="balanced").train
    totals = [float(split.weights[split.labels == label].sum()) for label in (0, 1)]
    assert totals[0] == pytest.approx(totals[1]) and sum(totals) == pytest.approx(len(split))


def test_weights_of_examples_multiply_those_of_classes_and_stay_with_their_example() -> None:
    given = torch.arange(100) % 7 + 1.0
    own = from_tensors(ROWS, LABELS, example_weights=given, class_weights=[1, 3], seed=5)
    split: Any = own.train
    found = own.normalisation.undo(split.inputs)
    for row, label, weight in list(zip(found, split.labels, split.weights, strict=True))[:20]:
        place = int((ROWS - row).abs().sum(1).argmin())
        expected = float(given[place]) * (3 if int(label) else 1)
        ratio = float(weight) / expected
        assert ratio == pytest.approx(float(split.weights[0]) / _expected(own, given, 0), rel=1e-5)
    assert getattr(own.test, "weights", None) is None and getattr(own.validation, "weights", None) is None


def _expected(own: Data, given: Tensor, row: int) -> float:
    split: Any = own.train
    place = int((ROWS - own.normalisation.undo(split.inputs)[row]).abs().sum(1).argmin())
    return float(given[place]) * (3 if int(split.labels[row]) else 1)


def test_positions_that_do_not_count_have_no_weight() -> None:
    labels = (ROWS[:, :, None] > torch.tensor([-1.0, 0.0, 1.0])).long()
    labels[:, 0, 0] = -100
    pictures = torch.randn(100, 2, 4, 3)
    split: Any = from_tensors(pictures, labels, class_weights="balanced").train
    assert split.weights.shape == split.labels.shape
    assert float(split.weights[split.labels == -100].abs().max()) == 0
    assert float(split.weights.mean()) == pytest.approx(1)
