"""A path over strengths: warm starts, and what stays inactive at which strength."""

import pytest
import torch
from torch import nn

from bayesprune.data import Data
from bayesprune.errors import SettingError
from bayesprune.layers.options import LayerOptions
from bayesprune.layers.path import strength_path
from bayesprune.models import MLP


def network() -> nn.Module:
    torch.manual_seed(0)
    made = MLP((12, 11, 10, 9), (1, 6, 6), 3)
    for module in made.modules():
        if isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight)
    return made


def test_layers_go_as_the_strength_rises_and_the_given_network_stays(small_data: Data) -> None:
    made = network()
    before = {name: value.clone() for name, value in made.state_dict().items()}
    points = strength_path(made, small_data, [1e-4, 1.0, 1.0], LayerOptions(lam=1e-3), epochs=3, batch_size=40)
    assert all(torch.equal(value, before[name]) for name, value in made.state_dict().items())
    assert [point.strength for point in points] == [1e-4, 1.0, 1.0]
    assert [len(point.active) for point in points] == [4, 1, 1]
    assert not points[0].least and all(norm > 0 for norm in points[0].negative.values())
    assert set(points[2].least) == {"fc2", "fc3", "fc4"} and not any(points[2].negative.values())
    # The test of stationarity agrees with what training did: no layer needs more than it has.
    assert max(points[2].least.values()) < 1.0
    assert all(point.validation is not None for point in points)


def test_each_strength_starts_where_the_last_one_ended(small_data: Data) -> None:
    """From an inactive network a small strength cannot begin with the negative parts of the first one."""
    cold = strength_path(network(), small_data, [1e-4], LayerOptions(lam=1e-3), epochs=1, batch_size=40)[0]
    warm = strength_path(network(), small_data, [1.0, 1e-4], LayerOptions(lam=1e-3), epochs=1, batch_size=40)[1]
    assert sum(warm.negative.values()) < 0.5 * sum(cold.negative.values())


def test_bad_paths_are_refused(small_data: Data) -> None:
    with pytest.raises(SettingError, match="a path needs strengths"):
        strength_path(network(), small_data, [])
    with pytest.raises(SettingError, match="strength must be a finite number >= 0, not -1"):
        strength_path(network(), small_data, [-1.0])
    with pytest.raises(SettingError, match="epochs must be an integer >= 1"):
        strength_path(network(), small_data, [1.0], epochs=0)
