"""Matching the units of two networks."""

import pytest
import torch
from torch import nn

from bayesprune.errors import SettingError
from bayesprune.run.matching import match_units
from bayesprune.structure import compact, find


def networks() -> tuple[nn.Sequential, nn.Sequential, torch.Tensor]:
    """A network, the same with its filters and units in another order, and inputs."""
    torch.manual_seed(0)
    conv, linear, last = (nn.Conv2d(1, 5, 3), nn.Conv2d(1, 5, 3)), pair(80, 7), pair(7, 3)
    filters, units = torch.tensor([3, 0, 4, 1, 2]), torch.tensor([6, 2, 0, 1, 5, 4, 3])
    columns = torch.arange(80).view(5, 16)[filters].flatten()
    with torch.no_grad():
        for (copied, layer), order in ((conv[::-1], filters), (linear[::-1], units)):
            copied.weight.copy_(layer.weight[order])
            assert copied.bias is not None and layer.bias is not None
            copied.bias.copy_(layer.bias[order])
        linear[1].weight.copy_(linear[0].weight[units][:, columns])
        last[1].weight.copy_(last[0].weight[:, units])
    one, other = (nn.Sequential(conv[n], nn.ReLU(), nn.Flatten(), linear[n], nn.ReLU(), last[n]) for n in (0, 1))
    return one, other, torch.randn(60, 1, 6, 6)


def pair(inputs: int, outputs: int) -> tuple[nn.Linear, nn.Linear]:
    """Two layers."""
    return nn.Linear(inputs, outputs), nn.Linear(inputs, outputs)


def test_another_order_is_found() -> None:
    one, other, inputs = networks()
    groups = [find(network, inputs[:2]).groups for network in (one, other)]
    conv, linear = match_units((one, other), groups, inputs, batch_size=25)
    assert conv.one == tuple(range(5)) and conv.other == (1, 3, 4, 0, 2)
    assert linear.other == (2, 3, 1, 6, 5, 4, 0)
    assert min(conv.correlation + linear.correlation) == pytest.approx(1, abs=1e-6)


def test_units_keep_their_original_names_after_compaction() -> None:
    """Of 7 units 3 are left in one network and all in the other; the 3 find themselves."""
    one, other, inputs = networks()
    small, structure = other, find(other, inputs[:2])
    is_open = torch.ones(structure.gate_count, dtype=torch.bool)
    place = structure.slices()["3"]
    is_open[place] = torch.tensor([False, True, False, True, False, False, True])
    left = compact(small, structure, is_open)
    whole = find(one, inputs[:2]).groups
    match = next(found for found in match_units((small, one), (left.groups, whole), inputs) if found.group == "3")
    assert match.sizes == (3, 7) and match.one == (1, 3, 6) and match.other == (2, 1, 3)
    assert match.quality == pytest.approx(1, abs=1e-6)


def test_a_constant_unit_has_no_correlation() -> None:
    one, other, inputs = networks()
    with torch.no_grad():
        layer = one[3]
        assert isinstance(layer, nn.Linear)
        layer.weight[4] = 0.0
    groups = [find(network, inputs[:2]).groups for network in (one, other)]
    match = match_units((one, other), groups, inputs)[1]
    assert match.correlation[match.one.index(4)] == 0.0
    assert sorted(match.correlation)[1] == pytest.approx(1, abs=1e-6)


def test_networks_of_two_kinds_are_refused() -> None:
    one, _, inputs = networks()
    other = nn.Sequential(nn.Flatten(), nn.Linear(36, 4), nn.ReLU(), nn.Linear(4, 3))
    groups = [find(network, inputs[:2]).groups for network in (one, other)]
    with pytest.raises(SettingError, match="only networks of one kind"):
        match_units((one, other), groups, inputs)
