"""What a run masked stays zero: in the result, on disk, in the user's own training and in the next run."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import bayesprune as bp
from bayesprune.data import Data
from bayesprune.errors import BudgetError, SettingError, StoreError
from bayesprune.models import LeNet300
from bayesprune.run.networks import NetworkSpec
from bayesprune.run.pruned import Pruned
from bayesprune.run.running import initial_network
from bayesprune.structure import SelectChannels
from bayesprune.training.masks import attached_masks

WEIGHTS = {"fc1.weight": 12 * 36, "fc2.weight": 8 * 12, "fc3.weight": 3 * 8}


def network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return LeNet300((12, 8), (1, 6, 6), 3)


def prune(start: nn.Module | Pruned, data: Data, name: str, **settings: Any) -> Pruned:
    return bp.prune(start, data, name, **{"epochs": 2, "batch_size": 50, **settings})


@pytest.fixture(scope="module")
def masked(small_data: Data) -> Pruned:
    """Magnitude pruning to 30 % of 552 weights: 166 are left."""
    return prune(network(), small_data, "magnitude", density=0.3, least=1)


def zeros(network: nn.Module) -> dict[str, Tensor]:
    """Where the weights of linear layers are 0, by name without the selectors'."""
    names = {name: m for name, m in network.named_modules() if isinstance(m, nn.Linear)}
    return {f"{name.removesuffix('.layer')}.weight": m.weight == 0 for name, m in names.items()}


def inside(former: dict[str, Tensor], network: nn.Module) -> bool:
    """Whether everything that was 0 is 0."""
    return all(bool(now[former[name]].all()) for name, now in zeros(network).items())


def test_masks_are_offered_by_name_and_are_where_the_weights_may_be(masked: Pruned) -> None:
    assert {name: mask.numel() for name, mask in masked.masks.items()} == WEIGHTS
    assert all(mask.dtype == torch.bool for mask in masked.masks.values())
    assert sum(int(mask.sum()) for mask in masked.masks.values()) == round(0.3 * 552)
    for name, mask in masked.masks.items():
        assert torch.equal(masked.network.get_parameter(name) == 0, ~mask)


def test_methods_that_mask_nothing_offer_none(small_data: Data) -> None:
    for name, settings in (("dense", {}), ("l1-units", {"budget": "macs=50%"})):
        assert prune(network(), small_data, name, **settings).masks == {}


def test_masks_come_back_from_disk(masked: Pruned, small_data: Data, tmp_path: Path) -> None:
    masked.save(tmp_path)
    again = bp.load(tmp_path)
    assert {name: mask.tolist() for name, mask in again.masks.items()} == {
        name: mask.tolist() for name, mask in masked.masks.items()
    }
    assert set(attached_masks(again.network)) == set(WEIGHTS)
    assert inside(zeros(masked.network), prune(again, small_data, "dense").network)
    # A file of another network's masks is refused; a run without masks leaves none of an earlier one behind.
    save_file({"fc1.weight": torch.ones(3, dtype=torch.bool)}, tmp_path / "masks.safetensors")
    with pytest.raises(StoreError, match="masks.safetensors is damaged or was changed"):
        bp.load(tmp_path)
    prune(network(), small_data, "dense").save(tmp_path)
    assert bp.load(tmp_path).masks == {}


def test_networks_without_groups_come_back_from_disk(small_data: Data, tmp_path: Path) -> None:
    def make() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(36, 8), nn.LayerNorm(8), nn.Linear(8, 3))

    pruned = prune(make(), small_data, "magnitude", density=0.3)
    pruned.save(tmp_path)
    again = bp.load(tmp_path, factory=make)
    inputs = next(iter(small_data.test.batches(9)))[0]
    assert torch.equal(again.network(inputs), pruned.network(inputs)) and set(again.masks) == {"1.weight", "3.weight"}


