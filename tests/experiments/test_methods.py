"""One contract for every method of the table."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import bayesprune as bp
from bayesprune.data import Data
from bayesprune.errors import BudgetError, NetworkError, SettingError, UnknownNameError
from bayesprune.experiments.methods import METHODS, method
from bayesprune.inference.multipliers.relatives import RELATIVES
from bayesprune.models import Conv4, LeNet300
from bayesprune.pruners.allocation import ALLOCATIONS
from bayesprune.pruners.controls import CONTROLS
from bayesprune.pruners.schedule import SCHEDULES
from bayesprune.run.pruned import Pruned
from bayesprune.run.settings import RunSettings

NAMES = [
    "dense", "ensemble", "mc-dropout",
    "random", "magnitude", "class-uniform", "class-distributed", "obd", "layer-obs", "snip", "logit-snip",
    "grasp", "synflow", "taylor", "slimming", "l1-units", "geometric-median", "lottery", "set", "rigl", "ntt",
    "layer-sparsity", "parsimonious", "layer-gates", "complexity-aware",
    "spike-slab", "spike-slab-flat", "ss-gl", "ss-ghs", "sv-bnn",
    "l0", "sbp", "bmrs", "vib", "sparse-vd", "bc-gnj", "bc-ghs",
]  # fmt: skip
SIZES: dict[str, dict[str, Any]] = {"density": {"density": 0.3}, "budget": {"budget": "macs=40%"}}
AVERAGING = {"ensemble", "mc-dropout"}
"""Their networks are several, or one under draws of its gates: tests/bayesprune/pruners has their contract."""
SPECIAL = {"slimming", "layer-gates"}
"""They take other networks; their contract stands below."""
RELATED = [method.name for method in RELATIVES]
OWN: dict[str, dict[str, Any]] = {
    "ensemble": {"members": 2},
    "mc-dropout": {"draws": 3},
    "parsimonious": {"horizon": 12, "shrink_every": 3, "prune_share": 0.5},
    "layer-gates": {"horizon": 12, "shrink_every": 3, "prune_share": 0.5},
    "complexity-aware": {"horizon": 12, "shrink_every": 3, "prune_share": 0.5},
    "spike-slab": {"prune_share": 0.5, "quiet_steps": 2, "shrink_every": 1, "closed_below": 0.2},
    "spike-slab-flat": {"horizon": 12, "shrink_every": 3, "prune_share": 0.5},
    **{
        name: {"prune_share": 0.5, "quiet_steps": 2, "shrink_every": 1, "closed_below": 0.2}
        for name in ("ss-gl", "ss-ghs")
    },
    "sv-bnn": {"prune_share": 0.5},
    **{name: {"prune_share": 0.5, "quiet_steps": 2, "shrink_every": 1} for name in RELATED},
    "lottery": {"rate": 0.7},  # one round
    "set": {"every": 2},
    "rigl": {"every": 2},
    "ntt": {"steps": 5, "every": 2},
    "layer-sparsity": {"strength": 1e-4},  # nothing goes: tests/bayesprune/layers has what does
}
COLUMNS = {
    "method", "seed", "accuracy", "nll", "ece", "brier", "task", "metrics", "recalls", "params", "dense_params",
    "nonzero_weights", "macs", "latency_ms",
    "density", "architecture", "undecided_gates", "decided_at_end", "closed_by_price", "cut_for_budget", "reopened",
    "train_seconds", "train_macs_ratio",
    "unattributed_macs",
}  # fmt: skip


def perceptron(seed: int = 0) -> LeNet300:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LeNet300((12, 8), (1, 6, 6), 3)


def convolutional() -> Conv4:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Conv4((4, 4, 5, 5, 7, 6), (1, 6, 6), 3)


class Convolutional(nn.Module):
    """A network of the user's own, with batch normalisation and flattened maps."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.fc1, self.fc2 = nn.Linear(6 * 9, 10), nn.Linear(10, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        maps = nn.functional.max_pool2d(self.norm(self.conv(inputs)), 2).relu()
        outputs: Tensor = self.fc2(self.fc1(maps.flatten(1)).relu())
        return outputs


class Residual(Convolutional):
    """With a branch that adds to the maps."""

    def __init__(self) -> None:
        super().__init__()
        self.branch = nn.Sequential(nn.Conv2d(6, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 6, 3, padding=1))

    def forward(self, inputs: Tensor) -> Tensor:
        maps = self.norm(self.conv(inputs))
        maps = nn.functional.max_pool2d((maps + self.branch(maps)).relu(), 2)
        outputs: Tensor = self.fc2(self.fc1(maps.flatten(1)).relu())
        return outputs


