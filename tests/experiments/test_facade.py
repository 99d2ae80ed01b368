"""The front door: what `import bayesprune` offers."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import bayesprune as bp
from bayesprune.data import Data
from bayesprune.errors import DataError, DivergenceError, NetworkError, SettingError, StoreError, UnknownNameError
from bayesprune.models import LeNet300
from bayesprune.training import Progress


def small() -> LeNet300:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return LeNet300((12, 8), (1, 6, 6), 3)


QUICK: dict[str, Any] = {"epochs": 2, "batch_size": 50}


def test_ten_lines(small_data: Data, tmp_path: Path) -> None:
    steps: list[int] = []
    pruned = bp.prune(small(), small_data, budget="macs=50%", progress=lambda now: steps.append(now.step), **QUICK)
    assert pruned.settings.method == "parsimonious" and pruned.settings.network == "lenet300"
    assert steps == list(range(1, 11))
    assert pruned.posterior is not None and sum(map(len, pruned.kept.values())) < 56
    again = bp.load(pruned.save(tmp_path / "small"))
    assert again.kept == pruned.kept


def test_settings_and_options_are_told_apart(small_data: Data) -> None:
    pruned = bp.prune(
        small(), small_data, "l1-units", budget="macs=50%", prune_share=0.5, options={"slab": 2.0}, keep=["fc1"],
        seed=3, **QUICK,
    )  # fmt: skip
    assert pruned.settings.options == {"prune_share": 0.5, "slab": 2.0}
    assert pruned.settings.keep == ("fc1",) and pruned.settings.seed == 3
    assert pruned.settings.data == "small" and list(pruned.kept) == ["inputs", "fc2"]


def test_names_of_networks(small_data: Data) -> None:
    own = nn.Sequential(nn.Flatten(), nn.Linear(36, 5), nn.ReLU(), nn.Linear(5, 3))
    assert bp.prune(own, small_data, "dense", **QUICK).settings.network == "Sequential"
    assert bp.prune(small(), small_data, "dense", **QUICK).settings.network == "lenet300"


class Own(nn.Sequential):
    """A network of the user's own, made for the data."""

    def __init__(self, input_shape: tuple[int, ...], classes: int) -> None:
        super().__init__(nn.Flatten(), nn.Linear(math.prod(input_shape), 6), nn.ReLU(), nn.Linear(6, classes))


@pytest.mark.parametrize("network", ["mlp", bp.models.MLP, Own, lambda classes: Own((1, 6, 6), classes)])
def test_the_seed_draws_the_weights_of_a_name_a_class_or_a_function(network: Any, small_data: Data) -> None:
    def weights(seed: int) -> list[Tensor]:
        torch.randn(3)  # the state of the global generator plays no part
        return [*bp.prune(network, small_data, "dense", seed=seed, **QUICK).network.state_dict().values()]

    first, again, other = weights(0), weights(0), weights(1)
    assert all(map(torch.equal, first, again)) and not any(map(torch.equal, first, other))


def test_a_name_and_a_registered_class_are_the_run_of_the_command_line(small_npz: str, tmp_path: Path) -> None:
    runs = [bp.prune(network, small_npz, "dense", widths=[7], **QUICK) for network in ("mlp", bp.models.MLP)]
    (record,) = bp.compare("mlp", small_npz, seeds=1, methods=["dense"], out=tmp_path, workers=1, widths=(7,), **QUICK)
    for run in runs:
        assert run.record().id == record.id and run.evaluation.accuracy == record.result["accuracy"]
        assert bp.load(run.save(tmp_path / "saved")).settings.widths == (7,)


def test_what_a_function_made_is_loaded_with_the_same_function(small_data: Data, tmp_path: Path) -> None:
    def make(widths: tuple[int, ...], classes: int) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(36, widths[0]), nn.ReLU(), nn.Linear(widths[0], classes))

    pruned = bp.prune(make, small_data, "l1-units", budget="macs=50%", widths=(9,), **QUICK)
    again = bp.load(pruned.save(tmp_path / "made"), make)
    inputs, _ = next(iter(small_data.test.batches(60)))
    assert pruned.settings.network == "make" and torch.equal(again.network(inputs), pruned.network(inputs))


