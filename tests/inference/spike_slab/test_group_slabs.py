"""SS-GL and SS-GHS as methods: what is cut along, what is left in the end, and settings that are refused."""

from typing import Any

import pytest
import torch

import bayesprune as bp
from bayesprune.data import Data
from bayesprune.errors import SettingError
from bayesprune.experiments.methods import METHODS
from bayesprune.inference.spike_slab.group_options import GroupHorseshoeOptions, GroupLassoOptions
from bayesprune.inference.spike_slab.group_slabs import SCALES
from bayesprune.inference.spike_slab.nodes import logit_guide
from bayesprune.inference.spike_slab.scaled_nodes import scaled_guide
from bayesprune.models import LeNet300
from bayesprune.models.priors.scales import node_places, scaled
from bayesprune.run.running import initial_state
from bayesprune.run.settings import RunSettings
from bayesprune.structure import Gating
from bayesprune.training import TrainState, train
from bayesprune.training.phase import make_optimizers

NAMES = ["ss-gl", "ss-ghs"]


def perceptron() -> LeNet300:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return LeNet300((12, 8), (1, 6, 6), 3)


def begun(name: str, data: Data, **options: Any) -> tuple[TrainState, Any]:
    settings = RunSettings(name, epochs=4, batch_size=50, options=options)
    state = initial_state(perceptron(), data, settings)
    plan = METHODS[name].plan(state, data, settings)
    make_optimizers(state, plan.phases[0])
    return state, plan


@pytest.mark.parametrize("name", NAMES)
def test_the_compact_network_is_the_gated_one_with_mean_weights_times_median_scales(
    name: str, small_data: Data
) -> None:
    """Weights by hand: means times medians, under the gates with g > 1/2."""
    options = {"inclusion": 0.3, "removal": "end", "scale_learning_rate": 0.05}
    settings = RunSettings(name, epochs=4, batch_size=50, options=options)
    state = initial_state(perceptron(), small_data, settings)
    plan = METHODS[name].plan(state, small_data, settings)
    train(state, plan.phases[:1], small_data, batch_size=50, seed=0, describe=plan.describe)
    guide = scaled_guide(state)
    with torch.no_grad():
        guide.logit[36 + torch.tensor([1, 4, 5, 11, 13, 18])] = -1.0
    theta, scale = guide.theta.detach(), guide.median_scales()
    assert float((scale[36:] - scale[36]).abs().max()) > 0.01 and bool((scale[:36] == 1).all())  # they have learnt
    gates = state.structure.consistent(state.structure.protect(theta > 0.5, theta))
    assert 2 <= int(gates.sum()) - 36 <= 14  # some nodes are closed, some are open
    inputs, _ = next(iter(small_data.test.batches(60)))
    network: Any = state.network.eval()
    with torch.no_grad():
        hidden = (network.fc1(inputs.flatten(1)) * scale[36:48]).relu() * gates[36:48]
        expected = network.fc3((network.fc2(hidden) * scale[48:]).relu() * gates[48:])
    start = plan.phases[1].start
    assert start is not None
    start(state)
    torch.testing.assert_close(state.network.eval()(inputs), expected, rtol=0, atol=1e-5)
    assert state.structure.gate_count == int(gates.sum())
    assert not (state.network._forward_hooks or state.network._forward_pre_hooks)


@pytest.mark.parametrize("name", NAMES)
def test_the_network_begins_as_it_was_given(name: str, small_data: Data) -> None:
    """With its scales it says what it said without; that is also what is validated while it learns."""
    state, plan = begun(name, small_data)
    inputs, _ = next(iter(small_data.test.batches(60)))
    objective = plan.phases[0].objective
    objective.attach(state)
    with torch.no_grad():
        torch.testing.assert_close(state.network.eval()(inputs), perceptron()(inputs))
        if name == "ss-ghs":  # whose scales are 0.7 at the start
            assert not torch.equal(state.network.train()(inputs), perceptron()(inputs))
    objective.detach()
    gating = Gating(state.network, state.structure)
    gating.remove()
    weight = state.network.get_parameter("fc2.weight")
    places = node_places(state.network, state.structure)["fc2.weight"]
    back = scaled(weight, places, scaled_guide(state).median_scales())
    torch.testing.assert_close(back, perceptron().fc2.weight)


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("name", NAMES)
def test_scales_are_cut_along_with_their_moments(name: str, small_data: Data) -> None:
    state, plan = begun(name, small_data)
    guide = scaled_guide(state)
    shaped = guide.scales.gate_parameters()
    optimizer = state.optimizers[SCALES]
    for number, parameter in enumerate(shaped[1:]):
        with torch.no_grad():
            parameter.copy_(torch.arange(56.0) + number)
        optimizer.state[parameter] = {"step": torch.tensor(1.0), "exp_avg": torch.arange(56.0) - number}
    shared = [parameter.clone() for parameter in guide.scales.learnt() if parameter.dim() == 0]
    stays = torch.ones(56, dtype=torch.bool)
    stays[[38, 41, 50]] = False
    state.shrink(stays)
    kept = torch.arange(56.0)[stays]
    for number, parameter in enumerate(shaped[1:]):
        assert torch.equal(parameter.detach(), kept + number)
        assert torch.equal(optimizer.state[parameter]["exp_avg"], kept - number)
    assert guide.scales.sizes.tolist() == [0.0] * 36 + [37.0] * 10 + [13.0] * 7  # as they were at the start
    assert all(map(torch.equal, shared, [p for p in guide.scales.learnt() if p.dim() == 0]))
    plan.phases[0].objective.attach(state)
    inputs, labels = next(iter(small_data.train.batches(20)))
    plan.phases[0].objective.loss(state, inputs, labels).backward()
    assert all(parameter.grad is not None for parameter in guide.scales.learnt())
    plan.phases[0].objective.detach()


