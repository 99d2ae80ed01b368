"""SS-IG as a method: its prior, what is removed when, and what is left in the end."""

import warnings
from typing import Any

import pytest
import torch
from torch import nn

import bayesprune as bp
from bayesprune.data import Data
from bayesprune.errors import PruningWarning, SettingError, UnknownNameError
from bayesprune.inference.deciding import Decision
from bayesprune.inference.relaxed import LogitGateGuide
from bayesprune.inference.spike_slab.inclusion import ALWAYS, prior_inclusion
from bayesprune.inference.spike_slab.nodes import Quiet, SpikeSlab, logit_guide
from bayesprune.inference.spike_slab.options import SpikeSlabOptions
from bayesprune.inference.weight_laws import DEVIATIONS
from bayesprune.models import Conv4, LeNet300
from bayesprune.run.method import Reason
from bayesprune.run.running import initial_state
from bayesprune.run.settings import RunSettings
from bayesprune.structure import Gating, find
from bayesprune.training import TrainState, train
from bayesprune.training.phase import make_optimizers


def state_of(network: nn.Module, shape: tuple[int, ...]) -> TrainState:
    example = torch.randn(2, *shape)
    return TrainState(network, find(network, example), example)


def perceptron() -> LeNet300:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return LeNet300((12, 8), (1, 6, 6), 3)


def begun(data: Data, **options: Any) -> tuple[TrainState, Any]:
    """A state with the method's guide and first phase, ready for a step."""
    settings = RunSettings("spike-slab", epochs=4, batch_size=50, options=options)
    state = initial_state(perceptron(), data, settings)
    plan = SpikeSlab().plan(state, data, settings)
    make_optimizers(state, plan.phases[0])
    plan.phases[0].objective.attach(state)
    return state, plan


def test_prior_inclusion_of_the_papers_perceptron() -> None:
    """784-400-400-10 and 60,000 examples: the check values of the public code; inputs have no spike."""
    state = state_of(LeNet300((400, 400), (1, 28, 28), 10), (1, 28, 28))
    places, found = state.structure.initial_slices(), prior_inclusion(state, 60_000, None, input_gates=False)
    for name, value in (("inputs", ALWAYS), ("fc1", 1.541136e-3), ("fc2", 2.343843e-3)):
        assert found[places[name]].tolist() == pytest.approx([value] * len(found[places[name]]), rel=1e-6)
    given = prior_inclusion(state, 60_000, 0.2, input_gates=True)
    assert given.tolist() == pytest.approx([0.2] * 1584)
    usual = prior_inclusion(state, 60_000, None, input_gates=True)
    assert usual[places["inputs"]].tolist() == pytest.approx([1 / 785] * 784)


def test_prior_inclusion_with_convolutions() -> None:
    state = state_of(Conv4((4, 4, 5, 5, 7, 6), (1, 6, 6), 3), (1, 6, 6))
    found = prior_inclusion(state, 100, None, input_gates=False)
    assert found.tolist() == pytest.approx([1e-4] * len(found))


def test_the_compact_network_is_the_gated_one_with_mean_weights(small_data: Data) -> None:
    """Before the end the means under the gates with g > 1/2; after it a plain network without any."""
    options = {"inclusion": 0.3, "removal": "end"}
    settings = RunSettings("spike-slab", epochs=4, batch_size=50, options=options)
    state = initial_state(perceptron(), small_data, settings)
    plan = SpikeSlab().plan(state, small_data, settings)
    train(state, plan.phases[:1], small_data, batch_size=50, seed=0, describe=plan.describe)
    with torch.no_grad():
        logit_guide(state).logit[36 + torch.tensor([1, 4, 5, 11, 13, 18])] = -1.0
    theta = logit_guide(state).theta.detach()
    gates = state.structure.consistent(state.structure.protect(theta > 0.5, theta))
    assert 2 <= int(gates.sum()) - 36 <= 14  # some nodes are closed, some are open
    inputs, _ = next(iter(small_data.test.batches(60)))
    gating = Gating(state.network.eval(), state.structure)
    with gating.applied(gates.float()):
        expected = state.network(inputs)
    gating.remove()
    start = plan.phases[1].start
    assert start is not None
    start(state)
    torch.testing.assert_close(state.network.eval()(inputs), expected, rtol=0, atol=1e-5)
    assert state.structure.gate_count == int(gates.sum()) and bool((logit_guide(state).theta == 1).all())
    memory = state.memory(Decision)
    assert memory.theta is not None and torch.equal(memory.theta, theta)


def test_nodes_that_were_quiet_for_long_are_removed_with_their_deviations(small_data: Data) -> None:
    """Two quiet gates of fc1 go at the step when both have been quiet for three, one that was not stays."""
    state, _ = begun(small_data, quiet_steps=3, shrink_every=2, closed_below=0.01)
    guide, place = logit_guide(state), state.structure.slices()["fc1"]
    update = Quiet(SpikeSlabOptions(quiet_steps=3, shrink_every=2, closed_below=0.01))
    logits = torch.full_like(guide.logit, 3.0)
    logits[place.start + 2] = logits[place.start + 5] = -9.0
    fc2 = guide.log_deviation["fc2|weight"]
    with torch.no_grad():
        fc2.copy_(torch.arange(fc2.numel()).reshape(fc2.shape))
    optimizer = state.optimizers[DEVIATIONS]
    optimizer.state[fc2] = {"step": torch.tensor(1.0), "exp_avg": fc2.detach() + 0.5}
    sizes = []
    for step in range(1, 5):
        with torch.no_grad():
            guide.logit.copy_(logits if step < 4 else torch.full_like(guide.logit, -9.0))
            if step == 2:
                guide.logit[place.start + 7] = -9.0  # for one step only
        state.phase_step = step
        update(state)
        sizes.append(len(state.structure.groups[1].kept))
        if step == 3:
            assert guide.quiet[place.start + 2] == 3 and guide.quiet[place.start + 7] == 0
    assert sizes == [12, 12, 12, 10]
    assert state.structure.groups[1].kept.tolist() == [0, 1, 3, 4, 6, 7, 8, 9, 10, 11]
    kept = state.structure.groups[1].kept
    expected = torch.arange(96.0).reshape(8, 12)[:, kept]
    assert torch.equal(fc2, expected) and torch.equal(optimizer.state[fc2]["exp_avg"], expected + 0.5)
    assert guide.logit.shape == guide.quiet.shape == guide.spike.shape == (36 + 10 + 8,)


