"""Features with large offsets, constants that move, and numbers at the ends of their type."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from bayesprune.data import Data, Normalisation, from_loaders, from_tensors
from bayesprune.errors import DataError, SettingError

LABELS = torch.arange(60) % 3


def signal() -> Tensor:
    return torch.randn(60, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def trained_on(inputs: Any, **settings: Any) -> Tensor:
    """All training inputs as the network sees them."""
    (whole,) = from_tensors(inputs, LABELS, **settings).train.batches(100)
    return whole[0]


@pytest.mark.parametrize("offset", [1.7e9, -1e9, 1e12])
def test_a_large_offset_takes_no_digits_of_float64(offset: float) -> None:
    plain, moved = trained_on(signal()), trained_on(signal() + offset)
    torch.testing.assert_close(moved, plain, rtol=0, atol=1e-3 if offset == 1e12 else 1e-5)
    assert moved.dtype == torch.float32


def test_time_stamps_are_told_apart() -> None:
    ticks = (signal() * 100).round().numpy()
    torch.testing.assert_close(trained_on(ticks + 1_700_000_000), trained_on(ticks), rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", [np.int64, np.int32, np.uint32, np.int8])
def test_whole_numbers_are_tokens_and_stay_what_they_are(kind: type) -> None:
    tokens: Any = np.arange(240).reshape(60, 4).astype(kind)
    data = from_tensors(tokens, LABELS, validation=(tokens, LABELS), test=(tokens, LABELS))
    ((seen, _),) = data.test.batches(100)
    assert torch.equal(seen, torch.from_numpy(tokens.astype(np.int64)))
    assert torch.equal(data.normalisation.apply(torch.from_numpy(tokens.astype(np.int64))), seen)
    assert data.inputs.dtypes == {"": "int64"}


@pytest.mark.parametrize("factor", [1e-300, 1e-40, 1e-20, 1e20, 1e37])
def test_small_and_large_numbers_are_no_constants(factor: float) -> None:
    torch.testing.assert_close(trained_on(signal() * factor), trained_on(signal()), rtol=1e-5, atol=1e-6)


def test_float32_of_both_signs_does_not_overflow() -> None:
    ends = torch.where(signal() > 0, 3.2e38, -3.2e38).float()
    assert bool(trained_on(ends).isfinite().all()) and float(trained_on(ends).abs().max()) < 3


@pytest.mark.parametrize("value", [0.1, 0.3, 1 / 3, 0.7, 1e-3, 123.456, 1.7e9])
@pytest.mark.parametrize("count", [60, 51, 27])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_constant_that_moves_in_the_test_split_does_not_explode(value: float, count: int, dtype: torch.dtype) -> None:
    inputs = signal().to(dtype)[:count]
    inputs[:, 0] = value
    moved = inputs.clone()
    moved[:, 0] += 1e-3 * value
    pair = (moved, LABELS[:count])
    data = from_tensors(inputs, LABELS[:count], validation=pair, test=pair)
    assert data.normalisation.std[0] == 1.0 and data.normalisation.mean[0] == float(inputs[0, 0])
    ((seen, _),) = data.test.batches(100)
    torch.testing.assert_close(seen[:, 0].double(), (moved - inputs)[:, 0].double(), rtol=1e-3, atol=1e-9)


def test_what_varies_by_rounding_only_is_a_constant() -> None:
    inputs = signal()
    inputs[:, 0] = torch.where(inputs[:, 1] > 0, 0.3, 0.1 + 0.2)
    assert from_tensors(inputs, LABELS).normalisation.std[0] == 1.0


def test_raw_inputs_go_through_the_normalisation_of_the_data() -> None:
    for raw in (signal() + 1.7e9, torch.randint(0, 256, (60, 1, 3, 3), dtype=torch.uint8), signal().float()):
        data = from_tensors(raw, LABELS, validation=(raw, LABELS), test=(raw, LABELS))
        assert torch.equal(data.normalisation.apply(raw), trained_on(raw, validation=(raw, LABELS), test=(raw, LABELS)))
        assert data.normalisation.dtype == str(raw.dtype).removeprefix("torch.")
        assert Normalisation.from_json(data.normalisation.to_json()) == data.normalisation


def loaders(inputs: Tensor, **settings: Any) -> Data:
    made = [DataLoader(TensorDataset(inputs, LABELS), batch_size=20) for _ in range(3)]
    return from_loaders(*made, classes=3, **settings)


@pytest.mark.parametrize("inputs", [signal() + 1.7e9, (signal() * 100).round() + 1_700_000_000])
def test_a_loader_whose_features_float32_cannot_tell_apart_is_refused_with_a_cure_that_works(inputs: Tensor) -> None:
    with pytest.raises(DataError, match=r"subtract the mean .* or give from_loaders\(\.\.\., normalisation="):
        loaders(inputs)
    mean, std = inputs.double().mean(0), inputs.double().std(0)
    data = loaders(inputs, normalisation=Normalisation(tuple(mean.tolist()), tuple(std.tolist())))
    seen = torch.cat([batch for batch, _ in data.train.batches(20)])
    assert seen.dtype == torch.float32
    torch.testing.assert_close(seen, ((inputs.double() - mean) / std).float(), rtol=0, atol=1e-5)
    assert data.normalisation.mean == tuple(mean.tolist())


def test_a_loader_s_ordinary_numbers_pass() -> None:
    for inputs in (signal(), signal().float(), torch.arange(240.0).view(60, 4), torch.full((60, 4), 0.1).double()):
        assert torch.equal(next(iter(loaders(inputs).train.batches(20)))[0], inputs[:20].float())


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"test": 2.5}, "test is 2.5: give a pair"),
        ({"test": True}, "test is True"),
        ({"validation": "9"}, "validation is '9'"),
        ({"test": signal()}, "test is a Tensor: give a pair"),
        ({"test": (signal(),)}, "test is a tuple: give a pair"),
        ({"seed": 1.5}, "the split seed is 1.5"),
        ({"classes": "3"}, "'3' classes"),
        ({"classes": 0}, "0 classes: give a whole number; at least 2"),
        ({"classes": 1}, "1 classes"),
        ({"classes": 2.0}, "2.0 classes"),
        ({"name": ""}, "name is ''"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings: dict[str, Any], says: str) -> None:
    with pytest.raises((DataError, SettingError), match=says):
        from_tensors(signal(), LABELS, **settings)


def test_inputs_and_labels_that_are_no_numbers_of_the_right_kind() -> None:
    with pytest.raises(DataError, match="largest label of the training split is 18446744073709551615"):
        from_tensors(signal(), np.full(60, 2**64 - 1, dtype=np.uint64))
    with pytest.raises(DataError, match="no array of numbers"):
        from_tensors([[1.0], [1.0, 2.0]], [0, 1])
    with pytest.raises(DataError, match=r"larger than 3.4e\+38, the most that float32 holds"):
        from_tensors(signal() * 1e300, LABELS)


def test_sparse_tensors_and_lists_are_taken() -> None:
    expected = trained_on(signal())
    assert torch.equal(trained_on(signal().to_sparse()), expected)
    assert torch.equal(trained_on(signal().tolist()), expected)
    pair = [signal(), LABELS]
    assert len(from_tensors(signal(), LABELS, test=pair).test) == 60  # type: ignore[arg-type]  # a list does too
