"""The trade-offs nu and alpha of complexity-aware in trained networks; `test_methods` has beta."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import bayesprune as bp
from bayesprune.data import Data
from bayesprune.run.pruned import Pruned
from tests.bayesprune.sections.networks import Residual

SOON: dict[str, Any] = {"horizon": 12, "shrink_every": 3, "prune_share": 0.5, "ramp_share": 0.0}


class Mixed(nn.Module):
    """A convolution, which computes much with few parameters, and a section of linear layers, the other way."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.middle = nn.Conv2d(1, 8, 3, padding=1), nn.Linear(72, 8)
        self.units = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 8))
        self.head = nn.Linear(8, 3)

    def forward(self, images: Tensor) -> Tensor:
        maps = nn.functional.avg_pool2d(self.stem(images).relu(), 2)
        hidden = self.middle(maps.flatten(1)).relu()
        outputs: Tensor = self.head(hidden + self.units(hidden))
        return outputs


def pruned_by(data: Data, make: type[nn.Module], **settings: Any) -> Pruned:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = make()
    return bp.prune(network, data, "complexity-aware", epochs=12, batch_size=24, seed=3, **SOON | settings)


@pytest.mark.long
@pytest.mark.usefixtures("at_once")
def test_nu_trades_accuracy_for_size(small_data: Data) -> None:
    """The dearer a network is, the smaller it ends; the smallest says one thing."""
    results = [pruned_by(small_data, Residual, nu=nu).result() for nu in (1e-4, 0.3, 100.0)]
    macs, accuracy = ([one[key] for one in results] for key in ("macs", "accuracy"))
    assert macs[0] > macs[1] > macs[2] and accuracy[1] > accuracy[2]


@pytest.mark.long
@pytest.mark.usefixtures("at_once")
def test_alpha_trades_compute_for_parameters(small_data: Data) -> None:
    """What is left computes less and has more parameters where compute alone is priced."""
    by_alpha = [pruned_by(small_data, Mixed, nu=0.03, alpha=alpha, learning_rate=1e-2) for alpha in (0.0, 1.0)]
    parameters, compute = (one.result() for one in by_alpha)
    assert compute["macs"] < parameters["macs"] and parameters["params"] < compute["params"]
    assert compute["macs"] / compute["params"] < 0.8 * parameters["macs"] / parameters["params"]
