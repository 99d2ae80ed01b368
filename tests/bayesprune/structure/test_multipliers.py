"""Multipliers that are folded into the weights leave the network the function that it was under them."""

from typing import Any

import pytest
import torch
from torch import Tensor

from bayesprune.errors import SettingError
from bayesprune.structure import Gating, compact, fold_multipliers


def relative_difference(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max() / other.abs().max().clamp_min(1e-12))


@pytest.mark.parametrize("seed", [0, 1])
def test_the_compact_network_is_the_one_under_multipliers(case: Any, seed: int) -> None:
    """The hooks of `Gating` are the oracle; open channels have multipliers of either sign, closed ones 0."""
    gates = case.gates(seed)
    generator = torch.Generator().manual_seed(seed)
    multipliers = torch.randn(len(gates), generator=generator)
    network, small = case.copy(), case.copy()
    gating = Gating(network, case.structure)
    with gating.applied(torch.where(gates, multipliers, 0.0)), torch.no_grad():
        expected = network(case.example)
    fold_multipliers(small, case.structure, multipliers)
    structure = compact(small, case.structure, case.structure.consistent(gates))
    with torch.no_grad():
        assert relative_difference(small(case.example), expected) <= 1e-5
    assert structure.gate_count == int(case.structure.consistent(gates).sum())


def test_folding_after_a_compaction_reads_the_selected_features(zoo: Any) -> None:
    """Twice folded and twice compacted is once with the products."""
    case = zoo("lenet5-all")
    first, second = case.gates(3), torch.rand(case.structure.gate_count) + 0.5
    network, direct = case.copy(), case.copy()
    middle = compact(network, case.structure, first)
    fold_multipliers(network, middle, second[middle.original_gates()])
    fold_multipliers(direct, case.structure, second)
    compact(direct, case.structure, first)
    with torch.no_grad():
        assert relative_difference(network(case.example), direct(case.example)) <= 1e-6


def test_the_wrong_number_of_multipliers_is_refused(zoo: Any) -> None:
    case = zoo("series")
    with pytest.raises(SettingError, match=r"multipliers of shape \(3,\) for a structure that has"):
        fold_multipliers(case.copy(), case.structure, torch.ones(3))