def test_a_module_starts_from_its_own_weights_or_those_of_a_file(small_data: Data, tmp_path: Path) -> None:
    one, other = Own((1, 6, 6), 3), Own((1, 6, 6), 3)
    save_file(other.state_dict(), tmp_path / "w.safetensors")
    settings: dict[str, Any] = {"learning_rate": 1e-30, "fixed_learning_rate": 1e-30, **QUICK}  # weights stay
    for start, file in ((one, None), (other, str(tmp_path / "w.safetensors"))):
        pruned = bp.prune(one, small_data, "dense", weights=file, **settings)
        assert torch.allclose(pruned.network.get_parameter("1.weight"), start.get_parameter("1.weight"))
    with pytest.raises(SettingError, match="widths is for a network that the run makes"):
        bp.prune(one, small_data, widths=(3,))


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("lr", "learning_rate"), ("epoch", "epochs"), ("bs", "batch_size"), ("verbose", "progress"),
        ("random_state", "seed"), ("sparsity", "density"), ("flops", "budget"), ("ignored_layers", "keep"),
        ("learning-rate", "learning_rate"), ("n_epochs", "epochs"), ("LR", "learning_rate"),
    ],
)  # fmt: skip
def test_the_nearest_real_setting_is_offered(name: str, meant: str, small_data: Data) -> None:
    with pytest.raises(UnknownNameError, match=f"unknown setting '{name}': did you mean '{meant}'"):
        bp.prune("mlp", small_data, **dict[str, Any]([(name, 1)]))


def test_an_option_of_the_method_is_offered_where_that_is_nearer(small_data: Data) -> None:
    with pytest.raises(UnknownNameError, match="unknown option of parsimonious 'horizn': did you mean 'horizon'"):
        bp.prune("mlp", small_data, horizn=3)
    with pytest.raises(UnknownNameError, match="unknown setting 'zzzz': there are .*batch_size.*horizon"):
        bp.prune("mlp", small_data, zzzz=3)


LOADER = DataLoader(TensorDataset(torch.zeros(6, 2), torch.arange(6) % 2), batch_size=2)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([LOADER, LOADER], r"data is a list: .*from_loaders\(train"), ([torch.zeros(3, 2)], "from_tensors"),
        (np.zeros((3, 2)), "ndarray: .*from_tensors"),
        ({"x": torch.zeros(3)}, "from_tensors"), (LOADER.dataset, "DataLoader around it.*from_loaders"),
        (None, "None: .*load_data"), (7, "load_data"),
    ],
)  # fmt: skip
def test_what_is_no_data_is_told_how_to_become_some(data: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        bp.prune("mlp", data)


def test_what_is_no_data_is_no_data_for_evaluation_either(small_data: Data) -> None:
    pruned = bp.prune("mlp", small_data, "dense", **QUICK)
    with pytest.raises(DataError, match="data is None|data is a Tensor"):
        pruned.evaluate(torch.zeros(6, 2))


@pytest.mark.parametrize("form", ["a pair", "a loader"])
def test_raw_tensors_and_loaders_are_prepared_as_the_training_inputs_were(form: str) -> None:
    inputs = 100 + 5 * torch.randn(120, 4, generator=torch.Generator().manual_seed(0))
    labels = (inputs[:, 0] > 100).long()
    pruned = bp.prune(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), (inputs, labels), "dense", **QUICK)
    given = (inputs, labels) if form == "a pair" else DataLoader(TensorDataset(inputs, labels), batch_size=7)
    expected = float((pruned.predict(inputs) == labels).float().mean())
    assert pruned.evaluate(given).accuracy == pytest.approx(expected)


def test_a_loader_with_too_few_examples_to_split_is_refused() -> None:
    with pytest.raises(DataError, match="cannot split 0 validation examples off"):
        bp.prune("mlp", DataLoader(LOADER.dataset, batch_size=2, sampler=range(3)))


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (None, "network is None"), (7, "network is an int"), (LOADER, "network is a DataLoader"),
        (dict, "a torch.nn.Module is needed"), (nn.Linear, "missing 2 required .*; give a network that is made"),
    ],
)  # fmt: skip
def test_what_is_no_network_is_refused(network: Any, message: str, small_data: Data) -> None:
    with pytest.raises(NetworkError, match=message):
        bp.prune(network, small_data)


