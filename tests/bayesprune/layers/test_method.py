"""Method `layer-sparsity` in whole runs: what is removed, saved, resumed, said and refused."""

from collections.abc import Callable
from math import log, pi
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import bayesprune as bp
from bayesprune.data import Data, from_tensors
from bayesprune.errors import PruningWarning, SettingError, StoreError, UnknownNameError, UnsupportedLayerError
from bayesprune.experiments.methods import METHODS
from bayesprune.layers import find_layers
from bayesprune.models import MLP
from bayesprune.run.pruned import Pruned
from bayesprune.run.running import run
from bayesprune.run.settings import RunSettings
from bayesprune.store.runs import RunFolder, RunRecord
from bayesprune.structure.copying import copied
from bayesprune.training import Checkpointer

STRONG = {"strength": 0.5, "lam": 1e-3}
WIDTHS = (12, 11, 10, 9)


def pruned_by(data: Data, network: Any = "mlp", **given: Any) -> Pruned:
    settings = {"epochs": 8, "batch_size": 40, **STRONG} | given
    if network == "mlp":
        settings = {"widths": WIDTHS} | settings
    return bp.prune(network, data, "layer-sparsity", **settings)


def first(data: Data) -> Tensor:
    inputs: Tensor = next(iter(data.test.batches(60)))[0]
    return inputs


@pytest.fixture(scope="module")
def small(small_data: Data) -> Pruned:
    return pruned_by(small_data)


def test_layers_go_and_the_rest_is_a_smaller_network_of_the_same_kind(small: Pruned, small_data: Data) -> None:
    found = small.history[-1]["collapse"]
    assert found["gone"] == ["fc2", "fc3", "fc4"] and found["left"] == ["fc1"]
    assert type(small.network) is MLP and small.network(first(small_data)).shape == (60, 3)
    # 36-12-11-10-9-3 becomes 36-12-3: counted by hand, biases included.
    assert small.result()["params"] == 37 * 12 + 13 * 3 and small.result()["macs"] == 36 * 12 + 12 * 3
    assert small.result()["dense_params"] == 37 * 12 + 13 * 11 + 12 * 10 + 11 * 9 + 10 * 3
    assert {layer.name for layer in small.layers} == {"fc1", "fc5"}
    assert sum(layer.macs for layer in small.dense_layers) == 36 * 12 + 12 * 11 + 11 * 10 + 10 * 9 + 9 * 3
    assert small.kept.keys() == {"inputs", "fc1"} and small.kept["fc1"] == list(range(12))


def test_each_epoch_says_which_layers_are_active(small: Pruned) -> None:
    assert [one["phase"] for one in small.history] == ["fit"] * 5 + ["refit"] * 3
    assert small.history[0]["active"] == ["fc1", "fc2", "fc3", "fc4"] and small.history[0]["active_layers"] == 4
    assert set(small.history[0]["negative"]) == {"fc2", "fc3", "fc4"}
    assert small.history[-1]["active"] == ["fc1"] and small.history[-1]["negative"] == {}
    assert [one["params"] for one in small.history[4:6]] == [small.dense_params, small.result()["params"]]


def test_the_collapse_changed_nothing_and_says_so(small: Pruned) -> None:
    found = small.history[-1]["collapse"]
    assert found["before"]["accuracy"] == found["after"]["accuracy"]
    assert found["largest_change"] < 1e-5 and found["mean_change"] < 1e-5
    assert set(found["shares"]) == {"fc2", "fc3", "fc4"} and not any(found["shares"].values())


def test_it_comes_back_from_disk(small: Pruned, small_data: Data, tmp_path: Path) -> None:
    place = small.save(tmp_path / "run")
    again = bp.load(place)
    assert torch.equal(again.network(first(small_data)), small.network(first(small_data)))
    assert again.result() == small.result() and again.history == small.history and again.collapsed == small.collapsed
    rows = {row["name"]: row for row in RunRecord.read(place).layers}
    assert set(rows) == {"fc1", "fc2", "fc3", "fc4", "fc5"}
    assert rows["fc3"]["macs"] == 0 and rows["fc3"]["dense_macs"] == 110
    assert sum(layer.macs for layer in again.dense_layers) == sum(layer.macs for layer in small.dense_layers)


