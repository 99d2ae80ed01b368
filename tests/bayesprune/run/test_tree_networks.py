"""Trees of networks with convolutions and residual sums, and of other tasks than classification."""

import warnings
from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

import bayesprune as bp
from bayesprune.run.arviz_view import for_arviz, import_arviz
from bayesprune.structure import compact, layer_costs


class Pictures(nn.Module):
    """A convolution, two of one residual stream, and a linear layer that reads their flattened pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.norm, self.head = nn.BatchNorm2d(4), nn.Linear(4 * 9, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = torch.relu(self.first(inputs))
        hidden = hidden + self.norm(self.second(hidden))
        said: Tensor = self.head(nn.functional.max_pool2d(hidden, 2).flatten(1))
        return said


def test_convolutions_and_residual_sums_go_the_same_way() -> None:
    """Cost and weights of draws against the network that is cut, where a layer reads and writes one group."""
    inputs = torch.randn(120, 1, 6, 6, generator=torch.Generator().manual_seed(3))
    pruned = bp.prune(Pictures, (inputs, (inputs[:, 0, 2, 2] > 0).long()), epochs=2, price=0.01, progress=False)
    assert pruned.posterior is not None
    pruned.posterior.inclusion_probability.fill_(0.6)
    tree = bp.to_datatree(pruned, draws=12, data=(inputs, (inputs[:, 0, 2, 2] > 0).long()), weights=True)
    posterior, kept, compared = tree["posterior"].to_dataset(), pruned.posterior.decided.numpy() > 0, 0
    raw = pruned.raw_split((inputs, torch.zeros(120, dtype=torch.int64)))
    assert raw is not None
    ready, _ = next(iter(raw.batches(200)))
    for draw in range(12):
        gates = torch.from_numpy(posterior["z"].to_numpy()[0, draw][kept]).bool()
        if not pruned.structure.passes_on(gates):
            continue
        network = deepcopy(pruned.network).eval()
        compact(network, pruned.structure, pruned.structure.consistent(gates))
        whole = sum(layer.macs for layer in layer_costs(network, torch.zeros(1, 1, 6, 6)))
        assert tree["sample_stats"]["macs"].to_numpy()[0, draw] == pytest.approx(whole)
        values = {
            name: torch.from_numpy(posterior[name.replace(".layer", "")].to_numpy()[0, draw])
            for name, _ in pruned.network.named_parameters()
        }
        said = functional_call(pruned.network.eval(), values, (ready,)).detach()
        assert torch.allclose(said, network(ready).detach(), atol=1e-4)
        compared += 1
    assert compared > 5
    assert len({*posterior["second.weight"].dims}) == 6  # one group in two places: two names
    assert posterior["head.weight"].sizes["head.weight_dim_1"] == 9 * len(pruned.kept["first"])


def test_a_regression_has_numbers_and_densities() -> None:
    """Targets with an axis of their own; the log density against torch's normal law."""
    inputs = torch.randn(150, 3, generator=torch.Generator().manual_seed(5))
    targets = torch.stack([inputs[:, 0], inputs[:, 1] - inputs[:, 2]], 1)
    data = bp.data.from_tensors(inputs, targets, task="regression", seed=0)
    pruned = bp.prune("mlp", data, widths=(6,), epochs=3, price=0.01, progress=False)
    tree = bp.to_datatree(pruned, draws=8, split="test", prior=True)
    count = len(data.test)
    assert tree["posterior_predictive"]["y"].dims == ("chain", "draw", "example", "y_dim_0")
    assert tree["prior_predictive"]["y"].shape == (1, 8, count, 2)
    assert tree["observed_data"]["y"].shape == (count, 2)
    assert tree["log_likelihood"]["y"].shape == (1, 8, count)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert np.isfinite(float(import_arviz().loo(for_arviz(tree)).iloc[0]))
