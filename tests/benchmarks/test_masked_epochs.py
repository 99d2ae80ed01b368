"""What the benchmark of masked epochs compares: equal trainings, one of them under masks from a quarter on."""

import pytest
import torch

from bayesprune.data import from_tensors
from bayesprune.run.environment import flushes_subnormal
from benchmarks import masked_epochs
from benchmarks.masked_epochs import DENSITY, Side, ratios

DATA = from_tensors(torch.rand(300, 1, 28, 28), torch.arange(300) % 10, classes=10)


def test_sides_are_equal_until_one_is_masked() -> None:
    dense, masked = Side(DATA), Side(DATA)
    batch = next(iter(DATA.train.batches(20)))
    for side in (dense, masked):
        side.step(*batch)
    one, other = (side.state.network.get_parameter("fc1.weight") for side in (dense, masked))
    assert torch.equal(one, other)
    masked.mask()
    masked.step(*batch)
    for name in ("fc1", "fc2", "fc3"):
        weight = masked.state.network.get_parameter(f"{name}.weight")
        assert int(weight.count_nonzero()) == pytest.approx(DENSITY * weight.numel(), abs=1)
    assert (len(dense.seconds), len(masked.seconds)) == (1, 2)


@pytest.mark.parametrize("subnormal", [False, True])
def test_every_epoch_has_a_ratio(subnormal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []
    original = Side.mask

    def mask(side: Side) -> None:
        seen.append(flushes_subnormal())
        original(side)

    monkeypatch.setattr(masked_epochs.Side, "mask", mask)
    found = ratios(DATA, 4, subnormal=subnormal)
    assert len(found) == 4 and all(ratio > 0 for ratio in found)
    assert seen == [not subnormal]