@pytest.mark.parametrize(
    "steps",
    [[], [{"layer": "fc2", "into": "fc9", "norm": "", "pool": "", "skip": False}], [{"chain": "relu1"}]],
    ids=str,
)
def test_a_changed_record_is_refused(small: Pruned, tmp_path: Path, steps: list[dict[str, Any]]) -> None:
    record = small.record()
    changed = RunRecord(
        **{name: getattr(record, name) for name in RunRecord.__dataclass_fields__} | {"collapsed": steps}
    )
    RunFolder(tmp_path).write_record(changed, dict(small.network.state_dict()))
    with pytest.raises(StoreError, match="do not fit the network of mlp"):
        bp.load(tmp_path)


def test_a_collapsed_network_is_pruned_further_and_loads_by_a_factory_only(
    small: Pruned, small_data: Data, tmp_path: Path
) -> None:
    again = bp.prune(small.network, small_data, "l1-units", budget="macs=50%", epochs=2, batch_size=40)
    assert again.spec is None and again.result()["macs"] <= 0.5 * small.result()["macs"]
    with pytest.raises(StoreError, match="factory"):
        bp.load(again.save(tmp_path / "run"))


class Stop(Exception):
    pass


@pytest.mark.parametrize("stop", [30, *(pytest.param(n, marks=pytest.mark.long) for n in (1, 20, 29, 31, 47))])
def test_a_killed_run_goes_on_to_the_same_numbers(small: Pruned, small_data: Data, tmp_path: Path, stop: int) -> None:
    """30 of the 48 steps are the fit; the collapse comes between."""
    settings = RunSettings("layer-sparsity", network="mlp", epochs=8, batch_size=40, widths=WIDTHS, options=STRONG)
    torch.manual_seed(0)
    network = MLP(WIDTHS, (1, 6, 6), 3)
    whole = run(METHODS["layer-sparsity"], network, small_data, settings)
    assert whole.collapsed

    def stopping(progress: Any) -> None:
        if progress.step == stop:
            raise Stop

    place = tmp_path / "state"
    with pytest.raises(Stop):
        run(METHODS["layer-sparsity"], copied(network), small_data, settings,
            checkpointer=Checkpointer(place, steps=1), progress=stopping)  # fmt: skip
    resumed = run(METHODS["layer-sparsity"], network, small_data, settings, checkpointer=Checkpointer(place, steps=1))
    assert resumed.collapsed == whole.collapsed and resumed.result()["params"] == whole.result()["params"]
    for name, value in whole.network.state_dict().items():
        assert torch.equal(resumed.network.state_dict()[name], value), name
    drop = {"seconds"}
    assert [{k: v for k, v in one.items() if k not in drop} for one in resumed.history] == [
        {k: v for k, v in one.items() if k not in drop} for one in whole.history
    ]


