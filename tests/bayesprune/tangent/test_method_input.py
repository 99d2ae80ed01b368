"""What the method is given: other data for the transfer, bad options, networks and sizes that it cannot take."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import bayesprune as bp
from bayesprune.data import Data, load
from bayesprune.errors import BayespruneError, BudgetError, DataError, NetworkError, SettingError, UnknownNameError
from bayesprune.run.method import Plan
from bayesprune.run.pruned import Pruned
from bayesprune.training import Checkpointer, Progress, TrainState

RunNtt = Callable[..., Pruned]
Planned = Callable[..., tuple[TrainState, Plan]]


def saved(folder: Path, shape: tuple[int, ...]) -> str:
    """Other data, under the name that runs find them by."""
    generator = np.random.default_rng(5)
    arrays: dict[str, Any] = {}
    for split, count in (("train", 70), ("validation", 20), ("test", 20)):
        arrays[f"x_{split}"] = generator.normal(size=(count, *shape)).astype(np.float32)
        arrays[f"y_{split}"] = np.arange(count) % 5  # other classes, too
    np.savez(folder / "other.npz", **arrays)
    return f"npz:{folder / 'other.npz'}"


def test_the_transfer_may_see_other_data(transferred: Planned, small_data: Data, tmp_path: Path) -> None:
    name = saved(tmp_path, (1, 6, 6))
    plain, _ = transferred(small_data)
    state, plan = transferred(small_data, transfer_data=name)
    other = load(name)
    on_the_other, _ = transferred(replace(small_data, train=other.train, validation=other.validation))
    # As if the transfer's run were one on those data; 70 examples are two batches, 240 are four.
    pairs = zip(state.network.parameters(), on_the_other.network.parameters(), strict=True)
    assert all(torch.equal(one, two) for one, two in pairs)
    assert not torch.equal(state.network.get_parameter("fc1.weight"), plain.network.get_parameter("fc1.weight"))
    assert [record["steps"] for record in state.history] == [2, 2, 2, 2]
    assert plan.phases[1].train is None  # supervised on the run's own


def test_a_whole_run_with_other_data(run_ntt: RunNtt, small_data: Data, tmp_path: Path) -> None:
    history = run_ntt(small_data, transfer_data=saved(tmp_path, (1, 6, 6))).history
    assert [(record["phase"], record["steps"]) for record in history] == [("transfer", 2)] * 4 + [("fixed", 10)]


def test_other_data_of_another_shape_are_refused(planned: Planned, small_data: Data, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"transfer_data=.*shape \(1, 5, 6\), small of \(1, 6, 6\): transfer on data"):
        planned(small_data, transfer_data=saved(tmp_path, (1, 5, 6)))
    with pytest.raises(BayespruneError, match="mnist5kk"):
        planned(small_data, transfer_data="mnist5kk")


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("training", "plain", "takes training='recipe' or training='adam', not 'plain'"),
        ("training", "sgd", "training must be 'recipe', 'plain', 'adam' or 'clipped', not 'sgd'"),
        ("steps", 0, "steps must be an integer >= 1, not 0"),
        ("steps", 2.5, "steps must be an integer >= 1, not 2.5"),
        ("transfer_batch", 1, "transfer_batch must be an integer >= 2, not 1"),
        ("every", 0, "every must be an integer >= 1, not 0"),
        ("transfer_rate", 0.0, "transfer_rate must be a finite number > 0, not 0"),
        ("kernel_weight", -1e-3, "kernel_weight must be a finite number >= 0, not -0.001"),
        ("transfer_decay", float("inf"), "transfer_decay must be a finite number >= 0, not inf"),
        ("transfer_data", 5, "transfer_data must be the name of a data set, not 5"),
    ],
)
def test_options_that_cannot_be_are_refused(
    option: str, value: Any, message: str, planned: Planned, small_data: Data
) -> None:
    with pytest.raises(SettingError, match=message):
        planned(small_data, **{option: value})


@pytest.mark.parametrize(
    ("option", "value", "known"),
    [
        ("kernel", "relased", "released"), ("masks", "layerwse", "layerwise"), ("first", "logitsnip", "logit-snip"),
        ("initial", "glorott", "glorot"), ("control", "shufle", "shuffle"), ("stepps", 5, "steps"),
    ],
)  # fmt: skip
def test_names_that_are_not_known_are_told_with_the_nearest(
    option: str, value: Any, known: str, planned: Planned, small_data: Data
) -> None:
    with pytest.raises(UnknownNameError, match=f"did you mean '{known}'"):
        planned(small_data, **{option: value})


def test_one_size_only(planned: Planned, small_data: Data) -> None:
    with pytest.raises(SettingError, match="density=... or budget=..., not both"):
        planned(small_data, density=0.3, budget="macs=40%")
    with pytest.raises(SettingError, match="'ntt' needs a size: give budget=... or density=..."):
        bp.prune(nn.Sequential(nn.Flatten(), nn.Linear(36, 3)), small_data, "ntt", epochs=1)


@pytest.mark.parametrize("control", ["shuffle", "shuffle-inputs"])
def test_controls_of_masks_need_masks(control: str, planned: Planned, small_data: Data) -> None:
    with pytest.raises(SettingError, match=f"control='{control}' moves masks of weights about: give density"):
        planned(small_data, budget="macs=40%", control=control)
    planned(small_data, budget="macs=40%", control="fresh")


@pytest.mark.parametrize("size", [{"density": 0.01}, {"density": 1e-9}, {"budget": "macs=3"}])
def test_what_no_network_meets_is_refused_before_anything_is_written(
    size: dict[str, Any], run_ntt: RunNtt, small_data: Data, tmp_path: Path
) -> None:
    with pytest.raises(BudgetError):
        run_ntt(small_data, given={"checkpointer": Checkpointer(tmp_path / "state", steps=1)}, **size)
    assert list(tmp_path.iterdir()) == []


class Centred(nn.Module):
    """Subtracts the batch's mean."""

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs - inputs.mean(0)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (nn.BatchNorm1d(5), "layer '2' .BatchNorm1d. normalises.*use a network without it"),
        (Centred(), "depend on the other samples"),
    ],
)
@pytest.mark.parametrize("training", [True, False])
def test_networks_that_mix_samples_are_refused(
    layer: nn.Module, message: str, training: bool, run_ntt: RunNtt, small_data: Data
) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(36, 5), layer, nn.ReLU(), nn.Linear(5, 3)).train(training)
    with pytest.raises(NetworkError, match=message):
        run_ntt(small_data, network, inputs="none")


