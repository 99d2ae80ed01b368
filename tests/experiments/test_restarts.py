"""Several runs in one call."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import bayesprune as bp
from bayesprune.data import Data, from_tensors
from bayesprune.errors import SettingError

SHORT: dict[str, Any] = {"epochs": 4, "price": 2.0, "batch_size": 40}


def rows() -> Data:
    """Two of eight features say the class."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(400, 8, generator=generator)
    return from_tensors(inputs, (inputs[:, 0] * inputs[:, 1] > 0).long(), seed=0)


def network() -> nn.Module:
    """A perceptron 8-12-6-2."""
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 6), nn.ReLU(), nn.Linear(6, 2))


def test_each_is_the_run_of_its_seed_and_the_best_by_validation_comes_back() -> None:
    data, module = rows(), network()
    best = bp.prune(module, data, restarts=3, seed=5, **SHORT)
    alone = [bp.prune(module, data, seed=seed, **SHORT) for seed in (5, 6, 7)]
    for one, other in zip(best.restarts, alone, strict=True):
        assert one.settings.seed == other.settings.seed and one.kept == other.kept
        for key, value in one.network.state_dict().items():
            assert torch.equal(value, other.network.state_dict()[key])
    scores = [one.history[-1]["validation_score"] for one in alone]
    assert best.settings.seed == alone[scores.index(max(scores))].settings.seed
    assert len({str([p.sum().item() for p in one.network.parameters()]) for one in alone}) == 3  # restarts differ
    assert best.evaluate().accuracy == best.evaluation.accuracy  # its data came along
    (match, _) = best.matched_units(best.restarts[1])  # hidden layers "0" and "2"
    assert (match.group, match.sizes) == ("0", (len(best.kept["0"]), len(best.restarts[1].kept["0"])))
    (itself, _) = best.matched_units(best)
    assert itself.one == itself.other == tuple(best.kept["0"])
    tree = best.posterior_tree(draws=5)
    assert tree["posterior"]["z"].shape[:2] == (3, 5)
    assert list(tree["sample_stats"]["seed"].to_numpy()) == [5, 6, 7]


def test_names_go_through_the_pool_and_finished_runs_are_found_again(
    small_npz: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {"widths": [8, 8], "epochs": 2, "restarts": 2, "checkpoint": tmp_path / "runs"}
    best = bp.prune("lenet300", small_npz, **given)
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("run.json")}
    assert len(written) == len(best.restarts) == 2
    monkeypatch.setattr("bayesprune.experiments.restarts.WORKERS", 1)  # nothing is left to make
    again = bp.prune("lenet300", small_npz, **given)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("run.json")} == written
    assert again.settings.seed == best.settings.seed and again.restarts[1].kept == best.restarts[1].kept


@pytest.mark.parametrize("count", [0, -1, 1.5, True])
def test_a_count_below_one_is_refused(count: Any) -> None:
    with pytest.raises(SettingError, match="restarts"):
        bp.prune(network(), rows(), restarts=count, **SHORT)


def test_a_function_cannot_be_told_of_several_runs() -> None:
    with pytest.raises(SettingError, match="progress is a function"):
        bp.prune(network(), rows(), restarts=2, progress=lambda _: None, **SHORT)


def test_loaded_runs_are_restarts_of_one_another(tmp_path: Path) -> None:
    data, module = rows(), network()
    runs = [bp.prune(module, data, seed=seed, **SHORT) for seed in (0, 1)]
    loaded = [bp.load(run.save(tmp_path / str(place)), factory=network) for place, run in enumerate(runs)]
    together = bp.as_restarts(loaded)
    scores = [run.history[-1]["validation_score"] for run in runs]
    assert together.settings.seed == scores.index(max(scores)) and len(together.restarts) == 2
    inputs, _ = next(iter(data.test.batches(1000)))
    mean = torch.stack([run.network(inputs).softmax(1) for run in runs]).mean(0)
    torch.testing.assert_close(together.ensemble()(inputs).exp(), mean)
    assert together.evaluate_ensemble(data).macs == sum(run.evaluation.macs for run in runs)


def test_runs_that_do_not_go_together_are_refused() -> None:
    short: dict[str, Any] = {"epochs": 1, "batch_size": 40}
    one = bp.prune(network(), rows(), "dense", **short)
    inputs = torch.randn(400, 8)
    other = bp.prune(network(), from_tensors(inputs, (inputs[:, 0] > 0).long(), name="others"), "dense", **short)
    with pytest.raises(SettingError, match="different data: dense seed 0 on .* and dense seed 0 on others"):
        bp.as_restarts([one, one, other])
    for few in ([], [one]):
        with pytest.raises(SettingError, match="the number of runs must be an integer >= 2"):
            bp.as_restarts(few)
