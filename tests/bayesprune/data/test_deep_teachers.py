"""Teachers of known depth: their formula, their noise, and draws that are other ones."""

import numpy as np
import pytest

from bayesprune.data import load
from bayesprune.data.deep_teachers import DEEP_TEACHERS, INPUTS, NOISE, WIDTH, outputs, read_deep_teacher
from bayesprune.errors import SettingError


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_the_teacher_is_a_network_of_so_many_rectified_layers(layers: int) -> None:
    """Against sums written out, unit by unit."""
    weights = DEEP_TEACHERS[f"layers{layers}"].weights(np.random.default_rng(0))
    assert [matrix.shape for matrix, _ in weights] == [
        (INPUTS, WIDTH), *[(WIDTH, WIDTH)] * (layers - 1), (WIDTH, 1)
    ]  # fmt: skip
    inputs = np.random.default_rng(1).standard_normal((3, INPUTS))
    found = outputs(weights, inputs)
    for row, said in zip(inputs, found, strict=True):
        values = list(row)
        for number, (matrix, bias) in enumerate(weights):
            values = [sum(v * matrix[i, j] for i, v in enumerate(values)) + bias[j] for j in range(matrix.shape[1])]
            values = values if number == len(weights) - 1 else [max(v, 0.0) for v in values]
        assert said == pytest.approx(values[0])


def test_targets_have_unit_spread_and_the_noise_that_is_said() -> None:
    raw = read_deep_teacher("layers2@4")
    assert raw.features == tuple(f"x{n}" for n in range(1, 11)) and raw.task == "regression"
    data = load("layers2@4")
    assert data.split_sizes == {"train": 5_000, "validation": 1_000, "test": 2_000}
    targets = np.concatenate([np.asarray(y).ravel() for _, y in data.test.batches(500)])
    assert targets.std() == pytest.approx(1.0, rel=0.1)  # standardised by the training split
    assert pytest.approx(0.1) == NOISE


def test_equal_names_give_equal_numbers_and_draws_differ() -> None:
    def first(name: str) -> list[float]:
        inputs, targets = next(iter(load(name).train.batches(2)))
        return [*inputs.flatten().tolist(), *targets.flatten().tolist()]

    assert first("layers1") == first("layers1@0") != first("layers1@1")
    with pytest.raises(SettingError, match="behind the @ stands the number of the draw"):
        load("layers1@x")
