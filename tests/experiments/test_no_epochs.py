"""epochs=0: a network is pruned as it is, and measured; who learns what to remove says that it cannot."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import bayesprune as bp
from bayesprune.data import Data
from bayesprune.errors import PruningWarning, SettingError
from bayesprune.evaluation.evaluate import evaluate
from bayesprune.experiments.methods import METHODS
from bayesprune.inference.multipliers.relatives import RELATIVES
from bayesprune.run.pruned import Pruned

LEARNING = {
    "parsimonious", "layer-gates", "complexity-aware", "spike-slab", "spike-slab-flat", "ss-gl", "ss-ghs", "sv-bnn",
    "lottery",
} | {method.name for method in RELATIVES}  # fmt: skip
AVERAGING = {"ensemble", "mc-dropout"}
"""Their networks stand inside another one: tests/bayesprune/pruners."""
OWN: dict[str, dict[str, Any]] = {"ntt": {"steps": 2}, "synflow": {"rounds": 3}}


class Network(nn.Module):
    """Batch normalisation with statistics of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.fc = nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.Linear(6 * 16, 3)
        with torch.no_grad():
            self.norm.weight.uniform_(0.5, 2)
            self.norm.running_mean.add_(0.3)  # type: ignore[union-attr]  # statistics are tracked

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.fc(self.norm(self.conv(inputs)).relu().flatten(1))
        return outputs


@pytest.fixture
def network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Network()


def prune(network: nn.Module, data: Data, name: str, **settings: Any) -> Pruned:
    takes = METHODS[name].takes
    size = {"density": 0.4} if "density" in takes else {"budget": "macs=50%"} if "budget" in takes else {}
    return bp.prune(network, data, name, **{"epochs": 0, "batch_size": 50, **OWN.get(name, {}), **size, **settings})


@pytest.mark.parametrize(
    "name", [name for name in METHODS if name not in LEARNING | AVERAGING | {"ntt", "layer-sparsity"}]
)
def test_weights_stay_as_they_are_or_become_zero(
    network: nn.Module, name: str, small_data: Data, tmp_path: Path
) -> None:
    pruned = prune(network, small_data, name)
    before, after = network.state_dict(), pruned.network.state_dict()
    assert pruned.history == [] and pruned.seconds == 0 and pruned.macs_ratio is None
    if pruned.kept["conv"] != list(range(6)):
        assert pruned.evaluation.macs <= 0.5 * sum(layer.macs for layer in pruned.dense_layers)
        assert torch.equal(after["conv.weight"], before["conv.weight"][pruned.kept["conv"]])
        assert torch.equal(after["norm.running_mean"], before["norm.running_mean"][pruned.kept["conv"]])
        return
    masks = pruned.masks if name != "layer-obs" else {}  # whose survivors make up for the others
    for key, value in after.items():
        if name != "layer-obs" or not key.endswith("weight"):
            assert torch.equal(value, before[key] * masks[key] if key in masks else before[key])
    if name != "dense":
        assert sum(int(mask.sum()) for mask in pruned.masks.values()) == round(0.4 * (54 + 288))
    assert pruned.evaluation.accuracy == evaluate(pruned.network, small_data).accuracy
    pruned.save(tmp_path)
    assert bp.load(tmp_path, factory=Network).result() == pruned.result()


@pytest.mark.parametrize(("name", "units"), [("random", 0), ("taylor", 0), ("ntt", 2)])
def test_channels_are_removed_without_training(network: nn.Module, name: str, units: int, small_data: Data) -> None:
    plain = nn.Sequential(nn.Flatten(), nn.Linear(36, 12), nn.ReLU(), nn.Linear(12, 3))
    pruned = prune(plain, small_data, name, density=None, budget="macs=50%")
    assert pruned.evaluation.macs <= 0.5 * (36 * 12 + 12 * 3)
    assert len(pruned.history) == (1 if units else 0)  # the transfer, which sees no labels


@pytest.mark.parametrize("training", ["plain", "adam"])
@pytest.mark.parametrize("rounds", [{}, {"schedule": "cubic", "rounds": 3}])
def test_other_kinds_of_training_make_no_step_either(
    network: nn.Module, training: str, rounds: dict[str, Any], small_data: Data
) -> None:
    assert prune(network, small_data, "magnitude", training=training, **rounds).history == []
    assert prune(network, small_data, "dense", training=training).history == []


def test_methods_that_learn_what_to_remove_say_what_to_give(network: nn.Module, small_data: Data) -> None:
    with pytest.raises(SettingError, match="epochs=0 leaves none: give epochs=1 or more, or a method that"):
        bp.prune(network, small_data, "parsimonious", epochs=0, batch_size=50)
    with pytest.raises(SettingError, match="epochs=0 is too few: .* give epochs=2 or more"):
        prune(network, small_data, "lottery", rate=0.7)
    assert prune(network, small_data, "lottery", rate=0.7, epochs=2).history[-1]["epoch"] == 2
    with pytest.raises(SettingError, match="epochs must be an integer >= 0, not -1"):
        prune(network, small_data, "dense", epochs=-1)


def test_no_epoch_after_pruning_is_said(network: nn.Module, small_data: Data) -> None:
    """One epoch comes before pruning and none after it; with two there is one of each."""
    with pytest.warns(PruningWarning, match="no epoch is left to train in after pruning"):
        pruned = bp.prune(network, small_data, "magnitude", density=0.4, epochs=1, batch_size=50)
    assert len(pruned.warnings) == 1
    assert bp.prune(network, small_data, "magnitude", density=0.4, epochs=2, batch_size=50).warnings == ()
