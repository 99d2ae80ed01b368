"""Methods that remove no channels train networks whose channels cannot be removed; the others name the layer."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import bayesprune as bp
from bayesprune.data import Data
from bayesprune.errors import NetworkError, SettingError, UnknownNameError, UnsupportedLayerError
from bayesprune.experiments.methods import METHODS
from bayesprune.training import objectives

Make = Callable[[], nn.Module]
NOTHING = torch.zeros(0, dtype=torch.long)


class Unknown(nn.Module):
    """Changes nothing, by an operator of which nobody knows what it does to channels."""

    def forward(self, features: Tensor) -> Tensor:
        return features.index_fill(-1, NOTHING, 0.0)


def layer_norms() -> nn.Module:
    """A perceptron with LayerNorm after every layer."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(36, 12), nn.LayerNorm(12), nn.GELU(), Unknown(), nn.Linear(12, 8), nn.LayerNorm(8),
        nn.ReLU(), nn.Linear(8, 3),
    )  # fmt: skip


def group_norms() -> nn.Module:
    """A convolution before GroupNorm, and one in groups."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.GroupNorm(4, 8), nn.ReLU(), Unknown(), nn.Conv2d(8, 8, 3, groups=2), nn.ReLU(),
        nn.Flatten(), nn.Linear(32, 3),
    )  # fmt: skip


class Tied(nn.Module):
    """Two layers share one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2, self.out = nn.Linear(36, 36), nn.Linear(36, 36), nn.Linear(36, 3)
        self.fc2.weight, self.unknown = self.fc1.weight, Unknown()

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.out(self.fc2(self.unknown(self.fc1(inputs.flatten(1)).relu())).relu())
        return logits


class Attention(nn.Module):
    """The rows of an image attend to each other."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.norm = nn.Linear(6, 8), nn.LayerNorm(8)
        self.attention, self.out = nn.MultiheadAttention(8, 2, batch_first=True), nn.Linear(8, 3)
        self.unknown = Unknown()

    def forward(self, inputs: Tensor) -> Tensor:
        rows = self.unknown(self.norm(self.embed(inputs.flatten(1, 2))))
        logits: Tensor = self.out((rows + self.attention(rows, rows, rows)[0]).mean(1))
        return logits


NETWORKS: dict[str, Make] = {
    "layer norms": layer_norms, "group norms": group_norms, "tied": Tied, "attention": Attention,
}  # fmt: skip
OWN: dict[str, dict[str, Any]] = {
    "synflow": {"rounds": 3, "least": 1}, "lottery": {"rate": 0.7}, "ntt": {"steps": 2, "transfer_batch": 20},
}  # fmt: skip
MASKING = ["dense", *(name for name, method in METHODS.items() if "density" in method.takes)]
# The layer-wise surgeon needs each layer's inputs: no convolution in groups, and no layer that attention reads itself.
CANNOT = {("group norms", "layer-obs"), ("attention", "layer-obs")}


def pruned_by(name: str, network: nn.Module, data: Data, **settings: Any) -> Any:
    size = {"density": 0.4, "least": 1} if "density" in METHODS[name].takes else {}
    usual = {"epochs": 2 if name == "lottery" else 1, "batch_size": 50}
    return bp.prune(network, data, name, **{**usual, **size, **OWN.get(name, {}), **settings})


@pytest.mark.parametrize("name", MASKING)
@pytest.mark.parametrize("kind", NETWORKS)
def test_methods_that_remove_no_channels_take_any_network(kind: str, name: str, small_data: Data) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = NETWORKS[kind]()
    if (kind, name) in CANNOT:
        with pytest.raises(NetworkError, match="use .*magnitude"):
            pruned_by(name, network, small_data)
        return
    pruned = pruned_by(name, network, small_data)
    assert pruned.groups == () and pruned.kept == {} and pruned.result()["architecture"] == {}
    assert pruned.history[-1]["alive"] == {}
    weights = {id(m.weight): m.weight for m in pruned.network.modules() if isinstance(m, nn.Linear | nn.Conv2d)}
    alive = sum(int(weight.count_nonzero()) for weight in weights.values())
    total = sum(weight.numel() for weight in weights.values())
    share = 1.0 if name == "dense" else 0.4
    assert alive == pytest.approx(share * total, abs=0.05 * total if name in ("set", "rigl") else 0.5)


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("l1-units", {"budget": "macs=50%"}), ("random", {"budget": "macs=50%"}), ("ntt", {"budget": "macs=50%"}),
        ("parsimonious", {}), ("magnitude", {"density": 0.4, "trim": True}), ("ntt", {"density": 0.4, "trim": True}),
        ("lottery", {"density": 0.4, "trim": True}),
    ],
)  # fmt: skip
def test_who_removes_channels_is_told_which_layer_forbids_it(
    kind: str, name: str, settings: dict[str, Any], small_data: Data
) -> None:
    with pytest.raises(UnsupportedLayerError, match=r"keep=\["):
        bp.prune(NETWORKS[kind](), small_data, name, epochs=2, batch_size=50, **settings)


def test_no_noise_is_put_on_a_network_without_groups(small_data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("no gates to put noise on")

    monkeypatch.setattr(objectives, "Gating", fail)
    torch.manual_seed(0)
    network = layer_norms()
    one = pruned_by("dense", network, small_data)
    other = pruned_by("dense", network, small_data, noise=0.0, consistency=0.0)
    assert all(torch.equal(v, other.network.state_dict()[k]) for k, v in one.network.state_dict().items())
    for setting in ({"noise": 0.1}, {"consistency": 0.25}):
        with pytest.raises(SettingError, match=f"{next(iter(setting))}=0.* leave out .* keep="):
            pruned_by("dense", network, small_data, **setting)


def test_a_layer_in_keep_that_is_not_there_is_still_refused(small_data: Data) -> None:
    with pytest.raises(UnknownNameError, match="layer in keep"):
        pruned_by("dense", layer_norms(), small_data, keep=["9"])


def whole() -> nn.Module:
    """A compiled perceptron; the backend runs Python only."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(36, 12), nn.ReLU(), nn.Linear(12, 3))
    compiled: Any = torch.compile(network, backend="eager")
    return compiled


def part() -> nn.Module:
    """A perceptron with a compiled layer."""
    layer: Any = torch.compile(nn.Linear(36, 12), backend="eager")
    return nn.Sequential(nn.Flatten(), layer, nn.ReLU(), nn.Linear(12, 3))


@pytest.mark.parametrize("make", [whole, part])
@pytest.mark.parametrize(
    ("name", "settings"),
    [("dense", {}), ("magnitude", {"density": 0.4}), ("l1-units", {"budget": "macs=40%"})],
)
def test_compiled_networks_come_out_plain(make: Make, name: str, settings: dict[str, Any], small_data: Data) -> None:
    network = make()
    before = list(network.modules())
    pruned = pruned_by(name, network, small_data, **settings)
    assert [type(module) for module in pruned.network] == [nn.Flatten, type(pruned.network[1]), nn.ReLU, nn.Linear]
    assert not any("_orig_mod" in key for key in pruned.network.state_dict())
    assert list(network.modules()) == before  # the user's own stays compiled
    assert set(pruned.kept) == {"inputs", "1"}
