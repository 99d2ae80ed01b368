"""What `prune` takes as data: pairs, loaders, tuples, dicts, tokens, pixels, and the task that targets suggest."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from bayesprune.batches import call, chunks, join, parts, repeated, take, whole_shape
from bayesprune.data import from_loaders, from_tensors
from bayesprune.data.given import as_data
from bayesprune.data.inputs import InputSpec, Normalisations, normalisation_from_json
from bayesprune.errors import DataError
from bayesprune.tasks import OwnTask, Regression, from_json

ROWS = 5 + 2 * torch.randn(100, 4, generator=torch.Generator().manual_seed(0))
TOKENS = torch.randint(0, 9, (100, 7), generator=torch.Generator().manual_seed(1))
PIXELS = torch.randint(0, 256, (100, 1, 3, 3), generator=torch.Generator().manual_seed(2), dtype=torch.uint8)
LABELS = torch.arange(100) % 3
NUMBERS = ROWS.sum(1) + 0.25


SUGGESTED: dict[str, tuple[Any, Any, str, int]] = {
    "integers": (ROWS, LABELS, "classification", 3),
    "a column of integers": (ROWS, LABELS[:, None], "classification", 3),
    "fractions": (ROWS, NUMBERS, "regression", 1),
    "columns of fractions": (ROWS, ROWS[:, :2], "regression", 2),
    "columns of tags": (ROWS, (ROWS[:, :3] > 5).long(), "multi-label", 3),
    "a class for each pixel": (PIXELS, (PIXELS[:, 0] > 99).long(), "segmentation", 2),
    "a class for each token": (TOKENS, (TOKENS > 4).long(), "segmentation", 2),
}


@pytest.mark.parametrize(("inputs", "targets", "name", "outputs"), SUGGESTED.values(), ids=list(SUGGESTED))
def test_the_task_that_targets_suggest(inputs: Any, targets: Any, name: str, outputs: int) -> None:
    for given in ((inputs, targets), (inputs.numpy(), targets.numpy())):
        task = as_data(given).task
        assert (task.name, task.outputs) == (name, outputs)
        assert from_json(task.to_json()) == task


def test_one_hot_rows_are_refused_and_the_cure_is_named() -> None:
    with pytest.raises(DataError, match="for one-hot rows: labels.argmax"):
        as_data((ROWS, torch.nn.functional.one_hot(LABELS)))


def test_pixels_tokens_and_floats_in_a_tuple_and_a_dict() -> None:
    """Each is prepared as it would be alone; and undone, it is what was given."""
    for inputs in ((PIXELS, TOKENS, ROWS), {"pixels": PIXELS, "tokens": TOKENS, "rows": ROWS}):
        data = from_tensors(inputs, LABELS)
        spec = data.inputs
        assert list(spec.dtypes.values()) == ["float32", "int64", "float32"]
        assert spec.form == ("dict" if isinstance(inputs, dict) else "tuple")
        assert InputSpec.from_json(spec.to_json()) == spec
        assert whole_shape(spec.zeros(2)) == [(2, 1, 3, 3), (2, 7), (2, 4)]
        ready, _ = next(iter(data.train.batches(len(data.train))))
        pixels, tokens, rows = parts(ready)
        for part in (pixels, rows):
            assert abs(float(part.mean())) < 1e-3 and abs(float(part.std()) - 1) < 0.02
        assert tokens.dtype == torch.int64
        assert isinstance(data.normalisation, Normalisations)
        assert normalisation_from_json(data.normalisation.to_json()) == data.normalisation
        applied = parts(data.normalisation.apply(inputs))
        torch.testing.assert_close(parts(data.normalisation.undo(data.normalisation.apply(inputs)))[2], ROWS)
        assert torch.equal(applied[1], TOKENS)


def test_parts_of_unequal_length_are_refused_by_name() -> None:
    with pytest.raises(DataError, match="99 inputs 'rows' but 100 labels"):
        from_tensors({"pixels": PIXELS, "rows": ROWS[:99]}, LABELS)
    with pytest.raises(
        DataError, match="inputs of the test split are '0', '1', those of the training split one tensor"
    ):
        from_tensors(ROWS, LABELS, test=((ROWS, ROWS), LABELS))


class Records(Dataset[Any]):
    """Examples with inputs in a dict, or a tuple."""

    def __init__(self, *, named: bool) -> None:
        self.named = named

    def __len__(self) -> int:
        return len(ROWS)

    def __getitem__(self, index: int) -> Any:
        inputs = {"rows": ROWS[index], "tokens": TOKENS[index]}
        return inputs if self.named else tuple(inputs.values()), LABELS[index]


@pytest.mark.parametrize("named", [True, False])
def test_loaders_of_several_inputs(named: bool) -> None:
    loader = DataLoader(Records(named=named), batch_size=20)
    whole = as_data(loader)
    assert sum(whole.split_sizes.values()) == 100 and whole.task.outputs == 3
    three = as_data((loader, loader, loader))
    assert three.inputs.form == whole.inputs.form == ("dict" if named else "tuple")
    inputs, labels = next(iter(three.train.batches(1)))
    assert parts(inputs)[1].dtype == torch.int64 and torch.equal(labels, LABELS[:20])
    assert torch.equal(parts(inputs)[0], ROWS[:20])  # loaders normalise by themselves


def test_loaders_of_numbers_are_standardised_by_the_training_loader() -> None:
    train, other = (DataLoader(TensorDataset(ROWS, NUMBERS + shift), batch_size=25) for shift in (0.0, 100.0))
    data = from_loaders(train, other, other)
    assert isinstance(data.task, Regression)
    assert data.task.mean == pytest.approx([float(NUMBERS.mean())])
    _, targets = next(iter(data.test.batches(1)))
    assert float(targets.mean()) * data.task.std[0] == pytest.approx(
        100 + float((NUMBERS[:25] - NUMBERS.mean()).mean())
    )


def test_targets_of_numbers_lose_no_digits() -> None:
    """Time stamps: standardised in double precision, and answered in the unit of the targets."""
    stamps = 1.7e9 + torch.randn(100, dtype=torch.float64)
    data = from_tensors(ROWS, stamps)
    split: Any = data.train
    assert abs(float(split.labels.std()) - 1) < 0.02 and abs(float(split.labels.mean())) < 1e-3
    answers = data.task._in_unit(split.labels)  # type: ignore[attr-defined]
    assert float((answers.flatten().sort().values[0] - stamps.min()).abs()) < 2  # the least training target


def test_a_task_of_the_user_s_goes_with_any_data() -> None:
    own = OwnTask(loss=nn.MSELoss())
    assert from_tensors(ROWS, NUMBERS[:, None], task=own).task is own
    loader = DataLoader(TensorDataset(ROWS, NUMBERS[:, None]), batch_size=25)
    assert from_loaders(loader, loader, loader, task=own).task is own


def test_batches_of_any_form_are_taken_apart_and_joined() -> None:
    for batch in (ROWS, (ROWS, TOKENS), {"rows": ROWS, "tokens": TOKENS}):
        again = join(chunks(batch, 30))
        assert all(torch.equal(one, other) for one, other in zip(parts(again), parts(batch), strict=True))
        assert type(again) is type(batch)
        picked = parts(take(batch, torch.tensor([5, 3])))
        assert torch.equal(picked[0], ROWS[[5, 3]])
        assert torch.equal(parts(repeated(batch, 2))[0], ROWS.repeat(2, 1))


class Args(nn.Module):
    def forward(self, *inputs: Tensor) -> list[Tensor]:
        return list(inputs)


class Two(nn.Module):
    def forward(self, rows: Tensor, tokens: Tensor) -> list[Tensor]:
        return [rows, tokens]


class Named(nn.Module):
    def forward(self, **inputs: Tensor) -> list[Tensor]:
        return [inputs["rows"], inputs["tokens"]]


class OneTuple(nn.Module):
    def forward(self, batch: Any) -> list[Tensor]:
        return list(batch)


class OneDict(nn.Module):
    def forward(self, batch: Any) -> list[Tensor]:
        return [batch["rows"], batch["tokens"]]


@pytest.mark.parametrize(
    ("network", "named"),
    [(Args(), False), (Two(), False), (OneTuple(), False), (Two(), True), (Named(), True), (OneDict(), True)],
)
def test_networks_get_their_inputs_as_they_take_them(network: nn.Module, named: bool) -> None:
    batch: Any = {"tokens": TOKENS, "rows": ROWS} if named else (ROWS, TOKENS)
    rows, tokens = call(network, batch)
    assert rows is ROWS and tokens is TOKENS


def test_lists_of_numbers_are_inputs_and_targets_too() -> None:
    data = from_tensors(np.asarray(ROWS).tolist(), LABELS.tolist())
    assert data.inputs.shape == (4,) and data.task.outputs == 3
