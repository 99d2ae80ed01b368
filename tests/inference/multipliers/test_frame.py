"""The frame that all laws share: objective, evaluation, removal, the end, options."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import bayesprune as bp
from bayesprune.data import Data
from bayesprune.errors import PruningWarning, SettingError, UnknownNameError
from bayesprune.inference.deciding import Decision
from bayesprune.inference.multipliers.guide import multiplier_guide
from bayesprune.inference.multipliers.objective import _protected, pruned_multipliers
from bayesprune.inference.multipliers.relatives import RELATIVES
from bayesprune.inference.multipliers.sparse_weights import SparseWeightGuide
from bayesprune.inference.multipliers.updates import RemoveQuiet
from bayesprune.inference.objective import GATES
from bayesprune.run.method import Plan, Reason
from bayesprune.run.running import initial_state, run
from bayesprune.run.settings import RunSettings
from bayesprune.structure import Gating, find
from bayesprune.training import Checkpointer, TrainState, train

Begin = Callable[..., tuple[TrainState, Plan]]
METHODS = {method.name: method for method in RELATIVES}
ALL = list(METHODS)
OTHERS = [name for name in ALL if name not in ("l0", "bc-gnj")]
NAMES = [name for name in ALL if name != "sparse-vd"]  # whose law is one of multipliers
LETS_GO: dict[str, Callable[[Any, Tensor, float], None]] = {
    "l0": lambda law, where, far: law.logit.masked_fill_(where, -far),
    "sbp": lambda law, where, far: law.log_deviation.masked_fill_(where, far),
    "bmrs": lambda law, where, far: law.log_deviation.masked_fill_(where, far),
    "vib": lambda law, where, far: law.log_variance.masked_fill_(where, far),
    "bc-gnj": lambda law, where, far: law.log_variance.masked_fill_(where, far),
    "bc-ghs": lambda law, where, far: law.mean_a.masked_fill_(where, -10 * far),
}
"""How to make each rule let go of channels, for sure."""


@torch.no_grad()
def let_go(state: TrainState, places: list[int], far: float = 4.0) -> None:
    """Make the rule let go of gates, and only of those."""
    guide = multiplier_guide(state)
    where = torch.zeros(state.structure.gate_count, dtype=torch.bool)
    where[places] = True
    if isinstance(guide, SparseWeightGuide):  # noise on all weights that read the channels
        weights = guide.weight_parameters(state.network)
        for reader in state.structure.readers:
            owners = [reader.arriving[reader.selected], *([] if reader.selection is None else [reader.selection])]
            columns = torch.stack([torch.isin(gates, where.nonzero().flatten()) for gates in owners]).any(0)
            weights[f"{reader.layer}.weight"].movedim(reader.weight_axis, 0)[columns] = far
        return
    LETS_GO[METHODS_OF[type(guide.law).__name__]](guide.law, where, far)


METHODS_OF = {
    "HardConcrete": "l0", "LogNormalNoise": "sbp", "ReducedNoise": "bmrs", "InformationBottleneck": "vib",
    "JeffreysMultipliers": "bc-gnj", "HorseshoeMultipliers": "bc-ghs",
}  # fmt: skip


@torch.no_grad()
def spread(state: TrainState) -> None:
    """Parameters of the law that differ from gate to gate."""
    for parameter in multiplier_guide(state).law.parameters():
        if parameter.requires_grad:
            parameter.add_(0.3 * torch.rand_like(parameter))


@torch.no_grad()
def under(state: TrainState, multipliers: Tensor, inputs: Tensor) -> Tensor:
    gating = Gating(state.network, state.structure)
    with gating.applied(multipliers):
        outputs: Tensor = state.network(inputs)
    gating.remove()
    return outputs


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("name", NAMES)
def test_the_objective_counts_nats_per_example(name: str, begun: Begin, small_data: Data) -> None:
    """Loss under the drawn multipliers, penalty and weight decay, put together by hand from the same draws.

    Of Gaussian weights the divergence instead of decay; their deviations are 1e-9 here, so that they draw nothing.
    """
    gaussian = name.startswith("bc")
    state, plan = begun(name, slab=0.3, warm_up=0.0, **({"deviation": 1e-9} if gaussian else {}))
    spread(state)
    guide, objective = multiplier_guide(state), plan.phases[0].objective
    inputs, labels = next(iter(small_data.train.batches(40)))
    torch.manual_seed(3)
    found = objective.loss(state, inputs, labels).detach()
    torch.manual_seed(3)
    multipliers = guide.draw(40)
    objective.detach()
    expected = cross_entropy(under(state, multipliers, inputs), labels)
    spiked = guide.spike > 0
    weights = torch.cat([parameter.flatten() for parameter in state.network.parameters()])
    slab = torch.distributions.Normal(0.0, 0.3)
    divergence = torch.distributions.kl_divergence(torch.distributions.Normal(weights, 1e-9), slab).sum()
    prior = divergence if gaussian else -slab.log_prob(weights).sum()
    cost = (guide.law.penalty()[spiked].sum() + guide.law.shared_penalty() + prior).detach()
    assert float(found) == pytest.approx(float(expected + cost / len(small_data.train)), rel=1e-4)
    assert bool((multipliers[..., ~spiked] == 1).all()) and bool((multipliers[..., spiked] != 1).any())


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("name", NAMES)
def test_warm_up_raises_the_penalty_from_nothing(name: str, begun: Begin, small_data: Data) -> None:
    state, plan = begun(name, warm_up=0.5)  # 9 of 18 steps
    inputs, labels = next(iter(small_data.train.batches(40)))
    guide = multiplier_guide(state)
    nats = guide.penalty() + (0 if (weights := guide.weight_penalty(guide.theta)) is None else weights)
    penalty = float(nats.detach()) / len(small_data.train)

    def loss(step: int) -> float:
        state.phase_step = step
        torch.manual_seed(3)
        return float(plan.phases[0].objective.loss(state, inputs, labels).detach())

    assert loss(8) == loss(17) and loss(8) - loss(2) == pytest.approx(6 / 9 * penalty, rel=1e-4)


@pytest.mark.parametrize("draws", ["example", "batch"])
def test_multipliers_are_drawn_for_examples_or_for_the_batch(draws: str, begun: Begin, small_data: Data) -> None:
    state, plan = begun("sbp", draws=draws)
    assert multiplier_guide(state).draw(7).shape == ((7, 56) if draws == "example" else (56,))
    inputs, labels = next(iter(small_data.train.batches(40)))
    assert bool(torch.isfinite(plan.phases[0].objective.loss(state, inputs, labels)))


@pytest.mark.parametrize("name", NAMES)
def test_while_multipliers_learn_the_network_is_evaluated_as_it_would_be_pruned(
    name: str, network: nn.Module, begun: Begin, small_data: Data
) -> None:
    """And the end makes it the plain compact network that says the same to 1e-5."""
    state, plan = begun(name, network, input_gates=True)
    spread(state)
    names = state.structure.slices()
    gone = [place.start + 1 for group, place in names.items() if place.stop - place.start > 2]
    let_go(state, gone)
    guide = multiplier_guide(state)
    assert int((~guide.stays).sum()) == len(gone)
    inputs, _ = next(iter(small_data.test.batches(60)))
    multipliers = torch.where(guide.stays, guide.fixed(), 0.0).detach()
    assert int((multipliers == 0).sum()) == len(gone) and bool((multipliers != 1).any())
    state.network.eval()
    said = state.network(inputs).detach()
    plan.phases[0].objective.detach()
    torch.testing.assert_close(said, under(state, multipliers, inputs), rtol=0, atol=1e-6)
    start = plan.phases[1].start
    assert start is not None
    start(state)
    plain = state.network(inputs)
    torch.testing.assert_close(plain, said, rtol=0, atol=1e-5)
    assert state.structure.gate_count <= len(multipliers) - len(gone)
    assert bool((guide.theta == 1).all()) and bool((guide.fixed() == 1).all())
    assert not any(module._forward_pre_hooks for module in state.network.modules())


@pytest.mark.parametrize("name", NAMES)
def test_channels_that_the_rule_has_let_go_for_long_are_removed(name: str, begun: Begin) -> None:
    """Two gates of fc1 go when both were let go for three steps; one that came back in between stays."""
    state, _ = begun(name)
    guide = multiplier_guide(state)
    learnt = {key: value.detach().clone() for key, value in guide.law.named_parameters()}
    start = state.structure.slices()["fc1"].start
    update = RemoveQuiet(steps=3, every=2)
    optimizer = state.optimizers[GATES]
    parameter = next(each for each in guide.law.parameters() if each.requires_grad)
    optimizer.state[parameter] = {"step": torch.tensor(1.0), "exp_avg": torch.arange(56.0)}
    sizes = []
    for step in range(1, 5):
        with torch.no_grad():
            for key, value in guide.law.named_parameters():
                value.copy_(learnt[key])
        let_go(state, [start + 2, start + 5] + ([start + 7] if step == 2 else []))
        state.phase_step = step
        update(state)
        sizes.append(len(state.structure.groups[1].kept))
    assert sizes == [12, 12, 12, 10]
    assert state.structure.groups[1].kept.tolist() == [0, 1, 3, 4, 6, 7, 8, 9, 10, 11]
    assert all(each.shape == (54,) for each in guide.gate_parameters())
    gone = torch.tensor([start + 2, start + 5])
    kept = torch.arange(56.0)[~torch.isin(torch.arange(56), gone)]
    assert torch.equal(optimizer.state[parameter]["exp_avg"], kept)
    removal_at_the_end = RemoveQuiet(steps=1, every=0)
    let_go(state, [start + 1])
    removal_at_the_end(state)
    assert state.structure.gate_count == 54


@pytest.mark.parametrize("name", ALL)
def test_a_group_that_the_rule_empties_keeps_its_best_channel(name: str, begun: Begin, small_data: Data) -> None:
    state, plan = begun(name)
    place = state.structure.slices()["fc2"]
    let_go(state, list(range(place.start, place.stop)))
    plan.phases[0].objective.detach()
    start = plan.phases[1].start
    assert start is not None and plan.review is not None
    start(state)
    assert len(state.structure.groups[2].kept) == 1
    assert "every channel of 'fc2'" in plan.review(state)[0]
    inputs, _ = next(iter(small_data.test.batches(60)))
    outputs = state.network.eval()(inputs).detach()
    assert float(outputs.std(0).max()) > 0  # the channel that stayed is read


SOON: dict[str, dict[str, Any]] = {
    "l0": {"weight": 1.0},
    "sparse-vd": {"warm_up": 0.0, "gate_learning_rate": None, "deviation_learning_rate": 0.4, "threshold": -1.0},
}  # fmt: skip
"""What makes something go within 30 steps."""


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("name", ["l0", "bc-gnj", *(pytest.param(name, marks=pytest.mark.long) for name in OTHERS)])
def test_shrinking_in_training_makes_it_cheaper_and_is_resumed_exactly(
    name: str, small_data: Data, network: nn.Module, tmp_path: Path
) -> None:
    """A run that is cut in two by a checkpoint ends with the same numbers, removals on the way included."""
    options: dict[str, Any] = {
        "quiet_steps": 2, "shrink_every": 3, "gate_learning_rate": 0.4, "prune_share": 0.5, "input_gates": True,
    } | SOON.get(name, {})  # fmt: skip
    settings = RunSettings(name, epochs=10, batch_size=40, options=options)

    class StopError(Exception):
        pass

    def stop(progress: Any) -> None:
        if progress.step == 22:
            raise StopError

    whole = run(METHODS[name], network, small_data, settings)
    macs = [record["network_macs"] for record in whole.history]
    assert macs[4] < macs[0] and whole.history[3]["macs"] < whole.history[0]["macs"]
    saved = Checkpointer(tmp_path / "state", steps=5)
    with pytest.raises(StopError):
        run(METHODS[name], network, small_data, settings, checkpointer=saved, progress=stop)
    again = run(METHODS[name], network, small_data, settings, checkpointer=saved)
    assert again.kept == whole.kept
    for key, value in whole.network.state_dict().items():
        assert torch.equal(value, again.network.state_dict()[key])
    assert whole.posterior is not None and again.posterior is not None
    assert torch.equal(whole.posterior.trace, again.posterior.trace)


@pytest.mark.parametrize("name", ALL)
def test_the_record_of_the_posterior(name: str, small_data: Data) -> None:
    """Scores in [0, 1], a reason for every gate, and channels without multipliers at 1."""
    options: dict[str, Any] = {} if name == "l0" else {"input_gates": False}
    pruned = bp.prune(_perceptron(), small_data, name, epochs=3, batch_size=40, **options)
    posterior = pruned.posterior
    assert posterior is not None
    assert bool(((posterior.inclusion_probability >= 0) & (posterior.inclusion_probability <= 1)).all())
    assert sum(posterior.count(reason) for reason in Reason) == 56
    assert posterior.count(Reason.OPEN) == sum(map(len, pruned.kept.values()))
    if options:
        assert pruned.kept["inputs"] == list(range(36)) and bool((posterior.inclusion_probability[:36] == 1).all())


def _perceptron() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return bp.models.LeNet300((12, 8), (1, 6, 6), 3)


def test_what_was_decided_is_the_score_before(begun: Begin) -> None:
    state, plan = begun("sbp")
    let_go(state, [40, 41])
    theta = multiplier_guide(state).theta.detach().clone()
    plan.phases[0].objective.detach()
    start = plan.phases[1].start
    assert start is not None
    start(state)
    memory = state.memory(Decision)
    assert memory.theta is not None and memory.reason is not None
    torch.testing.assert_close(memory.theta, theta)
    assert memory.reason[40] == memory.reason[41] == int(Reason.CLOSED_BY_PRICE)
    assert int((memory.reason == int(Reason.OPEN)).sum()) == 54


BAD: list[tuple[str, dict[str, Any], str]] = [
    ("l0", {"weight": 0.0}, "weight must be a finite number > 0"), ("l0", {"temperature": 1.0}, "strictly between"),
    ("l0", {"start": 1}, "start must lie strictly"), ("l0", {"input_start": "much"}, "input_start must be a number"),
    ("sbp", {"threshold": -1.0}, "threshold must be"), ("sbp", {"prune_share": 0}, "prune_share must be"),
    ("sbp", {"warm_up": 1.5}, "warm_up must be"), ("sbp", {"input_gates": 1}, "input_gates must be true or false"),
    ("sbp", {"draws": "epoch"}, "unknown draws 'epoch'"), ("sbp", {"removal": "never"}, "unknown removal 'never'"),
    ("sbp", {"quiet_steps": 0}, "quiet_steps must be"), ("sbp", {"shrink_every": 1.5}, "shrink_every must be"),
    ("sbp", {"slab": 0}, "slab must be"), ("sbp", {"gate_learning_rate": 0.0}, "gate_learning_rate must be"),
    ("sbp", {"fixed_decay": -1.0}, "fixed_decay must be"), ("sbp", {"removal": 3}, "removal must be"),
    ("bmrs", {"reduced": "laplace"}, "unknown reduced 'laplace'"), ("bmrs", {"reduced": 1}, "reduced must be"),
    ("bmrs", {"reduced": "uniform", "bits": 23}, "bits must be an integer"),
    ("bmrs", {"bits": 4}, "bits=4 does nothing here.*give reduced='uniform'"),
    ("bmrs", {"threshold": float("nan")}, "threshold must be a finite number"),
    ("vib", {"weight": -1.0}, "weight must be"), ("vib", {"threshold": "low"}, "threshold must be a number"),
    ("bc-gnj", {"threshold": 1e9}, "threshold must be"), ("bc-gnj", {"deviation": 0}, "deviation must be"),
    ("bc-gnj", {"deviation_learning_rate": -1}, "deviation_learning_rate must be"),
    ("sparse-vd", {"draws": "batch"}, "draws='batch' does nothing here"), ("sparse-vd", {"threshold": []}, "threshold"),
    ("sparse-vd", {"gate_learning_rate": 0.1}, "gate_learning_rate=0.1 does nothing here"),
    ("bc-ghs", {"global_scale": 0.0}, "global_scale must be"), ("bc-ghs", {"threshold": None}, "threshold must be"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "options", "said"), BAD)
def test_options_out_of_range(name: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises((SettingError, UnknownNameError), match=said):
        METHODS[name].normal(RunSettings(name, options=options))


@pytest.mark.parametrize("name", ALL)
def test_settings_that_would_do_nothing_are_refused(name: str, small_data: Data) -> None:
    with pytest.raises(SettingError, match=r"noise=0\.7 does nothing here.*prune_share below 1"):
        bp.prune(_perceptron(), small_data, name, epochs=2, noise=0.7, prune_share=1.0)
    with pytest.raises(SettingError, match="epochs=0 leaves none"):
        bp.prune(_perceptron(), small_data, name, epochs=0)
    with pytest.raises(SettingError, match="no groups to prune"):
        bp.prune(nn.Sequential(nn.Flatten(), nn.Linear(36, 3)), small_data, name, epochs=2, inputs="none")


@pytest.mark.parametrize("name", ALL)
def test_usual_options_name_no_other_run_and_few_steps_are_told(name: str, small_data: Data) -> None:
    usual = METHODS[name].options()
    written = RunSettings(name, learning_rate=2e-3, options={"slab": usual.slab, "quiet_steps": usual.quiet_steps})
    assert METHODS[name].normal(written) == RunSettings(name)
    with pytest.warns(PruningWarning, match="8 steps to settle"):
        bp.prune(_perceptron(), small_data, name, epochs=2, batch_size=60, prune_share=1.0)


def test_no_pyro_program_samples_them(begun: Begin, small_data: Data) -> None:
    state, _ = begun("sbp")
    with pytest.raises(SettingError, match="no Pyro program samples them"):
        multiplier_guide(state)(torch.zeros(2, 1, 6, 6))


@pytest.mark.usefixtures("at_once")
def test_training_alone_lowers_the_objective(begun: Begin, small_data: Data) -> None:
    state, plan = begun("sbp", settings={"epochs": 20})
    plan.phases[0].objective.detach()
    train(state, plan.phases[:1], small_data, batch_size=40, seed=0, describe=plan.describe)
    losses = [record["loss"] for record in state.history]
    assert losses[-1] < 0.9 * losses[0] and state.history[-1]["validation_accuracy"] > 0.5


@pytest.mark.parametrize("seed", range(4))
def test_what_stays_during_training_is_what_stays_at_the_end(seed: int, network: nn.Module, begun: Begin) -> None:
    """`Structure.protect` is the oracle, also where groups are emptied."""
    state, _ = begun("sbp", network, input_gates=True)
    generator = torch.Generator().manual_seed(seed)
    count = state.structure.gate_count
    closed = torch.rand(count, generator=generator) < 0.25 * (seed + 1)
    let_go(state, closed.nonzero().flatten().tolist())
    guide = multiplier_guide(state)
    expected = state.structure.protect(guide.stays, guide.theta.detach())
    assert torch.equal(pruned_multipliers(state) > 0, expected)


def test_evaluating_costs_no_multiplications_of_its_own(begun: Begin) -> None:
    """The cost of the network while multipliers rest on it is that of the plain one: 36 x 12 + 12 x 8 + 8 x 3."""
    state, _ = begun("sbp", input_gates=True)
    let_go(state, [3, 40])
    assert state.network_macs() == 552


@pytest.mark.parametrize("name", ["l0", "vib", "bc-ghs"])
def test_laws_begin_by_the_seed_of_the_run_and_nothing_else(name: str, small_data: Data) -> None:
    """Whatever the caller has drawn before; another seed begins elsewhere."""

    def begins(seed: int, drawn: int) -> Tensor:
        torch.manual_seed(drawn)
        settings = RunSettings(name, epochs=2, batch_size=40, seed=seed)
        state = initial_state(_perceptron(), small_data, settings)
        METHODS[name].plan(state, small_data, settings)
        learnt = [one for one in multiplier_guide(state).law.parameters() if one.requires_grad]
        return torch.cat([one.detach().flatten() for one in learnt])

    assert torch.equal(begins(0, 1), begins(0, 2))
    assert not torch.equal(begins(0, 1), begins(1, 1))


def test_layers_that_normalise_a_group_keep_their_best_channel() -> None:
    """`Structure.parts` names a layer with its gates, one of which must be open."""
    structure = find(nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.Linear(8, 3)), torch.randn(3, 6))
    assert structure.parts
    generator = torch.Generator().manual_seed(0)
    for share in (0.0, 0.1, 0.5):
        stays = torch.rand(structure.gate_count, generator=generator) < share
        score = torch.rand(structure.gate_count, generator=generator)
        assert torch.equal(_protected(structure, stays, score), structure.protect(stays, score))