class Convolutional(nn.Module):
    """Batch normalisation, a residual layer, a strided convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2, self.conv3 = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 1, bias=False), nn.Conv2d(4, 5, 2, 2)
        self.norm1, self.norm2 = nn.BatchNorm2d(4), nn.BatchNorm2d(4)
        self.fc1, self.fc2 = nn.Linear(20, 6), nn.Linear(6, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        maps = self.norm1(self.conv1(inputs)).relu()
        maps = self.conv3(self.norm2(self.conv2(maps)).relu()).relu()
        outputs: Tensor = self.fc2(self.fc1(maps.flatten(1)).relu())
        return outputs


def make_convolutional(input_shape: tuple[int, ...] = (1, 6, 6), classes: int = 3) -> nn.Module:
    del input_shape, classes
    return Convolutional()


def test_convolutions_and_normalisation_go_too(small_data: Data, tmp_path: Path) -> None:
    torch.manual_seed(0)
    pruned = pruned_by(small_data, Convolutional(), initial="he", strength=1.0)
    found = pruned.history[-1]["collapse"]
    assert found["gone"] == ["conv2", "fc1"] and found["largest_change"] < 1e-4
    assert not hasattr(pruned.network.get_submodule("norm2"), "weight")
    again = bp.load(pruned.save(tmp_path / "run"), factory=make_convolutional)
    assert torch.equal(again.network(first(small_data)), pruned.network(first(small_data)))


def test_data_may_decide_with_the_change_measured(small_data: Data) -> None:
    weak = {"strength": 1e-3, "lam": 1e-3}
    assert pruned_by(small_data, **weak).history[-1]["collapse"]["gone"] == []
    with pytest.warns(PruningWarning, match="changed the outputs by .* before the refit: give a smaller eps"):
        loose = pruned_by(small_data, **weak, eps=1.0)
    found = loose.history[-1]["collapse"]
    assert found["gone"] == ["fc2", "fc3", "fc4"] and found["mean_change"] > 0.3
    assert max(found["shares"].values()) > 0.2


def test_zeros_may_stay_as_masks(small_data: Data, tmp_path: Path) -> None:
    given = {"lam": 0.05, "epochs": 12}
    free, held = (pruned_by(small_data, **given, keep_zeros=keep) for keep in (False, True))
    assert held.masks and not free.masks
    for name, mask in held.masks.items():
        assert not bool(held.network.get_parameter(name)[~mask].any())
    assert held.result()["nonzero_weights"] < free.result()["nonzero_weights"]
    again = bp.load(held.save(tmp_path / "run"))
    assert again.masks.keys() == held.masks.keys()


def test_weights_that_were_given_are_kept_at_the_start(small_data: Data) -> None:
    network = MLP(WIDTHS, (1, 6, 6), 3)
    none = {"epochs": 2, "learning_rate": 1e-12, "fixed_learning_rate": 1e-12, "strength": 0.0, "lam": 0.0}
    pruned = pruned_by(small_data, network, **none)
    assert torch.allclose(pruned.network.fc3.weight, network.fc3.weight, atol=1e-6)  # type: ignore[arg-type, union-attr]  # layers
    drawn = pruned_by(small_data, network, **none, initial="he")
    deviation = drawn.network.fc1.weight.detach().std()  # type: ignore[operator, union-attr]  # of a linear layer
    assert float(deviation) == pytest.approx((2 / 36) ** 0.5, rel=0.15)
    named = pruned_by(small_data, **none)
    assert torch.equal(named.network.fc1.bias.abs() < 1e-6, torch.ones(12, dtype=torch.bool))  # type: ignore[operator, union-attr]  # a layer


def test_a_run_that_removes_nothing_says_so(small_data: Data) -> None:
    with pytest.warns(PruningWarning, match="no layer became linear, of 'fc2', 'fc3', 'fc4': give a larger strength"):
        pruned_by(small_data, strength=1e-9, epochs=2)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"budget": "macs=40%"}, "cannot use budget.*no size: its option strength decides how many layers go"),
        ({"density": 0.5}, "removes no single weights or channels"),
        ({"strength": -1.0}, "strength must be a finite number >= 0"), ({"lam": float("nan")}, "lam must be"),
        ({"tol": -1}, "tol must be"), ({"eps": 1.5}, "eps must be a finite number >= 0 and <= 1"),
        ({"memory": 0.5}, "memory must be 0, or 1 step or more, not 0.5: give 0 for none, or 200"),
        ({"memory": -1}, "memory must be"),
        ({"warm_up": 2}, "warm_up must be"), ({"calibration": 0}, "calibration must be an integer >= 1"),
        ({"keep_zeros": 1}, "keep_zeros must be true or false"), ({"training": "adam"}, "proximal steps of its own"),
        ({"prune_share": 0.0}, "prune_share=0 leaves it no epoch"),
        ({"strength": 0, "warm_up": 0.7}, "warm_up=0.7 does nothing here, since strength=0"),
        ({"strengt": 1}, "did you mean 'strength'"),
    ],
    ids=str,
)  # fmt: skip
def test_bad_settings_are_refused(small_data: Data, given: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        pruned_by(small_data, **given)
    with pytest.raises(UnknownNameError, match="unknown initial weights 'random'"):
        pruned_by(small_data, initial="random")


def tanh() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(36, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3))


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(36, 8), nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        values = self.fc1(inputs.flatten(1)).relu()
        if values.sum() >= 0:
            values = self.fc2(values).relu()
        outputs: Tensor = self.fc3(values)
        return outputs


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (tanh, "no layer of this network can go: '1': first.*'3': what it reads may be negative .Tanh '2'.*'5':"),
        (lambda: MLP((8,), (1, 6, 6), 3), "'fc1': first matrix: what it reads may be negative; 'fc2': last matrix"),
        (Branching, "cannot be traced by torch.fx"),
        (lambda: _Loose(), "calls no plain linear layer"),
    ],
)  # fmt: skip
def test_networks_without_such_layers_are_refused(
    small_data: Data, make: Callable[[], nn.Module], message: str
) -> None:
    with pytest.raises(UnsupportedLayerError, match=message):
        pruned_by(small_data, make())


class _Loose(nn.Module):
    """Weights that no layer owns."""

    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.randn(36, 3))

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs.flatten(1) @ self.matrix


def test_epochs_of_zero_and_one(small_data: Data) -> None:
    none = pruned_by(small_data, epochs=0)
    assert none.history == [] and find_layers(none.network, first(small_data)).names[0] == "fc1"
    one = pruned_by(small_data, epochs=1, strength=100.0)
    assert [record["phase"] for record in one.history] == ["fit"]


def test_the_fit_has_noise_of_the_targets_deviation_and_the_refit_begins_with_that_of_its_errors() -> None:
    """Training split and validation split are one, so that the two likelihoods follow from the RMSE s.

    With noise of deviation 1 it is log(2 pi) / 2 + s^2 / 2, and with that of the errors log(2 pi e) / 2 + log s.
    """
    torch.manual_seed(0)
    inputs = torch.randn(200, 4)
    targets = (inputs @ torch.randn(4, 3)).relu().sum(1, keepdim=True)
    split = (inputs, (targets - targets.mean()) / targets.std(correction=0))
    data = from_tensors(*split, validation=split, test=split, task="regression")
    pruned = pruned_by(data, epochs=4, batch_size=20, strength=0.01, noise=0.0, consistency=0.0)
    fitted = [one for one in pruned.history if one["phase"] == "fit"]
    for one in fitted:
        expected = 0.5 * (log(2 * pi) + one["validation_score"] ** 2)
        assert one["validation_nll"] == pytest.approx(expected, abs=1e-3)
    found = pruned.history[-1]["collapse"]["before"]
    assert found["rmse"] == pytest.approx(fitted[-1]["validation_score"]) and found["rmse"] < 0.95
    assert found["nll"] == pytest.approx(0.5 * (log(2 * pi) + 1) + log(found["rmse"]), abs=1e-3)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(3))
def test_a_student_of_four_layers_finds_the_one_of_its_teacher(seed: int) -> None:
    """One layer is left, and predicts about as well as a network of one layer does."""
    torch.manual_seed(seed)
    inputs, first_layer, last = torch.randn(1_200, 5), torch.randn(5, 6), torch.randn(6, 1)
    targets = (inputs @ first_layer).relu() @ last
    targets = targets / targets.std() + 0.1 * torch.randn(1_200, 1)
    cuts = [(inputs[a:b], targets[a:b]) for a, b in ((0, 800), (800, 1_000), (1_000, 1_200))]
    data = from_tensors(*cuts[0], validation=cuts[1], test=cuts[2], task="regression")
    quiet: dict[str, Any] = {"epochs": 60, "batch_size": 50, "noise": 0.0, "consistency": 0.0, "seed": seed}
    shallow = bp.prune("mlp", data, "dense", widths=(20,), **quiet).evaluation.metrics["rmse"]
    quiet |= {"strength": 0.1, "lam": 4e-4, "learning_rate": 0.01}
    deep = bp.prune("mlp", data, "layer-sparsity", widths=(20,) * 4, **quiet)
    assert deep.history[-1]["active"] == ["fc1"] and deep.history[-1]["collapse"]["mean_change"] < 1e-4
    error = deep.evaluation.metrics["rmse"]
    assert shallow is not None and error is not None and error < 1.5 * shallow