def test_a_last_batch_of_one_is_refused(run_ntt: RunNtt, small_data: Data) -> None:
    with pytest.raises(SettingError, match="transfer_batch=239 leaves one of 240 examples to the last batch"):
        run_ntt(small_data, transfer_batch=239)
    run_ntt(small_data, transfer_batch=239, steps=1)  # the last batch is never reached


def test_settings_of_masks_are_not_for_channels(run_ntt: RunNtt, small_data: Data) -> None:
    for given in ({"masks": "global"}, {"first": "logit-snip"}, {"least": 2}, {"trim": True}):
        with pytest.raises(SettingError, match=f"{next(iter(given))}: for masks of weights"):
            run_ntt(small_data, density=None, budget="macs=50%", **given)


def test_frozen_layers_are_no_trouble(run_ntt: RunNtt, small_data: Data) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(36, 5), nn.ReLU(), nn.Linear(5, 3))
    network[1].requires_grad_(False)
    given = network.get_parameter("1.weight").detach().clone()
    kept = run_ntt(small_data, network, initial="own", inputs="none").network.get_parameter("1.weight")
    assert torch.equal(kept, given * (kept != 0))


def test_progress_tells_the_distances(run_ntt: RunNtt, small_data: Data) -> None:
    seen: list[Progress] = []
    run_ntt(small_data, given={"progress": seen.append})
    assert [(one.phase, one.step, one.total) for one in seen] == [
        ("transfer" if step <= 8 else "fixed", step, 18) for step in range(1, 19)
    ]
    for one in seen[:8]:
        assert set(one.parts) == {"kernel distance", "target distance"} and min(one.parts.values()) > 0
        # What is left of the loss is the decay's part.
        assert one.loss > 1e-3 * one.parts["kernel distance"] + one.parts["target distance"]
    assert all(one.parts == {} for one in seen[8:])
