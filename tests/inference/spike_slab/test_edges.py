"""SV-BNN: the ELBO of single weights' gates against enumeration and draws; what is kept, masked and trimmed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest
import torch
from pyro.infer import Trace_ELBO
from torch import Tensor, nn
from torch.distributions import Bernoulli, Normal, kl_divergence
from torch.nn.functional import cross_entropy

import bayesprune as bp
from bayesprune.data import Data
from bayesprune.errors import PruningWarning, SettingError
from bayesprune.inference.elbo import GatedELBO
from bayesprune.inference.relaxed import RelaxedGates
from bayesprune.inference.spike_slab.edge_guide import EdgeGuide, EdgeSlab, relaxed
from bayesprune.inference.spike_slab.edge_masks import LastEdges, edge_guide, trim_edges
from bayesprune.inference.spike_slab.edge_options import EdgeOptions
from bayesprune.inference.spike_slab.edges import SparseWeights, usual_inclusion
from bayesprune.models import Conv4, LeNet300
from bayesprune.models.priors.edge_inclusion import edge_inclusion
from bayesprune.models.priors.gates import FixedGatePrior
from bayesprune.run.running import initial_state
from bayesprune.run.settings import RunSettings
from bayesprune.training import TrainState

if TYPE_CHECKING:
    from tests.inference.conftest import Moments, Tiny

Reduce = Callable[[Iterable[Tensor]], "Moments"]
SLAB, PRIOR, NARROW = 0.7, 0.2, 1e-5
OPEN = ("fc2.weight", (1, 2)), ("fc2.weight", (0, 0)), ("fc1.bias", (2,)), ("fc3.weight", (0, 1)), ("fc3.bias", (2,))
"""The weights whose gates are undecided where gates are enumerated."""


def perceptron() -> LeNet300:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return LeNet300((12, 8), (1, 6, 6), 3)


def made(tiny: Callable[..., Tiny], deviation: float = NARROW) -> Tiny:
    guide = partial(EdgeGuide, start=0.6, deviation=deviation)
    slab = EdgeSlab(SLAB, PRIOR)
    prior = FixedGatePrior(torch.full((6,), 0.5).double())
    case = tiny(guide=guide, weight_sites=True, weight_prior=slab, gate_prior=prior, theta=1.0)
    assert isinstance(case.guide, EdgeGuide)
    return case


def key(name: str) -> str:
    return name.replace(".", "|")


@torch.no_grad()
def divergence(case: Tiny) -> Tensor:
    """By torch's closed forms of Bernoulli and normal laws, weight by weight; the channels' gates are all open."""
    assert isinstance(case.guide, EdgeGuide)
    total = 6 * torch.tensor(2.0).double().log()
    for name, mean in case.model.network.named_parameters():
        chance = case.guide.edge_logit[key(name)].sigmoid()
        own = kl_divergence(Normal(mean, case.guide.log_deviation[key(name)].exp()), Normal(0.0, SLAB))
        total += (kl_divergence(Bernoulli(chance), Bernoulli(torch.tensor(PRIOR).double())) + chance * own).sum()
    return total


@torch.no_grad()
def enumerated(case: Tiny) -> Tensor:
    """N E[loss] over the 2^5 settings of the gates that are undecided, and all divergences."""
    network: Any = case.model.network
    initial = {name: value.clone() for name, value in network.state_dict().items()}
    data = torch.zeros((), dtype=torch.float64)
    assert isinstance(case.guide, EdgeGuide)
    for gates in product([0.0, 1.0], repeat=len(OPEN)):
        chance = torch.ones((), dtype=torch.float64)
        network.load_state_dict(initial)
        for (name, place), gate in zip(OPEN, gates, strict=True):
            g = case.guide.edge_logit[key(name)][place].sigmoid()
            chance = chance * (g if gate else 1 - g)
            network.get_parameter(name)[place] *= gate
        data += chance * cross_entropy(network(case.inputs), case.labels, reduction="sum")
    network.load_state_dict(initial)
    return data + divergence(case)


def test_negative_elbo_by_all_gates_and_its_mini_batches(tiny: Callable[..., Tiny], moments: Reduce) -> None:
    case = made(tiny)
    assert isinstance(case.guide, EdgeGuide)
    with torch.no_grad():
        for logit in case.guide.edge_logit.values():
            logit.fill_(40.0)  # as good as open
        for (name, place), chance in zip(OPEN, (0.3, 0.6, 0.5, 0.8, 0.4), strict=True):
            case.guide.edge_logit[key(name)][place] = torch.tensor(chance).double().logit()
    elbo, truth = GatedELBO(RelaxedGates())(case.model, case.guide), enumerated(case)
    torch.manual_seed(0)
    whole = moments(elbo(case.inputs, case.labels) for _ in range(400))
    assert float(whole.distance(truth)) < 3.5 and float(whole.error) < 0.3

    def batches() -> Iterator[Tensor]:
        for _ in range(600):
            rows = torch.randperm(5)[:2]
            yield elbo(case.inputs[rows], case.labels[rows])

    part = moments(batches())
    assert float(part.distance(truth)) < 3.5 and float(part.error) < 0.3


def test_pyro_s_elbo_of_the_same_programs(tiny: Callable[..., Tiny], moments: Reduce) -> None:
    """`Trace_ELBO` scores point masses against point masses and densities against densities, weight by weight."""
    case = made(tiny, 0.3)
    ours, pyros = GatedELBO(RelaxedGates())(case.model, case.guide), Trace_ELBO()(case.model, case.guide)
    torch.manual_seed(0)
    with torch.no_grad():
        theirs = moments(pyros(case.inputs, case.labels) for _ in range(150))
        mine = moments(ours(case.inputs, case.labels) for _ in range(150))
    error = float((theirs.error.square() + mine.error.square()).sqrt())
    assert abs(float(theirs.mean - mine.mean)) < 3.5 * error and error < 0.05 * float(divergence(case))


def test_the_gradient_of_a_relaxed_gate() -> None:
    """Its mean is the integral of the soft gate's slope, here a sum over 200,000 midpoints; hard gates are 0 or 1."""
    logit = torch.full((60_000,), 0.8, dtype=torch.float64, requires_grad=True)
    torch.manual_seed(0)
    gates = relaxed(logit, 0.5)
    assert set(gates.detach().unique().tolist()) == {0.0, 1.0}
    share = float(torch.tensor(0.8).sigmoid())
    assert abs(float(gates.detach().mean()) - share) < 3.5 * (share * (1 - share) / 60_000) ** 0.5
    (slope,) = torch.autograd.grad(gates.sum(), logit)
    uniform = (torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000
    soft = torch.sigmoid((0.8 + uniform.log() - torch.log1p(-uniform)) / 0.5)
    expected = float((soft * (1 - soft) / 0.5).mean())
    assert abs(float(slope.mean()) - expected) < 3.5 * float(slope.std()) / 60_000**0.5


def test_masked_weights_are_0_and_cost_nothing(tiny: Callable[..., Tiny]) -> None:
    case = made(tiny, 0.3)
    assert isinstance(case.guide, EdgeGuide)
    before = case.guide.weight_penalty(case.guide.theta).detach()
    mask = torch.ones(3, 3, dtype=torch.float64)
    mask[1, 2] = 0.0
    with torch.no_grad():
        case.model.network.get_parameter("fc2.weight").mul_(mask)
    one = made(tiny, 0.3)
    assert isinstance(one.guide, EdgeGuide)
    g, prior = torch.tensor(0.6).double(), torch.tensor(PRIOR).double()
    mean = one.model.network.get_parameter("fc2.weight").detach()[1, 2]
    own = kl_divergence(Bernoulli(g), Bernoulli(prior)) + g * kl_divergence(Normal(mean, 0.3), Normal(0.0, SLAB))
    case.guide.masks = {"fc2.weight": mask}
    torch.testing.assert_close(case.guide.weight_penalty(case.guide.theta).detach(), before - own)
    assert not any(bool(case.guide.sample_weights()["fc2.weight"][1, 2]) for _ in range(20))
    assert float(case.guide.inclusion()["fc2.weight"][1, 2]) == 0


def test_the_usual_prior_of_networks() -> None:
    def state_of(network: nn.Module, shape: tuple[int, ...]) -> TrainState:
        from bayesprune.structure import find

        example = torch.randn(2, *shape)
        return TrainState(network, find(network, example), example)

    found = usual_inclusion(state_of(LeNet300((400, 400), (1, 28, 28), 10), (1, 28, 28)), 60_000)
    assert found == pytest.approx(5.6369e-8, rel=2e-5)
    maps = Conv4((2, 2, 3, 3, 7, 6), (1, 8, 8), 3)
    linear = [module for module in maps.modules() if isinstance(module, nn.Linear)]
    total = sum(p.numel() for layer in linear for p in layer.parameters())
    expected = edge_inclusion(total, 7, linear[0].in_features, 100)
    assert usual_inclusion(state_of(maps, (1, 8, 8)), 100) == pytest.approx(expected)


def decided(data: Data, logits: Callable[[str, Tensor], Tensor], **options: Any) -> tuple[TrainState, nn.Module]:
    """A state after the decision, and the network before it."""
    settings = RunSettings("sv-bnn", epochs=2, batch_size=50, options=options)
    state = initial_state(perceptron(), data, settings)
    plan = SparseWeights().plan(state, data, settings)
    guide = edge_guide(state)
    before = perceptron()
    with torch.no_grad():
        for name, parameter in state.network.named_parameters():
            guide.edge_logit[key(name)].copy_(logits(name, parameter))
    start = plan.phases[1].start
    assert start is not None
    start(state)
    return state, before


def test_weights_and_biases_more_likely_there_stay(small_data: Data) -> None:
    """The network is the one whose means are 0 wherever g <= 1/2."""
    torch.manual_seed(0)
    drawn = {name: torch.randn_like(parameter) for name, parameter in perceptron().named_parameters()}
    state, before = decided(small_data, lambda name, _: drawn[name])
    for name, parameter in before.named_parameters():
        expected = torch.where(drawn[name] > 0, parameter.detach(), torch.zeros(()))
        assert torch.equal(state.network.get_parameter(name).detach(), expected)
        assert torch.equal(state.masks[name] != 0, drawn[name] > 0)
    assert state.memory(LastEdges).names == []


def test_a_layer_keeps_its_likeliest_weight(small_data: Data) -> None:
    def logits(name: str, parameter: Tensor) -> Tensor:
        found = torch.full_like(parameter, -5.0 if name.startswith("fc2") else 5.0)
        if name == "fc2.weight":
            found[3, 7] = -1.0
        return found

    state, _ = decided(small_data, logits)
    assert state.masks["fc2.weight"].nonzero().tolist() == [[3, 7]] and not bool(state.masks["fc2.bias"].any())
    assert state.memory(LastEdges).names == ["fc2"]


def test_trimming_removes_what_nothing_reads_or_feeds(small_data: Data) -> None:
    """Unit 2 of fc1 is not read, unit 5 not fed, unit 6 fed by its bias alone; all else stays. The outputs too."""

    def logits(name: str, parameter: Tensor) -> Tensor:
        found = torch.full_like(parameter, 5.0)
        if name == "fc2.weight":
            found[:, 2] = -5.0
        if name == "fc1.weight":
            found[5] = found[6] = -5.0
            found[:, 11] = -5.0  # an input that is not read
        if name == "fc1.bias":
            found[5] = -5.0
        return found

    whole, _ = decided(small_data, logits)
    state, _ = decided(small_data, logits, trim=True)
    kept = state.structure.kept()
    assert kept["fc1"] == [0, 1, 3, 4, 6, 7, 8, 9, 10, 11] and kept["fc2"] == list(range(8))
    assert kept["inputs"] == [place for place in range(36) if place != 11]
    inputs, _ = next(iter(small_data.test.batches(60)))
    torch.testing.assert_close(state.network.eval()(inputs), whole.network.eval()(inputs), rtol=0, atol=1e-5)
    trim_edges(state)
    assert state.structure.kept() == kept  # nothing more


@pytest.mark.usefixtures("at_once")
def test_the_result_is_a_masked_network_that_comes_back(small_data: Data, tmp_path: Any) -> None:
    options: dict[str, Any] = {"inclusion": 0.3, "gate_learning_rate": 0.15, "trim": True}
    pruned = bp.prune(perceptron(), small_data, "sv-bnn", epochs=8, batch_size=50, **options)
    assert pruned.posterior is None and 0 < pruned.result()["density"] < 0.9
    assert {"edges", "undecided"} <= set(pruned.history[0])
    for name, mask in pruned.masks.items():
        assert torch.equal(pruned.network.get_parameter(name) != 0, mask)
    inputs, _ = next(iter(small_data.test.batches(60)))
    again = bp.load(pruned.save(tmp_path / "run"))
    assert torch.equal(again.network(inputs), pruned.network(inputs)) and again.masks.keys() == pruned.masks.keys()
    # A run that starts from it keeps the zeros.
    longer = bp.prune(pruned.network, small_data, "sv-bnn", epochs=2, batch_size=50, inclusion=0.05)
    assert longer.result()["nonzero_weights"] <= pruned.result()["nonzero_weights"]


def test_training_under_the_masks(small_data: Data) -> None:
    options: dict[str, Any] = {"inclusion": 0.05, "gate_learning_rate": 0.2, "prune_share": 0.5}
    pruned = bp.prune(perceptron(), small_data, "sv-bnn", epochs=8, batch_size=50, **options)
    assert [record["phase"] for record in pruned.history] == ["prune"] * 4 + ["fixed"] * 4
    assert all(not bool(pruned.network.get_parameter(name)[~mask].any()) for name, mask in pruned.masks.items())
    assert pruned.history[3]["edges"] >= sum(int(mask.sum()) for mask in pruned.masks.values())


def test_too_strict_a_prior_is_told(small_data: Data) -> None:
    with pytest.warns(PruningWarning, match="every weight of 'fc1', 'fc2', 'fc3' was more likely 0.*larger inclusion"):
        bp.prune(
            perceptron(),
            small_data,
            "sv-bnn",
            epochs=6,
            batch_size=50,
            inclusion=1e-9,
            gate_learning_rate=0.5,
            ramp_share=0,
        )


class Tied(nn.Module):
    """Two layers share one weight, and the layer normalisation mixes all channels: none can be removed."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2, self.norm, self.out = (
            nn.Linear(36, 36), nn.Linear(36, 36), nn.LayerNorm(36), nn.Linear(36, 3)
        )  # fmt: skip
        self.fc2.weight = self.fc1.weight

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.fc1(inputs.flatten(1)).relu().sort(-1).values  # no unit has a place of its own
        outputs: Tensor = self.out(self.norm(self.fc2(hidden)).sort(-1).values)
        return outputs


@pytest.mark.usefixtures("at_once")
def test_networks_without_groups_are_masked_and_not_trimmed(small_data: Data) -> None:
    torch.manual_seed(0)
    pruned = bp.prune(Tied(), small_data, "sv-bnn", epochs=4, batch_size=50, gate_learning_rate=0.3, inclusion=0.1)
    assert set(pruned.masks) == {"fc1.weight", "fc1.bias", "fc2.bias", "out.weight", "out.bias"}  # the shared one once
    mask = pruned.masks["fc1.weight"]
    assert bool(mask.any()) and not bool(mask.all())
    assert torch.equal(pruned.network.get_parameter("fc2.weight") != 0, mask)
    assert pruned.structure.gate_count == 0
    trimmed = bp.prune(Tied(), small_data, "sv-bnn", epochs=1, batch_size=50, trim=True)
    assert trimmed.network.get_parameter("fc1.weight").shape == (36, 36)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"inclusion": 0.0}, "inclusion must be a finite number > 0"), ({"inclusion": 1.0}, "strictly between 0 and 1"),
        ({"slab": 0}, "slab must be"), ({"deviation": -1.0}, "deviation must be"), ({"start": 1.0}, "start must lie"),
        ({"temperature": None}, "temperature must be"), ({"prune_share": 0.0}, "prune_share must be"),
        ({"trim": 1}, "trim must be true or false"), ({"gate_learning_rate": 0.0}, "gate_learning_rate must be"),
        ({"removal": "end"}, "unknown option of sv-bnn 'removal'"), ({"fixed_decay": -1.0}, "fixed_decay must be"),
    ],
)  # fmt: skip
def test_options_out_of_range(options: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingError, match=said):
        EdgeOptions.of("sv-bnn", options)


def test_laws_that_do_not_fit_are_refused(tiny: Callable[..., Tiny]) -> None:
    with pytest.raises(SettingError, match="EdgeSlab"):
        tiny(guide=partial(EdgeGuide, start=0.5), weight_sites=True)
    with pytest.raises(SettingError, match="strictly between 0 and 1"):
        EdgeSlab(1.0, 0.0)
    usual = RunSettings("sv-bnn", learning_rate=1e-3, options={"trim": False})
    assert SparseWeights().normal(usual) == RunSettings("sv-bnn")