def network_for(name: str) -> nn.Module:
    """Slimming needs batch normalisation, layer gates need a skip."""
    if name not in SPECIAL:
        return perceptron()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Residual() if name == "layer-gates" else Convolutional()


def settings_of(name: str) -> dict[str, Any]:
    """Two epochs, with the first size that the method needs."""
    size = SIZES[sorted(METHODS[name].needs)[0]] if METHODS[name].needs else {}
    return {"epochs": 2, "batch_size": 50, **size, **OWN.get(name, {})}


def pruned_by(name: str, data: Data, network: nn.Module | None = None, **settings: Any) -> Pruned:
    return bp.prune(network or network_for(name), data, name, **settings_of(name) | settings)


def weights(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def assert_equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_the_table_has_the_methods_and_their_names() -> None:
    assert list(METHODS) == NAMES
    assert all(method(name).name == name and method(name).summary for name in NAMES)
    with pytest.raises(UnknownNameError, match="unknown method 'magnitud': did you mean 'magnitude'?"):
        method("magnitud")


def test_the_page_on_pruning_tells_of_every_deterministic_method() -> None:
    page = (Path(__file__).parents[2] / "docs" / "pruning.md").read_text()
    rows = {line.split("`")[1] for line in page.splitlines() if line.startswith("| `")}
    variational = {
        "parsimonious",
        "layer-gates",
        "complexity-aware",
        "spike-slab",
        "spike-slab-flat",
        "ss-gl",
        "ss-ghs",
        "sv-bnn",
        *RELATED,
    }
    assert set(NAMES) - AVERAGING - {"dense"} - variational <= rows
    assert {*ALLOCATIONS, *SCHEDULES, *CONTROLS} <= set(re.findall(r"[`=]([a-z-]+)`", page))


@pytest.mark.parametrize("make", [perceptron, convolutional])
@pytest.mark.parametrize("name", [name for name in NAMES if name not in AVERAGING | SPECIAL])
def test_contract(name: str, make: Callable[[], nn.Module], small_data: Data, tmp_path: Path) -> None:
    network = make()
    before, outside = weights(network), torch.get_rng_state()
    threads = torch.get_num_threads()
    pruned = pruned_by(name, small_data, network)

    # The user's own network and the process are as they were.
    assert_equal(weights(network), before)
    assert torch.equal(torch.get_rng_state(), outside) and torch.get_num_threads() == threads

    # A plain network that takes the full input.
    inputs, _ = next(iter(small_data.test.batches(60)))
    outputs = pruned.network(inputs)
    assert outputs.shape == (60, 3) and bool(torch.isfinite(outputs).all())
    assert not pruned.network.training
    assert not any(m._forward_pre_hooks or m._forward_hooks for m in pruned.network.modules())

    # Exactly the columns of the issue, all of them finite.
    row = pruned.result()
    assert set(row) - {"warnings"} == COLUMNS and list(row)[:2] == ["method", "seed"] and row["method"] == name
    numbers = [value for value in row.values() if isinstance(value, int | float)]
    assert all(torch.isfinite(torch.tensor(numbers, dtype=torch.float64)))
    assert 0 <= row["accuracy"] <= 1 and 0 < row["density"] <= 1 and row["undecided_gates"] == 0
    assert row["params"] == sum(parameter.numel() for parameter in pruned.network.parameters())
    # Dense training is 1; second derivatives and tangent kernels cost many times that of so short a training.
    scored = name in ("obd", "layer-obs", "grasp", "synflow", "snip", "logit-snip", "taylor", "ntt")
    assert 0 < row["train_macs_ratio"] <= (float("inf") if scored else 3) and row["train_seconds"] > 0
    assert name != "dense" or row["train_macs_ratio"] == pytest.approx(1.0)

    # What was kept fits the shapes.
    sizes = {"fc1": 12, "fc2": 8} if make is perceptron else {"conv1": 4, "conv4": 5, "fc1": 7}
    for group, size in sizes.items():
        kept = pruned.kept[group]
        assert kept == sorted(set(kept)) and 1 <= len(kept) <= size and kept[-1] < size
        layer = pruned.network.get_submodule(group)
        weight = getattr(layer, "layer", layer).get_parameter("weight")
        assert weight.shape[0] == len(kept) == row["architecture"][group]

    # Two epochs on all sides; the five steps of tangent transfer come before them, in batches of their own.
    before_them = [record for record in pruned.history if record["phase"] == "transfer"]
    assert [record["steps"] for record in before_them] == ([4, 1] if name == "ntt" else [])
    assert [record["epoch"] for record in pruned.history] == list(range(1, len(before_them) + 3))
    assert sum(record["steps"] for record in pruned.history[len(before_them) :]) == 10

    # It comes back from the disk as the same function.
    again = bp.load(pruned.save(tmp_path / "run"))
    assert torch.equal(again.network(inputs), outputs)
    assert again.kept == pruned.kept and again.result() == row and again.history == pruned.history
    assert (again.posterior is None) == (pruned.posterior is None)


def test_contract_of_slimming(small_data: Data) -> None:
    network = network_for("slimming")
    before = weights(network)
    pruned = pruned_by("slimming", small_data, network)
    assert_equal(weights(network), before)
    inputs, _ = next(iter(small_data.test.batches(60)))
    assert pruned.network(inputs).shape == (60, 3) and set(pruned.result()) - {"warnings"} == COLUMNS
    dense = sum(layer.macs for layer in pruned.dense_layers)
    assert pruned.result()["macs"] <= 0.4 * dense and len(pruned.kept["conv"]) < 6
    with pytest.raises(NetworkError, match="batch normalisation"):
        pruned_by("slimming", small_data, perceptron())


@pytest.mark.parametrize("price", [1e-3, 1e4])
def test_contract_of_layer_gates(price: float, small_data: Data, tmp_path: Path) -> None:
    network = network_for("layer-gates")
    before, outside = weights(network), torch.get_rng_state()
    pruned = pruned_by("layer-gates", small_data, network, price=price)
    assert_equal(weights(network), before)
    assert torch.equal(torch.get_rng_state(), outside)
    inputs, _ = next(iter(small_data.test.batches(60)))
    outputs = pruned.network(inputs)
    assert outputs.shape == (60, 3) and set(pruned.result()) - {"warnings"} == COLUMNS
    assert not pruned.network.training
    assert not any(m._forward_pre_hooks or m._forward_hooks for m in pruned.network.modules())
    gone = price > 1
    assert (pruned.kept["branch.section"] == []) == (pruned.kept["branch.0"] == []) == gone
    assert pruned.result()["params"] == pruned.result()["dense_params"] - gone * (6 * 36 + 4 + 6 * 36 + 6)
    again = bp.load(pruned.save(tmp_path / "run"), factory=Residual)
    assert torch.equal(again.network(inputs), outputs)
    assert again.kept == pruned.kept and again.result() == pruned.result() and again.history == pruned.history
    with pytest.raises(NetworkError, match="no section"):
        pruned_by("layer-gates", small_data, perceptron())


CHANGES: list[dict[str, Any]] = [
    {"seed": 6}, {"learning_rate": 0.03}, {"noise": 0.7}, {"consistency": 3.0}, {"batch_size": 20}
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_one_seed_one_result_and_no_setting_of_the_training_is_ignored(name: str, small_data: Data) -> None:
    one, same = (pruned_by(name, small_data) for _ in range(2))
    first = weights(one.network)
    assert_equal(first, weights(same.network))
    assert one.kept == same.kept
    for change in CHANGES:
        second = weights(pruned_by(name, small_data, **change).network)
        assert first.keys() != second.keys() or any(
            value.shape != second[key].shape or not torch.equal(value, second[key]) for key, value in first.items()
        ), change


@pytest.mark.parametrize("name", ["random", "snip", "logit-snip", "grasp", "synflow", "set", "rigl", "ntt"])
def test_before_training_the_learning_rate_is_that_of_the_only_phase(name: str, small_data: Data) -> None:
    one = pruned_by(name, small_data, learning_rate=0.03)
    other = pruned_by(name, small_data, fixed_learning_rate=0.03)
    both = pruned_by(name, small_data, fixed_learning_rate=0.03, learning_rate=0.5)  # the option's is nearer
    assert_equal(weights(one.network), weights(other.network))
    assert_equal(weights(both.network), weights(other.network))


@pytest.mark.parametrize("name", NAMES)
def test_a_size_that_a_method_cannot_use_is_refused(name: str, small_data: Data, tmp_path: Path) -> None:
    takes = METHODS[name].takes
    for size, value in (("density", 0.3), ("budget", "macs=40%"), ("price", 3.0)):
        if size not in takes:
            plain = {key: v for key, v in settings_of(name).items() if key not in ("density", "budget")}
            with pytest.raises(SettingError, match=f"method '{name}' cannot use {size}=.*: it takes ") as caught:
                bp.prune(perceptron(), small_data, name, checkpoint=tmp_path / "state", **plain | {size: value})
            can = [one for one in ("density", "budget", "price") if one in takes]
            assert all(f"{one}=..." in str(caught.value) for one in can)
    if METHODS[name].needs:
        with pytest.raises(SettingError, match=f"method '{name}' needs a size: give "):
            bp.prune(perceptron(), small_data, name, epochs=2, checkpoint=tmp_path / "state")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", NAMES)
def test_an_option_that_a_method_does_not_have_is_refused(name: str, small_data: Data) -> None:
    with pytest.raises(SettingError, match="slap.*slab"):
        pruned_by(name, small_data, slap=1.0)
    for word in ("method", "usual"):  # names in classes of options that are no options
        with pytest.raises(SettingError, match=f"'{word}'"):
            METHODS[name].normal(RunSettings(name, options={word: "x"}))


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("magnitude", {"density": 1e-9}), ("class-uniform", {"density": 1e-9}), ("random", {"density": 1e-9}),
        ("l1-units", {"budget": "macs=3"}), ("random", {"budget": "params=1"}),
        ("parsimonious", {"budget": "macs=3"}), ("parsimonious", {"price": -1.0}),
        ("l1-units", {"budget": "macs=0"}), ("parsimonious", {"price": "fc9"}),
        ("spike-slab-flat", {"budget": "macs=3"}), ("spike-slab-flat", {"price": 0}),
        ("ntt", {"density": 1e-9}), ("ntt", {"density": 0.01}), ("ntt", {"budget": "macs=3"}),
    ],
)  # fmt: skip
def test_what_no_network_meets_is_refused_before_anything_is_written(
    name: str, size: dict[str, Any], small_data: Data, tmp_path: Path
) -> None:
    with pytest.raises(BudgetError):
        bp.prune(perceptron(), small_data, name, epochs=2, checkpoint=tmp_path / "state", **size)
    assert list(tmp_path.iterdir()) == []