def test_mistakes(small_data: Data) -> None:
    with pytest.raises(UnknownNameError, match="unknown method 'parsimonius': did you mean 'parsimonious'"):
        bp.prune(small(), small_data, "parsimonius")
    with pytest.raises(SettingError, match="epoch"):
        bp.prune(small(), small_data, "dense", epoch=3)
    with pytest.raises(SettingError, match="epochs must be an integer >= 0, not -1"):
        bp.prune(small(), small_data, "dense", epochs=-1)
    with pytest.raises(SettingError, match="'fc9'.*fc3"):
        bp.prune(small(), small_data, "dense", keep=["fc9"])
    with pytest.raises(SettingError, match="keep must be a list of names of layers, not 'fc1'"):
        bp.prune(small(), small_data, "dense", keep="fc1")


def test_a_checkpoint_is_gone_on_from_and_goes_when_the_run_is_finished(small_data: Data, tmp_path: Path) -> None:
    file = tmp_path / "state"

    def stop(now: Progress) -> None:
        if now.step == 4:
            raise InterruptedError

    whole = bp.prune(small(), small_data, **QUICK)
    with pytest.raises(InterruptedError):
        bp.prune(small(), small_data, checkpoint=file, progress=stop, **QUICK)
    assert file.exists()
    with pytest.raises(StoreError, match="is not a state of this run .its batch_size is '50', this run's is '60'"):
        bp.prune(small(), small_data, checkpoint=file, epochs=2, batch_size=60)
    resumed = bp.prune(small(), small_data, checkpoint=str(file), **QUICK)
    assert not file.exists()
    for name, value in resumed.network.state_dict().items():
        assert torch.equal(value, whole.network.state_dict()[name])


def test_divergence_leaves_the_last_good_state(small_data: Data, tmp_path: Path) -> None:
    with pytest.raises(DivergenceError, match="at step 2 with learning rate") as caught:
        bp.prune(small(), small_data, "dense", learning_rate=1e30, checkpoint=tmp_path / "state", **QUICK)
    assert caught.value.last_good == tmp_path / "state" and (tmp_path / "state").exists()


def test_a_place_that_cannot_be_written_is_said_before_training(small_data: Data, tmp_path: Path) -> None:
    steps: list[int] = []
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="choose another folder"):
        bp.prune(
            small(), small_data, "dense", checkpoint=tmp_path / "file" / "state",
            progress=lambda now: steps.append(now.step), **QUICK,
        )  # fmt: skip
    assert steps == []


def test_compare(small_npz: str, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"data": small_npz, "widths": (12, 8), "out": tmp_path, "workers": 1, **QUICK}
    records = bp.compare(seeds=2, **settings)
    methods = ["dense", "parsimonious", "magnitude", "l1-units", "random"]
    assert [(r.result["method"], r.result["seed"]) for r in records] == [(m, s) for m in methods for s in (0, 1)]
    by_run = {(r.result["method"], r.result["seed"]): r.result for r in records}
    for seed in (0, 1):
        ours = by_run["parsimonious", seed]
        assert by_run["l1-units", seed]["macs"] <= ours["macs"] and by_run["random", seed]["macs"] <= ours["macs"]
        assert by_run["magnitude", seed]["nonzero_weights"] == ours["nonzero_weights"]
    assert all(len(r.history) == 2 for r in records)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")}
    assert [r.id for r in bp.compare(seeds=2, **settings)] == [r.id for r in records]
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")} == times


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seeds": 0}, "seeds must be an integer >= 1"), ({"epoch": 3}, "did you mean 'epochs'"),
        ({"network": "lenet30"}, "did you mean 'lenet300'"), ({"seed": 1}, "unknown setting 'seed'"),
        ({"methods": ["dense", "l1-units"]}, "takes its size from"), ({"density": 0.5}, "cannot use density"),
        ({"workers": 0}, "workers must be an integer >= 1"), ({"budget": "macs=1"}, "no network of this kind"),
    ],
)  # fmt: skip
def test_comparisons_that_cannot_be_write_nothing(
    settings: dict[str, Any], message: str, small_npz: str, tmp_path: Path
) -> None:
    plain: dict[str, Any] = {"data": small_npz, "widths": (12, 8), "out": tmp_path / "runs"}
    with pytest.raises(SettingError, match=message):
        bp.compare(**plain | settings)
    assert list(tmp_path.iterdir()) == []


def test_a_run_is_loaded_by_its_folder_or_its_file(small_data: Data, tmp_path: Path) -> None:
    pruned = bp.prune("lenet300", small_data, "l1-units", budget="macs=50%", epochs=1, widths=(6, 5))
    pruned.save(tmp_path)
    assert bp.load(tmp_path / "run.json").kept == bp.load(tmp_path).kept == pruned.kept
