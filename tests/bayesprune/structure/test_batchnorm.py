"""Statistics of batch normalisation estimated anew, against means and variances taken by hand."""

from typing import Any

import pytest
import torch
from torch import nn

from bayesprune.errors import SettingError
from bayesprune.structure import reestimate_batchnorm


def test_mean_and_variance_by_hand() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 2))
    network(torch.randn(4, 2, 6, 6))  # statistics that are to be forgotten
    batches = [torch.randn(5, 2, 6, 6), 3 + torch.randn(5, 2, 6, 6), torch.randn(2, 2, 6, 6)]
    with torch.no_grad():
        maps = [network[0](batch).transpose(0, 1).flatten(1) for batch in batches]
    reestimate_batchnorm(network, iter(batches))
    norm = network[1]
    torch.testing.assert_close(norm.running_mean, torch.stack([m.mean(1) for m in maps]).mean(0))
    torch.testing.assert_close(norm.running_var, torch.stack([m.var(1, unbiased=True) for m in maps]).mean(0))
    assert norm.num_batches_tracked == 3 and norm.momentum == 0.1


def test_one_batch_normalises_that_batch() -> None:
    torch.manual_seed(0)
    network, batch = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)), torch.randn(50, 3)
    reestimate_batchnorm(network, [batch])
    with torch.no_grad():
        outputs = network.eval()(batch)
    torch.testing.assert_close(outputs.mean(0), torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(outputs.var(0), torch.ones(4), atol=1e-3, rtol=0)


def test_nothing_else_changes(zoo: Any) -> None:
    """Modes, momenta, parameters; dropout is off meanwhile, so that random numbers are not drawn."""
    case = zoo("residual")
    network: Any = nn.Sequential(case.copy(), nn.Dropout(0.5)).train()
    frozen = network[0].blocks[0].norm1
    frozen.eval()
    frozen.momentum = 0.3
    modes = {name: module.training for name, module in network.named_modules()}
    parameters = {name: parameter.clone() for name, parameter in network.named_parameters()}
    random = torch.get_rng_state()
    reestimate_batchnorm(network, [case.example])
    assert {name: module.training for name, module in network.named_modules()} == modes
    assert frozen.momentum == 0.3
    assert all(torch.equal(parameters[name], parameter) for name, parameter in network.named_parameters())
    assert torch.equal(torch.get_rng_state(), random)
    assert all(parameter.grad is None for parameter in network.parameters())


def test_statistics_stay_without_batches() -> None:
    network: Any = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    network[1].running_mean.fill_(7.0)
    with pytest.raises(SettingError, match="no batches"):
        reestimate_batchnorm(network, [])
    assert network[1].running_mean.tolist() == [7.0] * 4


def test_modes_come_back_after_an_error() -> None:
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).train()
    with pytest.raises(RuntimeError):
        reestimate_batchnorm(network, [torch.randn(5, 9)])
    assert network.training and network[1].training and network[1].momentum == 0.1


def test_a_norm_without_statistics_is_left_alone() -> None:
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4, track_running_stats=False))
    reestimate_batchnorm(network, [torch.randn(5, 3)])
    assert network[1].running_mean is None
