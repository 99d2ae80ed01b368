"""Normalisation against numpy, and its inverse."""

import numpy as np
import pytest
import torch
from torch import Tensor

from bayesprune.data import Normalisation
from bayesprune.data.normalisation import fit_normalisation
from bayesprune.errors import DataError


def fit(inputs: Tensor) -> Normalisation:
    return fit_normalisation(inputs)


def test_pictures_get_a_pair_a_channel_on_the_unit_scale() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (50, 3, 4, 5), dtype=np.uint8)
    pixels[:, 1] //= 7
    found = fit(torch.from_numpy(pixels))
    scaled = pixels.astype(np.float64) / 255
    np.testing.assert_allclose(found.mean, scaled.mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(found.std, scaled.std((0, 2, 3)), rtol=1e-12)


def test_float_pictures_are_not_scaled() -> None:
    values = torch.randn(40, 2, 3, 3, generator=torch.Generator().manual_seed(0)) * 9 + 4
    found = fit(values)
    np.testing.assert_allclose(found.mean, values.double().numpy().mean((0, 2, 3)), rtol=1e-9)
    np.testing.assert_allclose(found.std, values.double().numpy().std((0, 2, 3)), rtol=1e-9)


def test_features_on_scales_of_their_own_get_a_pair_each() -> None:
    values = torch.tensor([[1.0, 1000.0], [3.0, 5000.0], [5.0, 3000.0]])
    found = fit(values)
    assert found.mean == pytest.approx((3, 3000))
    assert found.std == pytest.approx((np.std([1, 3, 5]), np.std([1000, 5000, 3000])))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_features_that_share_a_scale_get_one_pair(dtype: torch.dtype) -> None:
    values = torch.tensor([[0, 1], [1, 1], [0, 1]]).to(dtype)
    scale = 255 if dtype == torch.uint8 else 1
    found = fit(values)
    assert found.mean == pytest.approx((4 / 6 / scale,))
    assert found.std == pytest.approx((np.std([0, 1, 1, 1, 0, 1]) / scale,))


def test_what_never_varies_is_only_shifted() -> None:
    values = torch.full((4, 1, 2, 2), 3.0)
    found = fit(values)
    assert found == Normalisation((3.0,), (1.0,))
    assert torch.equal(found.apply(values), torch.zeros(4, 1, 2, 2))


@pytest.mark.parametrize("shape", [(6, 2), (6, 2, 3), (6, 2, 3, 4)])
def test_apply_and_undo_are_inverse_and_leave_their_argument_alone(shape: tuple[int, ...]) -> None:
    inputs = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    kept = inputs.clone()
    normalisation = Normalisation((0.5, -1.0), (2.0, 0.25))
    applied = normalisation.apply(inputs)
    torch.testing.assert_close(applied[:, 1], (inputs[:, 1] + 1) / 0.25)
    torch.testing.assert_close(normalisation.undo(applied), inputs)
    assert torch.equal(inputs, kept)


def test_a_wrong_number_of_channels_is_refused() -> None:
    with pytest.raises(DataError, match="2 channels does not fit"):
        Normalisation((0.0, 0.0), (1.0, 1.0)).apply(torch.zeros(5, 3, 2, 2))


@pytest.mark.parametrize(("mean", "std"), [((), ()), ((0.0,), ()), ((0.0,), (0.0,)), ((0.0,), (float("nan"),))])
def test_impossible_constants_are_refused(mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    with pytest.raises(DataError):
        Normalisation(mean, std)