@pytest.mark.parametrize("name", NAMES)
def test_quiet_nodes_are_removed_during_training(name: str, small_data: Data) -> None:
    options: dict[str, Any] = {
        "quiet_steps": 2, "shrink_every": 1, "closed_below": 0.5, "gate_learning_rate": 0.5, "slab": 0.5
    }  # fmt: skip
    pruned = bp.prune(perceptron(), small_data, name, epochs=6, batch_size=50, **options)
    sizes = [record["network_macs"] for record in pruned.history]
    assert sizes[-1] < sizes[0]
    assert pruned.posterior is not None and pruned.posterior.inclusion_probability.shape == (56,)
    assert pruned.kept["inputs"] == list(range(36))  # they have no spike
    # What the last epoch validated is the network that is left, but for what the last decision closed.
    tree = pruned.posterior_tree()
    assert "posterior" in tree.children


@pytest.mark.parametrize("name", NAMES)
def test_validation_sees_the_scaled_network(name: str, small_data: Data) -> None:
    """With nothing closed in the end, the last epoch's accuracy is that of the network that comes out."""
    options: dict[str, Any] = {"inclusion": 0.999, "slab": 0.2, "deviation": 0.1, "scale_learning_rate": 0.1}
    pruned = bp.prune(perceptron(), small_data, name, epochs=8, batch_size=50, **options)
    assert pruned.result()["architecture"] == {"inputs": 36, "fc1": 12, "fc2": 8}
    inputs, labels = next(iter(small_data.validation.batches(100)))
    with torch.no_grad():
        loss = torch.nn.functional.cross_entropy(pruned.network(inputs), labels)
    assert pruned.history[-1]["validation_nll"] == pytest.approx(float(loss), rel=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_a_share_of_the_epochs_at_fixed_structure(name: str, small_data: Data) -> None:
    """Scales are folded once, before: the compact network is trained as a plain one."""
    pruned = bp.prune(perceptron(), small_data, name, epochs=8, batch_size=50, prune_share=0.5, inclusion=0.5)
    assert [record["phase"] for record in pruned.history] == ["prune"] * 4 + ["fixed"] * 4
    assert pruned.history[-1]["validation_nll"] < pruned.history[0]["validation_nll"]


@pytest.mark.parametrize(
    ("kind", "options", "said"),
    [
        (GroupLassoOptions, {"penalty_shape": 0.0}, "penalty_shape must be a finite number > 0"),
        (GroupLassoOptions, {"penalty_rate": "2"}, "penalty_rate must be a number"),
        (GroupLassoOptions, {"scale_deviation": -1.0}, "scale_deviation must be"),
        (GroupLassoOptions, {"scale_learning_rate": 0.0}, "scale_learning_rate must be"),
        (GroupLassoOptions, {"limit": 1.0}, "unknown option of ss-gl 'limit'"),
        (GroupHorseshoeOptions, {"limit": float("inf")}, "limit must be"),
        (GroupHorseshoeOptions, {"whole_scale": 0}, "whole_scale must be"),
        (GroupHorseshoeOptions, {"node_scale": None}, "node_scale must be"),
        (GroupHorseshoeOptions, {"slab": 0}, "slab must be"),
        (GroupHorseshoeOptions, {"penalty_rate": 1.0}, "unknown option of ss-ghs 'penalty_rate'"),
    ],
)  # fmt: skip
def test_options_out_of_range(kind: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingError, match=said):
        kind.of("ss-gl" if kind is GroupLassoOptions else "ss-ghs", options)


@pytest.mark.parametrize("name", NAMES)
def test_messages_name_the_method(name: str, small_data: Data) -> None:
    with pytest.raises(SettingError, match=f"method '{name}' learns its gates in training, and epochs=0"):
        bp.prune(perceptron(), small_data, name, epochs=0)
    with pytest.raises(SettingError, match=rf"noise=0\.7 does nothing here, since {name} trains"):
        bp.prune(perceptron(), small_data, name, epochs=2, noise=0.7)
    assert METHODS[name].normal(RunSettings(name, options={"scale_deviation": 0.05})) == RunSettings(name)
    assert isinstance(logit_guide(begun(name, small_data)[0]).theta, torch.Tensor)
