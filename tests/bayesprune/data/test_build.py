"""Data from a user's own tensors: splits, checks, fingerprint."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from bayesprune.data import Data, Normalisation, TensorSplit, from_tensors
from bayesprune.errors import DataError, SettingError


def make(count: int = 60, classes: int = 3, *shape: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(count)
    return torch.randn(count, *(shape or (4,)), generator=generator) * 3 + 1, torch.arange(count) % classes


def labels_of(data: Data, split: str) -> Tensor:
    return torch.cat([labels for _, labels in getattr(data, split).batches(1000)])


def inputs_of(data: Data, split: str) -> Tensor:
    return torch.cat([inputs for inputs, _ in getattr(data, split).batches(1000)])


def test_missing_splits_are_split_off_in_proportion() -> None:
    inputs, labels = make(60)
    data = from_tensors(inputs, labels)
    assert data.split_sizes == {"train": 42, "validation": 6, "test": 12}
    assert (data.input_shape, data.classes, data.name) == ((4,), 3, "tensors")
    assert [
        labels_of(data, "test").bincount().tolist(),
        labels_of(data, "validation").bincount().tolist(),
    ] == [
        [4, 4, 4],
        [2, 2, 2],
    ]
    everything = torch.cat([data.normalisation.undo(inputs_of(data, split)) for split in data.split_sizes])
    torch.testing.assert_close(everything.sort(0).values, inputs.sort(0).values, atol=1e-5, rtol=0)


def test_training_inputs_have_mean_0_and_deviation_1_and_the_others_use_the_same_constants() -> None:
    inputs, labels = make(600)
    data = from_tensors(inputs, labels, test=(inputs[:30] + 100, labels[:30]), validation=90)
    assert data.split_sizes == {"train": 510, "validation": 90, "test": 30}
    train = inputs_of(data, "train").double()
    torch.testing.assert_close(train.mean(0), torch.zeros(4).double(), atol=1e-6, rtol=0)
    torch.testing.assert_close(train.std(0, correction=0), torch.ones(4).double(), atol=1e-6, rtol=0)
    torch.testing.assert_close(data.normalisation.undo(inputs_of(data, "test")), inputs[:30] + 100)


def test_given_splits_are_kept_in_order() -> None:
    inputs, labels = make(30)
    data = from_tensors(inputs, labels, validation=(inputs[:6], labels[:6]), test=(inputs[6:15], labels[6:15]))
    assert data.split_sizes == {"train": 30, "validation": 6, "test": 9}
    assert torch.equal(labels_of(data, "test"), labels[6:15])


def test_bytes_are_scaled_and_a_normalisation_of_ones_own_is_used() -> None:
    pixels = torch.arange(240, dtype=torch.uint8).reshape(15, 1, 4, 4)
    data = from_tensors(pixels, torch.arange(15) % 3, normalisation=Normalisation((0.0,), (1.0,)), test=3, validation=3)
    both = torch.cat([inputs_of(data, split) for split in data.split_sizes])
    torch.testing.assert_close(both.flatten().sort().values, torch.arange(240) / 255)
    assert data.normalisation == Normalisation((0.0,), (1.0,))


def test_numpy_arrays_of_any_number_type_and_layout_are_taken() -> None:
    inputs, labels = make(30, 3, 2, 3)
    expected = inputs_of(from_tensors(inputs, labels), "train")
    swapped = np.asfortranarray(inputs.numpy().astype(">f8"))
    swapped.setflags(write=False)
    found = from_tensors(swapped, labels.numpy().astype(np.uint16)[:, None])
    assert torch.equal(inputs_of(found, "train"), expected)
    assert isinstance(found.train, TensorSplit)


def test_the_users_tensors_are_not_written_to_and_not_shared() -> None:
    inputs, labels = make(30)
    kept = inputs.clone()
    data = from_tensors(inputs, labels, test=(inputs, labels), validation=(inputs, labels))
    assert torch.equal(inputs, kept)
    before = labels_of(data, "train").clone()
    inputs.zero_()
    labels.zero_()
    assert torch.equal(labels_of(data, "train"), before)
    assert inputs_of(data, "train").abs().sum() > 0


def test_tensors_that_a_network_made_are_taken_without_their_history() -> None:
    """Features that still want gradients (as a user's encoder leaves them) become plain data."""
    inputs, labels = make(30)
    data = from_tensors(torch.nn.Linear(inputs.shape[-1], 2)(inputs), labels)
    assert not inputs_of(data, "train").requires_grad


def test_the_split_is_decided_by_its_seed_alone() -> None:
    inputs, labels = make(60)
    data = from_tensors(inputs, labels, seed=1)
    torch.manual_seed(4)
    assert torch.equal(inputs_of(data, "test"), inputs_of(from_tensors(inputs, labels, seed=1), "test"))
    assert not torch.equal(inputs_of(data, "test"), inputs_of(from_tensors(inputs, labels, seed=2), "test"))


def test_the_fingerprint_changes_with_what_matters_only() -> None:
    inputs, labels = make(60)
    first = from_tensors(inputs, labels).fingerprint
    assert first == from_tensors(inputs.clone(), labels.numpy()).fingerprint
    changed = inputs.clone()
    changed[:] += 1
    relabelled = labels.clone()
    relabelled[[0, 1]] = relabelled[[1, 0]]
    others = [
        from_tensors(changed, labels),
        from_tensors(inputs, relabelled),
        from_tensors(inputs[:-3], labels[:-3]),
        from_tensors(inputs, labels, seed=1),
        from_tensors(inputs, labels, classes=4),
        from_tensors(inputs, labels, validation=3),
        from_tensors(inputs, labels, name="other"),
        from_tensors(inputs, labels, normalisation=Normalisation((1.0,), (2.0,))),
    ]
    assert len({first, *(data.fingerprint for data in others)}) == 9


@pytest.mark.parametrize("position", range(60))
def test_every_input_counts_in_the_fingerprint(position: int) -> None:
    inputs, labels = make(60)
    first = from_tensors(inputs, labels).fingerprint
    inputs[position].view(-1)[-1] += 1e-3
    assert from_tensors(inputs, labels).fingerprint != first


def spoilt(value: float, *position: int) -> Tensor:
    inputs = make(60, 3, 1, 2, 2)[0]
    inputs[position] = value
    return inputs


LABELS = torch.arange(60) % 3
BAD: dict[str, tuple[Any, Any, dict[str, Any], str]] = {
    "nan": (
        spoilt(float("nan"), 7, 0, 1, 0),
        LABELS,
        {},
        r"1 values .* first is in example 7 at \[0, 1, 0\]",
    ),
    "infinite": (
        spoilt(float("inf"), 7),
        LABELS,
        {},
        "4 values of the training split are not finite, in 1 examples",
    ),
    "both infinities": (torch.tensor([[float("inf")], [float("-inf")]]), LABELS[:2], {}, "2 values"),
    "overflow": (np.full((60, 2), 1e300), LABELS, {}, "120 values"),
    "label too large": (spoilt(0, 0), LABELS, {"classes": 2}, "label 2 of example .* between 0 and 1"),
    "label negative": (spoilt(0, 0), LABELS - 1, {}, "label -1 of example"),
    "label an identifier": (spoilt(0, 0), LABELS * 1000, {}, "largest label of the training split of tensors is 2000"),
    "label a fraction": (spoilt(0, 0), LABELS.float(), {}, 'not integers; .* task="regression"'),
    "one-hot": (spoilt(0, 0), torch.eye(3)[LABELS], {}, "argmax"),
    "lengths": (spoilt(0, 0), LABELS[:-1], {}, "60 inputs but 59 labels"),
    "empty": (torch.zeros(0, 4), LABELS[:0], {}, "at least one example"),
    "no features": (torch.zeros(60, 0), LABELS, {}, "at least one example"),
    "one dimension": (torch.zeros(60), LABELS, {}, r"shape \[60\]"),
    "one class": (spoilt(0, 0), LABELS * 0, {}, "one class only"),
    "text": (np.full((60, 2), "a"), LABELS, {}, "text; numbers are needed"),
    "objects": (np.full((60, 2), None), LABELS, {}, "objects; numbers"),
    "complex": (torch.zeros(60, 2, dtype=torch.complex64), LABELS, {}, "complex numbers"),
    "too few": (torch.zeros(3, 2), LABELS[:3], {}, "cannot split 0 validation examples off 2"),
    "test too large": (spoilt(0, 0), LABELS, {"test": 60}, "cannot split 60 test"),
    "other shape": (
        spoilt(0, 0),
        LABELS,
        {"test": (torch.zeros(5, 1, 2, 3), LABELS[:5])},
        r"the test split have shape \[1, 2, 3\]",
    ),
    "other scale": (
        spoilt(0, 0),
        LABELS,
        {"test": (torch.zeros(5, 1, 2, 2, dtype=torch.uint8), LABELS[:5])},
        "uint8 is scaled",
    ),
    "unseen class": (
        spoilt(0, 0),
        LABELS,
        {"test": (torch.zeros(5, 1, 2, 2), LABELS[:5] + 1)},
        "label 3 of example 2 of the test split",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_data_that_cannot_be_learned_from_is_refused(case: str) -> None:
    inputs, labels, settings, says = BAD[case]
    with pytest.raises(DataError, match=says) as caught:
        from_tensors(inputs, labels, **settings)
    assert "\n" not in str(caught.value)


def test_an_impossible_seed_is_refused() -> None:
    with pytest.raises(SettingError, match="split seed is -1"):
        from_tensors(*make(30), seed=-1)