def test_nothing_is_removed_before_the_end_on_demand(small_data: Data) -> None:
    options: dict[str, Any] = {
        "quiet_steps": 1, "shrink_every": 1, "closed_below": 0.9, "gate_learning_rate": 0.5
    }  # fmt: skip
    early, late = (
        bp.prune(perceptron(), small_data, "spike-slab", epochs=4, batch_size=50, removal=removal, **options)
        for removal in ("quiet", "end")
    )
    assert early.history[-1]["network_macs"] < late.history[-1]["network_macs"] == late.history[0]["network_macs"]
    assert late.posterior is not None and early.posterior is not None
    assert late.kept["inputs"] == list(range(36))  # they have no spike
    for one in (early, late):
        assert one.posterior is not None
        count = sum(one.posterior.count(reason) for reason in Reason)
        assert count == 56 and one.posterior.count(Reason.OPEN) == sum(map(len, one.kept.values()))


@pytest.mark.usefixtures("at_once")
def test_a_layer_that_the_prior_closes_keeps_its_best_node_and_says_so(small_data: Data) -> None:
    with pytest.warns(PruningWarning, match="every node of 'fc1', 'fc2' was more likely closed.*larger inclusion"):
        pruned = bp.prune(
            perceptron(), small_data, "spike-slab", epochs=6, batch_size=50, inclusion=1e-9, gate_learning_rate=0.5
        )
    assert pruned.result()["architecture"] == {"inputs": 36, "fc1": 1, "fc2": 1}


def test_a_generous_prior_keeps_everything(small_data: Data) -> None:
    """A node that costs next to nothing stays: prior 0.9999, and a slab as narrow as the weights are."""
    pruned = bp.prune(
        perceptron(), small_data, "spike-slab", epochs=4, batch_size=50, inclusion=0.9999, slab=0.2, deviation=0.2
    )
    assert pruned.result()["architecture"] == {"inputs": 36, "fc1": 12, "fc2": 8}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"inclusion": 0.0}, "inclusion must be a finite number > 0"), ({"inclusion": 1.0}, "strictly between 0 and 1"),
        ({"slab": 0}, "slab must be"), ({"deviation": -1.0}, "deviation must be"), ({"start": 1.0}, "start must lie"),
        ({"temperature": 0.0}, "temperature must be"), ({"prune_share": 0.0}, "prune_share must be"),
        ({"closed_below": 2.0}, "closed_below must lie"), ({"quiet_steps": 0}, "quiet_steps must be"),
        ({"input_gates": 1}, "input_gates must be true or false"), ({"removal": 3}, "removal must be"),
        ({"gate_learning_rate": float("nan")}, "gate_learning_rate must be"),
    ],
)  # fmt: skip
def test_options_out_of_range(options: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingError, match=said):
        SpikeSlabOptions.of("spike-slab", options)


def test_settings_that_would_do_nothing_are_refused(small_data: Data) -> None:
    with pytest.raises(UnknownNameError, match="removal"):
        SpikeSlabOptions(removal="never")
    with pytest.raises(SettingError, match=r"noise=0\.7 does nothing here.*prune_share below 1"):
        bp.prune(perceptron(), small_data, "spike-slab", epochs=2, noise=0.7)
    with pytest.raises(SettingError, match="epochs=0 leaves none"):
        bp.prune(perceptron(), small_data, "spike-slab", epochs=0)


@pytest.mark.usefixtures("at_once")
def test_few_steps_are_told(small_data: Data) -> None:
    """Five steps an epoch; that nothing is trained afterwards is how the method is, and no warning."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pruned = bp.prune(perceptron(), small_data, "spike-slab", epochs=2, batch_size=50)
    said = [str(one.message) for one in caught if issubclass(one.category, PruningWarning)]
    assert pruned.history[-1]["step"] == 10 and not any("no epoch is left" in line for line in said)
    assert "10 steps to settle" in said[0] and "give epochs=600" in said[0]


def test_usual_options_name_no_other_run() -> None:
    usual = RunSettings("spike-slab", learning_rate=1e-3, options={"slab": SpikeSlabOptions().slab})
    assert SpikeSlab().normal(usual) == RunSettings("spike-slab")


def test_the_posterior_has_a_tree_and_comes_back(small_data: Data, tmp_path: Any) -> None:
    options: dict[str, Any] = {"gate_learning_rate": 0.3, "slab": 0.3}
    pruned = bp.prune(perceptron(), small_data, "spike-slab", epochs=4, batch_size=50, **options)
    assert pruned.posterior is not None
    hidden = pruned.posterior.inclusion_probability[36:]
    assert bool(((hidden > 0) & (hidden < 1)).all())
    tree = pruned.posterior_tree()
    assert "posterior" in tree.children
    again = bp.load(pruned.save(tmp_path / "run"))
    assert again.posterior is not None
    assert torch.equal(again.posterior.inclusion_probability, pruned.posterior.inclusion_probability)
    assert isinstance(begun(small_data)[0].modules["guide"], LogitGateGuide)
