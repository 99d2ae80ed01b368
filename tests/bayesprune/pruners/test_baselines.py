"""The baselines' phases: what is pruned when, how long and how fast is trained."""

from typing import Any

import pytest
import torch
from torch import Tensor

from bayesprune.data import Data
from bayesprune.errors import SettingError, UnknownNameError
from bayesprune.experiments.methods import METHODS
from bayesprune.models import Conv4, LeNet300
from bayesprune.pruners.options import TrainOptions
from bayesprune.run.running import initial_state
from bayesprune.run.settings import RunSettings
from bayesprune.training import NegativeLogLikelihood, Phase, TrainState


def plan_of(name: str, data: Data, network: Any = None, **settings: Any) -> tuple[TrainState, list[Phase]]:
    plain: dict[str, Any] = {"method": name, "epochs": 8, "batch_size": 50}
    chosen = RunSettings(**plain | settings)
    state = initial_state(network or LeNet300((12, 8), (1, 6, 6), 3), data, chosen)
    return state, list(METHODS[name].plan(state, data, chosen).phases)


def rate_of(phase: Phase) -> tuple[float, float]:
    (group,) = phase.optimizer([torch.nn.Parameter(torch.zeros(1))]).param_groups
    return group["lr"], group["weight_decay"]


SIZE: dict[str, dict[str, Any]] = {
    "dense": {}, "random": {"density": 0.5}, "magnitude": {"density": 0.5}, "l1-units": {"budget": "macs=50%"}
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "epochs", "steps"),
    [
        ("dense", 8, [40]), ("random", 8, [40]), ("magnitude", 8, [10, 30]), ("l1-units", 8, [10, 30]),
        ("magnitude", 2, [5, 5]), ("magnitude", 1, [5, 0]), ("l1-units", 3, [5, 10]),
    ],
)  # fmt: skip
def test_epochs_are_the_same_for_all(small_data: Data, name: str, epochs: int, steps: list[int]) -> None:
    _, phases = plan_of(name, small_data, epochs=epochs, **SIZE[name])
    assert [phase.steps for phase in phases] == steps
    assert [phase.name for phase in phases] == (["train", "fixed"] if len(steps) == 2 else ["fixed"])
    assert (phases[-1].start is not None) == (name != "dense")


@pytest.mark.parametrize(("share", "steps"), [(0.0, [40]), (0.5, [20, 20]), (1.0, [40, 0])])
def test_the_share_of_epochs_before_pruning(small_data: Data, share: float, steps: list[int]) -> None:
    _, phases = plan_of("magnitude", small_data, density=0.5, options={"prune_share": share})
    assert [phase.steps for phase in phases] == steps


def test_learning_rates_and_decay(small_data: Data) -> None:
    _, phases = plan_of("l1-units", small_data, **SIZE["l1-units"])
    assert [rate_of(phase) for phase in phases] == [(2e-3, 4 / 240), (5e-3, 4 / 240)]
    _, phases = plan_of("dense", small_data, learning_rate=0.25, options={"slab": 0.25})
    assert [rate_of(phase) for phase in phases] == [(0.25, 16 / 240)]
    _, phases = plan_of("magnitude", small_data, density=0.5, options={"fixed_learning_rate": 0.125})
    assert [rate_of(phase)[0] for phase in phases] == [2e-3, 0.125]
    adam = {"training": "adam", "fixed_learning_rate": 0.125}
    _, phases = plan_of("magnitude", small_data, density=0.5, options=adam)
    assert [rate_of(phase) for phase in phases] == [(1e-3, 2e-8), (0.125, 2e-8)]
    _, phases = plan_of("magnitude", small_data, density=0.5, learning_rate=0.25, options={"training": "adam"})
    assert [rate_of(phase) for phase in phases] == [(0.25, 2e-8), (0.25, 2e-8)]
    network = Conv4((4, 4, 5, 5, 7, 6), (1, 6, 6), 3)
    _, phases = plan_of("l1-units", small_data, network, **SIZE["l1-units"])
    # 240 examples ask for more decay than convolutions need; with a wide prior theirs holds, after pruning only.
    assert [rate_of(phase) for phase in phases] == [(2e-3, 4 / 240), (5e-3, 4 / 240)]
    _, phases = plan_of("l1-units", small_data, network, **SIZE["l1-units"], options={"slab": 10.0})
    assert [rate_of(phase)[1] for phase in phases] == [pytest.approx(0.01 / 240), 5e-4]
    _, phases = plan_of("l1-units", small_data, **SIZE["l1-units"], options={"fixed_decay": 0.125})
    assert [rate_of(phase)[1] for phase in phases] == [4 / 240, 0.125]


