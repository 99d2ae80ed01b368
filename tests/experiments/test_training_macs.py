"""What a run says that its training cost, against torch's counter of operators around the very same steps."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from bayesprune.data import Data
from bayesprune.experiments.methods import METHODS, method
from bayesprune.inference.estimators import ESTIMATORS
from bayesprune.models import LeNet300
from bayesprune.run.running import initial_state, run
from bayesprune.run.settings import RunSettings
from bayesprune.training import train

OWN: dict[str, dict[str, Any]] = {
    "ensemble": {"members": 2},
    "parsimonious": {"horizon": 12, "shrink_every": 3, "prune_share": 0.5},
    **dict.fromkeys(("layer-gates", "complexity-aware"), {"horizon": 12, "shrink_every": 3, "prune_share": 0.5}),
    "lottery": {"rate": 0.7},
    "set": {"every": 2},
    "rigl": {"every": 2},
    "ntt": {"steps": 5, "every": 2},
}


class Normalised(nn.Module):
    """Convolutions with batch normalisation, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.norm = nn.Conv2d(1, 5, 3, padding=1), nn.BatchNorm2d(5)
        self.two, self.head = nn.Conv2d(5, 6, 3, stride=2), nn.Linear(24, 3)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.two(self.norm(self.one(images)).relu()).relu().flatten(1))
        return logits


class Residual(Normalised):
    """With five branches, of which four have their turn at a step."""

    def __init__(self) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(nn.Conv2d(5, 5, 3, padding=1), nn.BatchNorm2d(5), nn.ReLU(inplace=True)) for _ in range(5)
        )

    def forward(self, images: Tensor) -> Tensor:
        maps = self.norm(self.one(images)).relu()
        for branch in self.branches:
            maps = maps + branch(maps)
        logits: Tensor = self.head(self.two(maps).relu().flatten(1))
        return logits


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "perceptron": lambda: LeNet300((12, 8), (1, 6, 6), 3),
    "convolutional": Normalised,
}


def settings_of(name: str, **changes: Any) -> RunSettings:
    takes = method(name).needs
    size = {"budget": "macs=50%"} if "budget" in takes else {"density": 0.4} if takes else {}
    plain: dict[str, Any] = {"method": name, "epochs": 2, "batch_size": 50, "options": OWN.get(name, {})}
    return RunSettings(**plain | size | changes)


def counted_and_said(network: nn.Module, data: Data, settings: RunSettings) -> tuple[float, float]:
    """Multiply-accumulates of all that training runs, by torch's counter and by the run itself."""
    state = initial_state(network, data, settings)
    plan = method(settings.method).plan(state, data, settings)
    with FlopCounterMode(display=False) as counter:
        train(state, plan.phases, data, batch_size=settings.batch_size, seed=0, validate=False)
    return counter.get_total_flops() / 2, state.macs + state.epoch_macs


def make(network: str) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Residual() if network == "residual" else NETWORKS[network]()


CASES = [(name, network) for name in METHODS for network in NETWORKS]
CASES.remove(("slimming", "perceptron"))  # it needs batch normalisation
CASES.remove(("layer-gates", "perceptron"))  # they need skips
CASES.remove(("layer-gates", "convolutional"))
CASES += [("layer-gates", "residual"), ("complexity-aware", "residual")]
CASES.remove(("layer-sparsity", "convolutional"))  # it needs a layer between two others
CASES.remove(("ntt", "convolutional"))  # it refuses batch normalisation


@pytest.mark.parametrize(("name", "network"), CASES)
def test_every_method_counts_what_it_runs(name: str, network: str, small_data: Data) -> None:
    counted, said = counted_and_said(make(network), small_data, settings_of(name))
    assert said == pytest.approx(counted, rel=0.02) and counted > 0


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        *(("parsimonious", {"estimator": estimator, "options": OWN["parsimonious"]}) for estimator in ESTIMATORS),
        ("parsimonious", {"options": OWN["parsimonious"] | {"learnt_noise": 0.01}}),
        ("parsimonious", {"options": OWN["parsimonious"] | {"estimate_every": 3, "removal": "attraction"}}),
        ("magnitude", {"options": {"training": "plain", "retrain": 1}}),
        ("ntt", {"budget": None, "density": 0.4, "options": OWN["ntt"]}),
        ("taylor", {"budget": None, "density": 0.4}),
        ("random", {"noise": 0.0}),
    ],
)
def test_options_count_what_they_run(name: str, changes: dict[str, Any], small_data: Data) -> None:
    counted, said = counted_and_said(make("perceptron"), small_data, settings_of(name, **changes))
    assert said == pytest.approx(counted, rel=0.02)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("changes", [{}, {"noise": 0.0}, {"batch_size": 37}, {"options": {"training": "plain"}}])
def test_dense_costs_as_much_as_dense(network: str, changes: dict[str, Any], small_data: Data) -> None:
    pruned = run(method("dense"), make(network), small_data, settings_of("dense", **changes))
    assert pruned.result()["train_macs_ratio"] == pytest.approx(1.0, rel=1e-12)
    assert all(record["macs"] == pytest.approx(record["dense_macs"], rel=1e-12) for record in pruned.history)


def test_the_first_layer_needs_no_gradient_of_the_inputs(small_data: Data) -> None:
    """By hand for 36-12-8-3 without noise: forward and weights' gradients in all layers, inputs' in all but one."""
    settings = settings_of("dense", noise=0.0)
    pruned = run(method("dense"), make("perceptron"), small_data, settings)
    first, others = 36 * 12, 12 * 8 + 8 * 3
    assert pruned.history[0]["macs"] == 240 * (2 * first + 3 * others)


def test_scoring_before_training_counts(small_data: Data) -> None:
    """The same training after another choice of weights: the difference is what the choice cost."""
    free, scored = (
        run(method(name), make("perceptron"), small_data, settings_of(name, budget=None, density=0.4, noise=0.0))
        for name in ("random", "snip")
    )
    assert free.result()["train_macs_ratio"] == pytest.approx(1.0, rel=1e-12)
    assert scored.result()["train_macs_ratio"] > 1.01
