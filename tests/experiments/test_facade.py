"""The front door: what `import bayesprune` offers."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import bayesprune as bp
from bayesprune.data import Data
from bayesprune.errors import DivergenceError, SettingError, StoreError, UnknownNameError
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