WEIGHT_METHODS = [name for name in NAMES if "density" in METHODS[name].takes]


@pytest.mark.parametrize("name", WEIGHT_METHODS)
def test_the_asked_number_of_weights_is_kept(name: str, small_data: Data) -> None:
    pruned = pruned_by(name, small_data, density=0.3, budget=None, epochs=3)
    masses = {"fc1.weight": 12 * 36, "fc2.weight": 8 * 12, "fc3.weight": 3 * 8}
    left = {key: int(torch.count_nonzero(pruned.network.get_parameter(key))) for key in masses}
    asked = round(0.3 * sum(masses.values()))
    # A weight that grew at 0 stays there where its unit is dead.
    assert sum(left.values()) == asked or (name in ("set", "rigl") and 0.8 * asked < sum(left.values()) < asked)
    if name in ("class-uniform", "layer-obs", "ntt"):
        assert all(abs(left[key] - 0.3 * total) <= 1 for key, total in masses.items())
    assert pruned.result()["nonzero_weights"] == sum(left.values())
    assert pruned.result()["macs"] == sum(masses.values())


def test_random_differs_by_seed_and_not_by_anything_else(small_data: Data) -> None:
    structures = [
        pruned_by("random", small_data, density=None, budget="macs=40%", seed=seed).kept for seed in (0, 0, 1, 2)
    ]
    assert structures[0] == structures[1]
    assert structures[0] != structures[2] != structures[3]
    masked = [pruned_by("random", small_data, density=0.3, budget=None, seed=seed).network for seed in (0, 0, 1)]
    one, same, other = (network.get_parameter("fc1.weight") == 0 for network in masked)
    assert torch.equal(one, same) and not torch.equal(one, other)