def objectives(phases: list[Phase]) -> list[NegativeLogLikelihood]:
    """What the phases minimise; cross-entropy in all of them."""
    found = [phase.objective for phase in phases if isinstance(phase.objective, NegativeLogLikelihood)]
    assert len(found) == len(phases)
    return found


def test_noise_is_that_of_the_bayesian_method(small_data: Data) -> None:
    convolutional = Conv4((4, 4, 5, 5, 7, 6), (1, 6, 6), 3)
    for network, given, expected in ((None, {}, 0.3), (convolutional, {}, 0.2), (None, {"noise": 0.0}, 0.0)):
        _, phases = plan_of("dense", small_data, network, **given)
        assert objectives(phases)[0].noise == expected


def test_consistency_is_that_of_the_bayesian_method_at_fixed_structure_only(small_data: Data) -> None:
    for given, expected in (({}, 0.5), ({"consistency": 0.0}, 0.0)):
        _, phases = plan_of("l1-units", small_data, **SIZE["l1-units"], **given)
        assert [objective.consistency for objective in objectives(phases)] == [0.0, expected]


def test_weights_are_pruned_when_the_second_phase_starts(small_data: Data) -> None:
    state, phases = plan_of("magnitude", small_data, density=0.25)
    assert state.masks == {} and phases[0].start is None
    weights = {name: value.detach().clone() for name, value in state.network.named_parameters()}
    assert phases[1].start is not None
    phases[1].start(state)
    scores = torch.cat([weights[f"fc{n}.weight"].abs().flatten() for n in (1, 2, 3)])
    threshold = scores.sort(descending=True).values[138 - 1]  # a quarter of 552
    for name in state.masks:
        pruned = weights[name].abs() < threshold
        assert torch.equal(state.masks[name] == 0, pruned)
        assert torch.equal(state.network.get_parameter(name) == 0, pruned)


def test_units_are_pruned_when_the_second_phase_starts(small_data: Data) -> None:
    state, phases = plan_of("l1-units", small_data, budget="macs=50%")
    assert state.network_macs() == 552
    assert phases[1].start is not None
    phases[1].start(state)
    assert 552 / 4 < state.network_macs() <= 276


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("prune_share", -0.1), ("prune_share", 1.1), ("prune_share", "half"), ("slab", 0.0), ("slab", float("nan")),
        ("fixed_learning_rate", 0.0), ("fixed_learning_rate", -1.0), ("fixed_learning_rate", True),
    ],
)  # fmt: skip
def test_options_that_cannot_be_are_refused(option: str, value: object) -> None:
    with pytest.raises(SettingError, match=f"{option} must be"):
        TrainOptions.of("magnitude", {option: value})


def test_an_unknown_option_is_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="unknown option of dense 'prune_shar': did you mean 'prune_share'?"):
        TrainOptions.of("dense", {"prune_shar": 0.5})


def test_brain_damage_with_an_estimated_diagonal(small_data: Data) -> None:
    """Many draws agree with the exact diagonal's choice more than one does; all are exact in number."""
    torch.manual_seed(0)
    network = LeNet300((12, 8), (1, 6, 6), 3)
    kept: dict[int | None, Tensor] = {}
    for draws in (None, 1, 1000):
        state, phases = plan_of("obd", small_data, network, density=0.5, options={"draws": draws, "prune_share": 0.0})
        assert phases[0].start is not None
        torch.manual_seed(1)
        phases[0].start(state)
        kept[draws] = torch.cat([mask.flatten() for mask in state.masks.values()])
        assert int(kept[draws].sum()) == 276
    agreement = {draws: float((kept[draws] == kept[None]).float().mean()) for draws in (1, 1000)}
    assert agreement[1000] > 0.75 and agreement[1000] > agreement[1] + 0.1, agreement
    with pytest.raises(SettingError, match="draws must be an integer >= 1"):
        plan_of("obd", small_data, density=0.5, options={"draws": 0})


def test_taylor_prunes_weights_or_channels(small_data: Data) -> None:
    for size, shrinks in (({"density": 0.5}, False), ({"budget": "macs=50%"}, True)):
        state, phases = plan_of("taylor", small_data, **size)
        assert phases[1].start is not None
        phases[1].start(state)
        assert (state.network_macs() < 552) is shrinks and bool(state.masks) is not shrinks
    with pytest.raises(SettingError, match="taylor takes density=... or budget=..., not both"):
        plan_of("taylor", small_data, density=0.5, budget="macs=50%")