def test_fine_tuning_keeps_the_zeros(masked: Pruned, small_data: Data) -> None:
    pruned, (inputs, labels) = deepcopy(masked), next(iter(small_data.train.batches(50)))
    before, start = zeros(pruned.network), deepcopy(pruned.network.state_dict())
    optimizer = torch.optim.AdamW(pruned.network.parameters(), 1e-2)
    handle = pruned.hold_masks(optimizer)
    for _ in range(3):
        optimizer.zero_grad()
        cross_entropy(pruned.network(inputs), labels).backward()
        optimizer.step()
    assert all(torch.equal(now, before[name]) for name, now in zeros(pruned.network).items())
    assert not torch.equal(pruned.network.state_dict()["fc1.weight"], start["fc1.weight"])
    handle.remove()
    with pytest.raises(SettingError, match="make it from pruned.network.parameters"):
        pruned.hold_masks(torch.optim.SGD(network().parameters(), 0.1))


AGAIN: dict[str, dict[str, Any]] = {
    "dense": {}, "magnitude": {"density": 0.2}, "random": {"density": 0.2}, "snip": {"density": 0.2},
    "layer-obs": {"density": 0.2, "least": 1}, "lottery": {"density": 0.2, "rate": 0.85, "least": 1},
    "set": {"density": 0.2, "every": 1, "fraction": 0.9, "least": 1},
    "rigl": {"density": 0.2, "every": 1, "fraction": 0.9, "least": 1},
    "ntt": {"density": 0.2, "steps": 6, "every": 2, "least": 1}, "l1-units": {"budget": "macs=50%"},
    "magnitude fresh": {"density": 0.2, "control": "fresh", "prune_share": 0},
    "magnitude glorot": {"density": 0.2, "initial": "glorot", "prune_share": 0},
    "parsimonious": {"horizon": 12, "shrink_every": 3, "prune_share": 0.5},
}  # fmt: skip


@pytest.mark.parametrize("name", AGAIN)
def test_pruning_a_pruned_network_keeps_its_zeros(masked: Pruned, small_data: Data, name: str) -> None:
    before, state = zeros(masked.network), deepcopy(masked.network.state_dict())
    given = masked.network if name == "magnitude" else deepcopy(masked.network) if name == "dense" else masked
    again = prune(given, small_data, name.split()[0], **AGAIN[name])
    if again.groups and any(len(group.kept) < group.size for group in again.groups):
        kept = {group.name: group.kept for group in again.groups}
        before["fc1.weight"] = before["fc1.weight"][kept["fc1"]][:, kept["inputs"]]
        before["fc2.weight"] = before["fc2.weight"][kept["fc2"]][:, kept["fc1"]]
        before["fc3.weight"] = before["fc3.weight"][:, kept["fc2"]]
    assert inside(before, again.network)
    assert all(torch.equal(value, state[key]) for key, value in masked.network.state_dict().items())
    assert set(attached_masks(again.network)) == set(again.masks)
    if "density" in AGAIN[name]:
        assert sum(int(mask.sum()) for mask in again.masks.values()) == round(0.2 * 552)


@pytest.mark.parametrize("name", ["magnitude", "ntt"])
def test_controls_that_would_bring_pruned_weights_back_are_refused(masked: Pruned, small_data: Data, name: str) -> None:
    for control in ("shuffle", "shuffle-inputs"):
        with pytest.raises(SettingError, match=f"control='{control}' moves masks about"):
            prune(masked, small_data, name, density=0.2, control=control, prune_share=0)


@pytest.mark.parametrize("name", ["magnitude", "set", "ntt"])
def test_a_density_above_what_is_left_is_refused(masked: Pruned, small_data: Data, name: str) -> None:
    own = {"steps": 6} if name == "ntt" else {}
    with pytest.raises(BudgetError, match="166 of 552 are left.* give a density from 0.001.* to 0.30072464"):
        prune(masked, small_data, name, density=0.5, **own)
    assert prune(masked, small_data, name, density=0.30072464, **own).result()["density"] <= 0.301