def test_random_weights_are_not_chosen_by_their_initial_values(small_data: Data) -> None:
    # Both come from the seed, and must not come from the same stream of numbers.
    network = perceptron(seed=4)
    pruned = pruned_by("random", small_data, network, density=0.5, budget=None, seed=4)
    chosen = torch.ne(pruned.network.get_parameter("fc1.weight"), 0).flatten()
    initial = network.fc1.weight.detach().flatten()
    assert abs(float(initial[chosen].mean() - initial[~chosen].mean())) < 0.25 * float(initial.std())


@pytest.mark.parametrize("name", ["random", "ntt"])
def test_methods_for_weights_and_for_channels_take_one_size_only(name: str, small_data: Data) -> None:
    with pytest.raises(SettingError, match="density=... or budget=..., not both"):
        pruned_by(name, small_data, density=0.3, budget="macs=40%")


@pytest.mark.parametrize(
    "name", ["l1-units", "geometric-median", "taylor", "random", "ntt", "parsimonious", "spike-slab-flat"]
)
@pytest.mark.parametrize("budget", ["macs=40%", "macs=200", "params=150"])
def test_a_budget_is_kept(name: str, budget: str, small_data: Data) -> None:
    pruned = pruned_by(name, small_data, density=None, budget=budget)
    result = pruned.result()
    limit = {"macs=40%": 0.4 * 552, "macs=200": 200, "params=150": 150}[budget]
    spent = result[budget.partition("=")[0]]
    assert spent <= limit
    if name not in ("parsimonious", "spike-slab-flat"):
        assert spent > limit / 3
