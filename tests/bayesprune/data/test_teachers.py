"""Regressions by formula: the formulas written out by number, the inputs' law, and which draw a name means."""

from math import sin
from typing import Any

import numpy as np
import pytest
import torch

from bayesprune.data import describe, load
from bayesprune.data.teachers import TEACHERS, TRUE_INPUTS, read_teacher
from bayesprune.errors import SettingError, UnknownNameError


@pytest.mark.parametrize(("name", "factor"), [("teacher200", 7.0), ("teacher2000", 5.0)])
def test_targets_are_the_formula_s(name: str, factor: float) -> None:
    inputs = np.zeros((2, TEACHERS[name].inputs))
    inputs[0, :6] = [2.0, 3.0, 0.5, 0.4, -1.0, 99.0]
    inputs[1, 4] = 0.5
    assert TEACHERS[name].mean(inputs).tolist() == pytest.approx([factor * 3 / 5 + 5 * sin(0.2) - 2, 1.0])


def test_the_noise_is_normal_of_deviation_one_and_only_five_inputs_count() -> None:
    raw = read_teacher("teacher200@7")
    assert [len(one) for one in (raw.train, raw.validation, raw.test) if one is not None] == [3_000, 1_000, 1_000]
    x, y = raw.train.inputs.numpy(), raw.train.labels.numpy()
    noise = y - (7 * x[:, 1] / (1 + x[:, 0] ** 2) + 5 * np.sin(x[:, 2] * x[:, 3]) + 2 * x[:, 4])
    assert abs(noise.mean()) < 5 / 3_000**0.5 and abs(noise.std() - 1) < 5 / 6_000**0.5
    products = ((x - x.mean(0)) * noise[:, None]).mean(0) / x.std(0)
    assert np.abs(products).max() < 5 / 3_000**0.5
    assert np.abs(x).max() <= 1 and abs(x.std() - 1 / 3**0.5) < 0.005
    assert TRUE_INPUTS == (0, 1, 2, 3, 4) and raw.features[:2] == ("x1", "x2") and len(raw.features) == 200


def test_inputs_of_the_larger_teacher_are_correlated_by_a_half() -> None:
    x = TEACHERS["teacher2000"].draw(4_000, np.random.default_rng(0))[:, :40]
    table: Any = np.corrcoef(x.T)
    found = table[np.triu_indices(40, 1)]
    assert abs(found.mean() - 0.5) < 0.05 and found.std() < 0.05
    assert x.dtype == np.float32 and np.abs(x.std(0) - 1).max() < 0.1


def test_a_name_is_always_the_same_draw() -> None:
    one, again, other, plain = (load(name) for name in ("teacher200@3", "teacher200@3", "teacher200@4", "teacher200"))
    assert one.fingerprint == again.fingerprint != other.fingerprint
    assert (one.name, one.task.name, one.inputs.shape) == ("teacher200@3", "regression", (200,))
    zero = load("teacher200@0")
    for inputs, same in zip(next(iter(zero.train.batches(5))), next(iter(plain.train.batches(5))), strict=True):
        assert torch.equal(inputs, same)


@pytest.mark.parametrize("name", ["teacher200@", "teacher200@-1", "teacher200@half", "teacher200@4294967296"])
def test_what_is_no_draw_is_refused(name: str) -> None:
    with pytest.raises(SettingError, match="behind the @ stands the number of the draw"):
        load(name)
    with pytest.raises(UnknownNameError):
        load(name.replace("200", "20"))


def test_they_are_told_with_their_sizes() -> None:
    infos = {info.name: info for info in describe()}
    assert infos["teacher2000"].examples == (12_000, 2_000) and infos["teacher200"].present
    assert "5 of 200" in infos["teacher200"].what