def test_a_network_that_was_trained_on_without_masks_has_none(masked: Pruned, small_data: Data) -> None:
    other = deepcopy(masked.network)
    nn.init.normal_(other.get_parameter("fc1.weight"))
    again = prune(other, small_data, "dense")
    assert set(again.masks) == {"fc2.weight", "fc3.weight"}
    assert not bool((again.network.get_parameter("fc1.weight") == 0).any())


SELECTED: dict[str, dict[str, Any]] = {
    "dense": {}, "magnitude": {"density": 0.5, "least": 1},
    "magnitude trim": {"density": 0.1, "trim": True, "least": 1},
    "l1-units": {"budget": "macs=50%"}, "ntt": {"budget": "macs=50%", "steps": 4},
    "parsimonious": {"price": 30.0, "horizon": 6, "shrink_every": 3, "prune_share": 0.5, "epochs": 4},
}  # fmt: skip


@pytest.mark.parametrize("name", SELECTED)
def test_inputs_that_are_gone_stay_gone_and_the_others_keep_their_gates(
    name: str, small_data: Data, tmp_path: Path
) -> None:
    first = prune(network(), small_data, "l1-units", budget="macs=40%")
    again = prune(first, small_data, name.split()[0], **SELECTED[name])
    left = again.kept["inputs"]
    assert set(left) <= set(first.kept["inputs"]) and (name in ("dense", "magnitude") or left != first.kept["inputs"])
    (selector,) = [m for m in again.network.modules() if isinstance(m, SelectChannels)]
    assert selector.kept.tolist() == left
    assert again.groups[0].size == 36 and again.network.get_submodule("fc1.layer").in_features == len(left)
    inputs = next(iter(small_data.test.batches(5)))[0]
    unread = torch.ones(36, dtype=torch.bool)
    unread[left] = False
    changed = inputs.flatten(1).masked_fill(unread, 7.0).view_as(inputs)
    assert torch.equal(again.network(changed), again.network(inputs))
    again.save(tmp_path)
    loaded = bp.load(tmp_path, factory=lambda: deepcopy(first.network))
    assert loaded.kept == again.kept and torch.equal(loaded.network(inputs), again.network(inputs))


def test_gates_on_selected_inputs_can_be_left_out(small_data: Data) -> None:
    first = prune(network(), small_data, "l1-units", budget="macs=40%")
    for settings in ({"inputs": "none"}, {"keep": ["inputs"]}):
        again = prune(first, small_data, "l1-units", budget="macs=60%", **settings)
        assert [group.name for group in again.groups] == ["fc1.layer", "fc2"]
        (selector,) = [m for m in again.network.modules() if isinstance(m, SelectChannels)]
        assert selector.kept.tolist() == first.kept["inputs"]


def test_weights_of_a_run_bring_their_masks(masked: Pruned, tmp_path: Path) -> None:
    spec = NetworkSpec("lenet300", {"widths": [12, 8], "input_shape": [1, 6, 6], "classes": 3})
    masked.save(tmp_path)
    assert set(attached_masks(initial_network(spec, 0, tmp_path / "network.safetensors"))) == set(WEIGHTS)
    save_file(masked.network.state_dict(), tmp_path / "alone.safetensors")
    assert attached_masks(initial_network(spec, 0, tmp_path / "alone.safetensors")) == {}


@pytest.mark.filterwarnings("ignore:.*torch.jit.* is deprecated:DeprecationWarning")
@pytest.mark.parametrize("flatten_inputs", [False, True])
def test_networks_that_select_inputs_can_be_scripted(flatten_inputs: bool, small_data: Data) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        convolutional = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(64, 6), nn.ReLU(), nn.Linear(6, 3))
    inputs = next(iter(small_data.test.batches(9)))[0]
    start = convolutional if flatten_inputs else network()
    pruned = prune(start, small_data, "l1-units", budget="macs=50%", flatten_inputs=flatten_inputs)
    assert any(isinstance(m, SelectChannels) for m in pruned.network.modules())
    torch.testing.assert_close(torch.jit.script(pruned.network)(inputs), pruned.network(inputs))
