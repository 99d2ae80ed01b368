"""The table of guides' errors: its arithmetic by hand, and one short comparison from end to end."""

import pytest
import torch

from bayesprune.data import from_tensors
from bayesprune.errors import SettingError
from bayesprune.experiments.guide_errors import _row, guide_errors, two_classes


def test_a_row_by_hand() -> None:
    reference = torch.tensor([1.0, 0.25], dtype=torch.float64)
    truth = torch.tensor([[0.5, 0.5], [0.9, 0.1]], dtype=torch.float64)
    one = (torch.tensor([0.5, 0.25]).double(), torch.tensor([[0.7, 0.3], [0.9, 0.1]]).double())
    other = (torch.tensor([1.0, 1.0]).double(), truth)
    row = _row("m", [one, other], reference=reference, truth=truth, labels=torch.tensor([0, 1]))
    assert row.inclusion == pytest.approx((0.75, 0.625)) and row.runs == 2
    assert row.inclusion_error == pytest.approx((0.5 + 0.75) / 4) and row.worst_error == pytest.approx(0.75)
    assert row.total_variation == pytest.approx(0.2 / 4)
    first = -(torch.tensor([0.7, 0.1]).log().mean())
    second = -(torch.tensor([0.5, 0.1]).log().mean())
    assert row.nll == pytest.approx(float(first + second) / 2, rel=1e-6)


def test_the_data_are_two_classes_by_three_inputs() -> None:
    data = two_classes(60, 4)
    assert data.split_sizes == {"train": 60, "validation": 100, "test": 500} and data.inputs.shape == (4,)
    inputs, labels = next(iter(data.test.batches(500)))
    signed = 2.0 * labels - 1
    means = [float((inputs[:, place] * signed).mean()) for place in range(4)]
    assert means[0] > means[1] > means[2] > 0 and abs(means[3]) < 0.15
    with pytest.raises(SettingError, match="inputs must be"):
        two_classes(60, 2)


def test_numbers_are_refused() -> None:
    data = from_tensors(torch.randn(40, 3), torch.randn(40), task="regression")
    with pytest.raises(SettingError, match="predictions of classes"):
        guide_errors(data)


@pytest.mark.long
def test_one_comparison_from_end_to_end() -> None:
    """Everything is there, probabilities are some, and the reference has no error against itself."""
    said: list[str] = []
    found = guide_errors(two_classes(40, 3, test=60), seeds=1, epochs=20, draws=20, chains=2, width=2, say=said.append)
    names = [row.name for row in found.rows]
    assert names[0] == "NUTS, gates summed out" and {"parsimonious", "spike-slab", "spike-slab-flat", "dense"} <= set(
        names
    )
    assert found.rows[0].inclusion_error == found.rows[0].total_variation == 0.0
    for row in found.rows:
        assert 0 <= row.total_variation <= 1 and row.nll > 0
        assert all(-1e-9 <= p <= 1 + 1e-9 for p in row.inclusion if p == p)
    exact, gibbs = found.rows[-2], found.rows[-3]
    assert max(abs(a - b) for a, b in zip(exact.inclusion, gibbs.inclusion, strict=True)) < 0.1
    assert found.table().count("\n") == len(found.rows) + 1 and len(found.to_frame()) == len(found.rows)
    assert said[0] == "reference"
