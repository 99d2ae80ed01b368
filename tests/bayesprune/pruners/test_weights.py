"""Rounds of pruning single weights: what is masked when, rewinding, controls, and what bad input gets."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import bayesprune as bp
from bayesprune.data import Data, from_tensors
from bayesprune.errors import BudgetError, NetworkError, SettingError, UnknownNameError
from bayesprune.experiments.methods import METHODS
from bayesprune.models import Conv4, LeNet300
from bayesprune.pruners.allocation import ALLOCATIONS, class_blind, cut
from bayesprune.pruners.options import WeightOptions
from bayesprune.pruners.rewinding import WeightsKept
from bayesprune.pruners.scores import magnitude
from bayesprune.pruners.weights import mask_weights
from bayesprune.run.running import initial_state
from bayesprune.run.settings import RunSettings
from bayesprune.training import Phase, Progress, TrainState, train
from bayesprune.training.initial import glorot

SIZES = {"fc1.weight": 36 * 12, "fc2.weight": 12 * 8, "fc3.weight": 8 * 3}


def plan_of(data: Data, network: nn.Module | None = None, **given: Any) -> tuple[TrainState, list[Phase]]:
    plain: dict[str, Any] = {"method": "magnitude", "epochs": 12, "batch_size": 50, "density": 0.25}
    chosen = RunSettings(**plain | given)
    state = initial_state(network or LeNet300((12, 8), (1, 6, 6), 3), data, chosen)
    return state, list(METHODS[chosen.method].plan(state, data, chosen).phases)


def alive(state: TrainState) -> int:
    return sum(int(mask.sum()) for mask in state.masks.values())


def started(state: TrainState, phases: list[Phase]) -> list[int]:
    """How many weights are alive after the start of each phase."""
    found = []
    for phase in phases:
        if phase.start is not None:
            phase.start(state)
        found.append(alive(state))
    return found


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def test_rounds_with_training_between_them(small_data: Data) -> None:
    state, phases = plan_of(small_data, options={"schedule": "cubic", "rounds": 3, "retrain": 2})
    assert [(phase.name, phase.steps) for phase in phases] == [
        ("train", 15), ("round 1", 10), ("round 2", 10), ("fixed", 25),
    ]  # fmt: skip
    # Of 552 weights 138 are the goal: 138 + 414 x 8/27 and 138 + 414 / 27 before.
    assert started(state, phases) == [0, 261, 153, 138]


def test_rounds_without_training_between_them_are_one(small_data: Data) -> None:
    state, phases = plan_of(small_data, options={"schedule": "percentage", "rate": 0.5, "retrain": 0})
    assert [(phase.name, phase.steps) for phase in phases] == [("train", 15), ("fixed", 45)]
    assert started(state, phases) == [0, 138]


def test_rounds_that_need_more_epochs_are_refused(small_data: Data) -> None:
    with pytest.raises(SettingError, match=r"10 rounds .* 1 epochs .* of the 12 epochs \(3 before .*epochs=13 or more"):
        plan_of(small_data, options={"schedule": "cubic"})
    assert len(plan_of(small_data, epochs=13, options={"schedule": "cubic"})[1]) == 11


def test_training_between_rounds_ends_when_validation_stalls(small_data: Data) -> None:
    state, phases = plan_of(small_data, epochs=40, options={
        "schedule": "cubic", "rounds": 2, "retrain": 20, "until_validation": True,
    })  # fmt: skip
    train(state, phases, small_data, batch_size=50, seed=0)
    accuracies = [one["validation_accuracy"] for one in state.history if one["phase"] == "round 1"]
    assert 2 <= len(accuracies) < 20
    assert accuracies[-1] <= accuracies[-2] and all(
        a < b for a, b in zip(accuracies[:-1], accuracies[1:-1], strict=False)
    )
    assert [one["phase"] for one in state.history].count("fixed") == 10


def test_each_round_prunes_what_the_training_before_it_left(small_data: Data) -> None:
    state, phases = plan_of(small_data, options={"schedule": "percentage", "rate": 0.5, "retrain": 1})
    seen: list[dict[str, Tensor]] = []
    for phase in phases[1:]:
        assert phase.start is not None
        before, old = {n: w.detach().clone() for n, w in state.network.named_parameters()}, dict(state.masks)
        phase.start(state)
        now = torch.cat([before[name].abs()[old[name] == 1 if old else slice(None)].flatten() for name in SIZES])
        threshold = now.sort(descending=True).values[alive(state) - 1]
        for name, mask in state.masks.items():
            assert torch.equal(mask == 1, (before[name].abs() >= threshold) & (old[name] == 1 if old else mask == mask))
        seen.append(dict(state.masks))
        with torch.no_grad():  # other weights, as training gives
            for weight in state.network.parameters():
                weight.add_(torch.randn_like(weight), alpha=0.1)
        state.apply_masks()
    assert [sum(int(mask.sum()) for mask in masks.values()) for masks in seen] == [276, 138]


def test_lottery_tickets_start_from_the_initial_weights(small_data: Data) -> None:
    network = LeNet300((12, 8), (1, 6, 6), 3)
    first = {name: value.clone() for name, value in network.state_dict().items()}
    state, phases = plan_of(small_data, network, options={"schedule": "percentage", "rate": 0.5, "rewind": 0})
    assert [(phase.name, phase.steps) for phase in phases] == [("train", 20), ("round 1", 20), ("fixed", 20)]
    for phase in phases:
        assert phase.start is not None
        phase.start(state)
        for name, value in state.network.state_dict().items():
            assert torch.equal(value, first[name] * state.masks.get(name, torch.ones(())))
        with torch.no_grad():
            for weight in state.network.parameters():
                weight.add_(torch.randn_like(weight))
        state.apply_masks()
    assert alive(state) == 138


def test_late_rewinding_goes_back_to_a_step(small_data: Data) -> None:
    at: dict[int, dict[str, Tensor]] = {}
    state, phases = plan_of(small_data, options={"schedule": "percentage", "rate": 0.5, "rewind": 3})

    def watch(progress: Progress) -> None:
        at[progress.step] = {name: value.clone() for name, value in state.network.state_dict().items()}

    train(state, phases, small_data, batch_size=50, seed=0, progress=watch)
    kept = state.memory(WeightsKept).values
    assert all(torch.equal(kept[name], value) for name, value in at[3].items())
    # One step after rewinding the weights are near those of step 3, and masked.
    again = at[21]["fc1.weight"]
    alive_now = again != 0
    assert float((again - at[3]["fc1.weight"])[alive_now].abs().max()) < 0.01
    assert float((at[20]["fc1.weight"] - at[3]["fc1.weight"])[alive_now].abs().max()) > 0.01


def test_rewinding_that_cannot_be(small_data: Data) -> None:
    with pytest.raises(SettingError, match="epochs=2 is too few: .* make 3 trainings, .* give epochs=3 or more"):
        plan_of(small_data, epochs=2, options={"schedule": "percentage", "rate": 0.5, "rewind": 0})
    with pytest.raises(SettingError, match="goes beyond step 20, to which the weights go back: give epochs=15 or more"):
        plan_of(small_data, options={"schedule": "percentage", "rate": 0.5, "rewind": 20})
    for control in ("fresh", "shuffle"):
        with pytest.raises(SettingError, match=f"control='{control}' is for a choice before training, rewind"):
            plan_of(small_data, options={"control": control, "rewind": 0})


def without_and_with(data: Data, control: str) -> tuple[TrainState, TrainState]:
    """States of one network, pruned before training: without a control, and with it."""
    network, found = LeNet300((12, 8), (1, 6, 6), 3), []
    for own in ({}, {"control": control}):
        state, phases = plan_of(data, network, options={"prune_share": 0.0, **own})
        started(state, phases)
        found.append(state)
    return found[0], found[1]


def test_a_shuffled_mask_keeps_as_many_in_every_layer(small_data: Data) -> None:
    plain, state = without_and_with(small_data, "shuffle")
    for name, mask in plain.masks.items():
        assert int(state.masks[name].sum()) == int(mask.sum())
        # Weights that only the shuffled mask keeps must be there with their values.
        kept = plain.masks[name] * state.masks[name]
        assert torch.equal(plain.network.get_parameter(name) * kept, state.network.get_parameter(name) * kept)
        assert torch.equal(state.network.get_parameter(name) == 0, state.masks[name] == 0)
    assert not torch.equal(state.masks["fc1.weight"], plain.masks["fc1.weight"])


def test_fresh_weights_under_the_same_masks(small_data: Data) -> None:
    plain, state = without_and_with(small_data, "fresh")
    for name, mask in plain.masks.items():
        assert torch.equal(state.masks[name], mask)
        alive_weights = state.network.get_parameter(name)[mask == 1]
        assert not bool(torch.isin(alive_weights, plain.network.get_parameter(name)).any())
        assert not bool(state.network.get_parameter(name)[mask == 0].any())


@pytest.mark.parametrize("method", ["snip", "logit-snip", "grasp", "synflow"])
@pytest.mark.parametrize("control", ["shuffle", "fresh"])
def test_controls_of_methods_that_prune_before_training(small_data: Data, method: str, control: str) -> None:
    network = LeNet300((12, 8), (1, 6, 6), 3)
    masks = []
    for own in ({}, {"control": control}):
        state, phases = plan_of(small_data, network, method=method, options={"least": 1, **own})
        torch.manual_seed(1)
        assert started(state, phases) == [138]
        masks.append(dict(state.masks))
        assert sum(int(state.network.get_parameter(name).count_nonzero()) for name in SIZES) == 138
    plain, controlled = masks
    assert all(int(plain[name].sum()) == int(controlled[name].sum()) for name in SIZES)
    assert all(torch.equal(plain[name], controlled[name]) for name in SIZES) is (control == "fresh")


@pytest.mark.parametrize("control", [None, "shuffle", "fresh"])
def test_initial_weights_are_drawn_before_the_choice(small_data: Data, control: str | None) -> None:
    network = LeNet300((12, 8), (1, 6, 6), 3)
    own = {} if control is None else {"control": control}
    state, phases = plan_of(small_data, network, method="snip", options={"least": 1, "initial": "glorot", **own})
    torch.manual_seed(5)
    started(state, phases)
    torch.manual_seed(5)
    glorot(network)
    for name, mask in state.masks.items():
        weight, given = state.network.get_parameter(name), network.get_parameter(name)
        assert torch.equal(weight, given * mask) is (control != "fresh")
        # Glorot's weights reach beyond the layers' own uniform ones, fresh ones as well.
        fans = sum(weight.shape)
        assert float(weight.detach().abs().max()) <= 2 * (2 / fans) ** 0.5 / 0.8796 * (1 + 1e-6)
    assert float(state.network.get_parameter("fc1.weight").detach().abs().max()) > 1 / 36**0.5


def test_controls_are_for_what_is_chosen_before_training(small_data: Data) -> None:
    for own in ({}, {"prune_share": 0.0, "schedule": "cubic", "rounds": 2}):
        with pytest.raises(SettingError, match="magnitude trains before it has chosen: set prune_share=0"):
            plan_of(small_data, options={"control": "shuffle", **own})
    with pytest.raises(SettingError, match="initial='glorot' is for a choice before training"):
        plan_of(small_data, options={"initial": "glorot"})
    state, phases = plan_of(small_data, options={
        "control": "shuffle", "prune_share": 0.0, "schedule": "exponential", "rounds": 5, "retrain": 0,
    })  # fmt: skip
    assert started(state, phases) == [138] and int(state.network.get_parameter("fc1.weight").count_nonzero()) > 0
    assert sum(int(state.network.get_parameter(name).count_nonzero()) for name in SIZES) == 138


NETWORKS = st.sampled_from([(5, 4), (12, 8), (1, 1)])


@settings(max_examples=settings().max_examples // 5)
@given(NETWORKS, st.floats(0.02, 1), st.sampled_from(sorted(ALLOCATIONS)), st.sampled_from(["sgd", "adam"]))
def test_masks_stay_and_pruned_weights_stay_zero(
    widths: tuple[int, int], density: float, allocation: str, optimizer: str
) -> None:
    """Whatever the optimizer remembers, with momentum and weight decay on."""
    data = from_tensors(torch.randn(60, 1, 3, 3), torch.arange(60) % 3)
    network = LeNet300(widths, (1, 3, 3), 3)
    total = sum(weight.numel() for name, weight in network.named_parameters() if "weight" in name)
    density = max(density, 3 / total)
    state, phases = plan_of(
        data, network, density=density, epochs=3, options={"allocation": allocation, "least": 1, "prune_share": 0.0}
    )
    make = {
        "sgd": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.01),
        "adam": lambda p: torch.optim.AdamW(p, 0.1, weight_decay=0.1),
    }[optimizer]
    phases = [Phase(p.name, p.steps, p.objective, make, p.schedule, start=p.start) for p in phases]
    masks: list[dict[str, Tensor]] = []

    def watch(_: Any) -> None:
        masks.append(dict(state.masks))
        for name, mask in state.masks.items():
            assert not bool(state.network.get_parameter(name)[mask == 0].any())

    train(state, phases, data, batch_size=20, seed=0, progress=watch)
    assert alive(state) == round(density * total)
    assert all(torch.equal(mask, masks[0][name]) for later in masks for name, mask in later.items())


@pytest.mark.parametrize("method", ["magnitude", "class-uniform", "class-distributed", "random"])
def test_the_density_asked_for_is_the_one_that_is_got(small_data: Data, method: str) -> None:
    for network in (LeNet300((12, 8), (1, 6, 6), 3), Conv4((4, 4, 5, 5, 7, 6), (1, 6, 6), 3)):
        pruned = bp.prune(network, small_data, method, density=0.3, epochs=2, batch_size=50)
        total = sum(weight.numel() for name, weight in network.named_parameters() if name.endswith("weight"))
        assert pruned.evaluation.nonzero_weights == round(0.3 * total)
        # And it is reported for every layer.
        named = {name: weight for name, weight in pruned.network.named_parameters() if name.endswith("weight")}
        assert pruned.densities == {
            n.removesuffix(".weight"): int((w != 0).sum()) / w.numel() for n, w in named.items()
        }
        rows = {row["name"]: row["nonzero_weights"] / row["dense_weights"] for row in pruned.record().layers}
        assert rows == pruned.densities
        fed = {row["name"]: row["fed_outputs"] for row in pruned.record().layers}
        assert fed == {n.removesuffix(".weight"): sum(bool(out.any()) for out in w) for n, w in named.items()}


def test_bad_networks_are_refused(small_data: Data) -> None:
    state, _ = plan_of(small_data)
    with torch.no_grad():
        state.network.get_parameter("fc2.weight")[0, 0] = float("nan")
    with pytest.raises(NetworkError, match="weights of layer 'fc2' hold NaN"):
        mask_weights(state, small_data, magnitude, lambda layers: cut(class_blind(layers), 10))

    class Nothing(nn.Module):
        """No layer at all."""

        def forward(self, inputs: Tensor) -> Tensor:
            return inputs.flatten(1)[:, :3]

    with pytest.raises(NetworkError, match="no linear, convolution or recurrent layer"):
        METHODS["magnitude"].plan(
            TrainState(Nothing(), state.structure, state.example),
            small_data,
            RunSettings("magnitude", density=0.5, epochs=2),
        )


def test_a_layer_that_would_be_emptied(small_data: Data) -> None:
    network = LeNet300((12, 8), (1, 6, 6), 3)
    with torch.no_grad():
        network.get_parameter("fc2.weight").mul_(1e-3)
    plain: dict[str, Any] = {"epochs": 2, "batch_size": 50, "density": 0.2, "prune_share": 0.0}
    with pytest.raises(BudgetError, match="would leave layer 'fc2' with none: .*least=1"):
        bp.prune(network, small_data, "magnitude", **plain)
    pruned = bp.prune(network, small_data, "magnitude", **plain, least=2)
    assert int(pruned.network.get_parameter("fc2.weight").count_nonzero()) == 2


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("schedule", "cubi", "unknown schedule"), ("schedule", 3, "schedule must be"), ("rounds", 0, "rounds must be"),
        ("rate", 0.0, "rate must be"), ("retrain", -1, "retrain must be"), ("least", -1, "least must be"),
        ("until_validation", 1, "until_validation must be"), ("rewind", -1, "rewind must be"),
        ("control", "shufle", "unknown control"), ("initial", "glorott", "unknown initial weights"),
        ("allocation", "class-blnd", "unknown allocation"),
        ("allocation", 3, "allocation must be"),
    ],
)  # fmt: skip
def test_options_that_cannot_be(option: str, value: object, message: str) -> None:
    with pytest.raises((SettingError, UnknownNameError), match=message):
        WeightOptions.of("magnitude", {option: value})
