"""The gradient of sections' gates against the sum over all 2^S settings of them."""

from itertools import product

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bayesprune.errors import SettingError
from bayesprune.inference.elbo import MiniBatch
from bayesprune.inference.estimators import SampledLabelCurvature
from bayesprune.inference.estimators.without import WithoutEstimate
from bayesprune.inference.guides import GateGuide
from bayesprune.inference.sections.differences import SectionDifferences
from bayesprune.inference.sections.prefix import Prefix
from bayesprune.models.gated import GatedModel
from bayesprune.models.priors.gates import FlatteningGatePrior
from bayesprune.sections.find import find_sections, with_sections
from bayesprune.sections.gating import closed_sections
from bayesprune.structure import Structure, find
from bayesprune.training import TrainState
from tests.bayesprune.sections.networks import Nested, Residual, SmallResNet, stirred

IMAGES = torch.randn(6, 1, 6, 6, generator=torch.Generator().manual_seed(3)).double()
LABELS = torch.arange(6) % 3


def sectioned(make: type[nn.Module], *, units: bool = False) -> tuple[TrainState, GatedModel]:
    """A network in double precision with gates for its sections, and for its units where asked for."""
    torch.manual_seed(5)
    network = stirred(make()).double()
    groups = find(network, IMAGES) if units else Structure((), (), ())
    structure = with_sections(groups, find_sections(network, IMAGES).sections)
    state = TrainState(network, structure, IMAGES)
    prior = FlatteningGatePrior(torch.ones(structure.gate_count, dtype=torch.float64))
    return state, GatedModel(network, structure, prior, len(IMAGES))


def by_enumeration(state: TrainState, theta: Tensor) -> Tensor:
    """dC/dtheta of C = E_z[mean cross-entropy], branches silenced by hand."""
    sections, found = state.structure.sections, torch.zeros_like(theta)
    for gates in product([0, 1], repeat=len(sections)):
        closed = [one for one, gate in zip(sections, gates, strict=True) if not gate]
        with torch.no_grad(), closed_sections(state.network, closed):
            loss = cross_entropy(state.network(IMAGES), LABELS)
        factors = torch.tensor([t if gate else 1 - t for t, gate in zip(theta.tolist(), gates, strict=True)])
        for number, gate in enumerate(gates):
            others = torch.cat([factors[:number], factors[number + 1 :]]).prod()
            found[number] += (2 * gate - 1) * others * loss
    return found


@pytest.mark.parametrize("make", [Residual, SmallResNet, Nested])
@pytest.mark.parametrize("at_once", [0, 1])
def test_the_gradient_is_that_of_the_sum_over_all_settings(make: type[nn.Module], at_once: int) -> None:
    state, model = sectioned(make)
    theta = torch.tensor([0.3, 0.8, 0.6], dtype=torch.float64)[: len(state.structure.sections)]
    estimator = SectionDifferences(WithoutEstimate(), at_once)
    estimator.state = state
    problem = MiniBatch(model, GateGuide(model).double(), IMAGES, LABELS)
    turns = []
    for state.phase_step in range(120):
        turns.append(estimator.differences(problem, theta))
    count = len(state.structure.sections) if at_once else 1  # a round, in which each has its turn
    draws = torch.stack(turns).unflatten(0, (-1, count)).mean(1)
    error = draws.std(0) / len(draws) ** 0.5
    assert bool(((draws.mean(0) - by_enumeration(state, theta)).abs() < 5 * error + 1e-9).all())


@pytest.mark.parametrize("make", [Residual, SmallResNet, Nested])
def test_at_decided_gates_one_draw_is_exact(make: type[nn.Module]) -> None:
    state, model = sectioned(make)
    estimator = SectionDifferences(WithoutEstimate(), 0)
    estimator.state = state
    problem = MiniBatch(model, GateGuide(model).double(), IMAGES, LABELS)
    for gates in product([0.0, 1.0], repeat=len(state.structure.sections)):
        theta = torch.tensor(gates, dtype=torch.float64)
        torch.testing.assert_close(estimator.differences(problem, theta), by_enumeration(state, theta))


@pytest.mark.parametrize("make", [Residual, SmallResNet, Nested])
@pytest.mark.parametrize("training", [False, True])
def test_layers_that_are_not_run_again_change_nothing(make: type[nn.Module], training: bool) -> None:
    state, model = sectioned(make, units=True)
    state.network.train(training)
    problem = MiniBatch(model, GateGuide(model).double(), IMAGES, LABELS)
    theta = torch.full((state.structure.gate_count,), 0.7, dtype=torch.float64)
    found = []
    for reuse in (True, False):
        estimator = SectionDifferences(WithoutEstimate(), 0, reuse=reuse)
        estimator.state = state
        torch.manual_seed(1)
        found.append(estimator.differences(problem, theta))
    assert torch.equal(*found) and bool(found[0][state.structure.section_gates].all())
    units = torch.ones_like(theta).index_fill(0, state.structure.section_gates, 0).bool()
    assert not found[0][units].any()
    assert not any("forward" in vars(module) for module in state.network.modules())


class Counted(nn.Linear):
    """Counts its calls."""

    calls = 0

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        self.calls += 1
        return super().forward(input)


def test_only_what_comes_after_a_section_is_run_again() -> None:
    network = Residual(6, 2)
    network.stem, network.head = Counted(36, 6), Counted(6, 3)
    images = IMAGES.float()
    sections = find_sections(network, images).sections
    with torch.no_grad(), Prefix(network, sections) as prefix:
        network.stem.calls = network.head.calls = 0
        whole = network(images)
        for section in sections:
            prefix.change(section)
            assert torch.equal(network(images), whole)
    assert (network.stem.calls, network.head.calls) == (1, 3)


def test_units_keep_the_gradient_of_their_own_estimator() -> None:
    state, model = sectioned(SmallResNet, units=True)
    guide = GateGuide(model, 0.6).double()
    sections = state.structure.section_gates
    slopes = []
    for outer in (True, False):
        chosen: SectionDifferences | SampledLabelCurvature = SampledLabelCurvature()
        if outer:
            chosen = SectionDifferences(SampledLabelCurvature(), 0)
            chosen.state = state
        torch.manual_seed(2)
        loss = chosen.loss(MiniBatch(model, guide, IMAGES, LABELS), guide.theta)
        slopes.append(torch.autograd.grad(loss, guide.theta)[0])
    with_sections_, plain = slopes
    units = torch.ones(len(plain)).index_fill(0, sections, 0).bool()
    torch.testing.assert_close(with_sections_[units], plain[units])
    assert not torch.allclose(with_sections_[sections], plain[sections])


def test_a_number_below_0_is_refused() -> None:
    with pytest.raises(SettingError, match="sections_per_step must be >= 0, not -1"):
        SectionDifferences(WithoutEstimate(), -1)


class Attending(nn.Module):
    """Attention on a residual stream: weights of its heads are gated themselves, so that gates are global."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(6, 8), nn.Linear(8, 3)
        self.attention = nn.MultiheadAttention(8, 4, batch_first=True)

    def forward(self, inputs: Tensor) -> Tensor:
        tokens = self.first(inputs.flatten(1, 2))
        tokens = tokens + self.attention(tokens, tokens, tokens, need_weights=False)[0]
        outputs: Tensor = self.last(tokens.mean(1))
        return outputs


def test_where_gates_are_global_one_draw_serves_all_examples() -> None:
    state, model = sectioned(Attending, units=True)
    assert not state.structure.per_example
    theta = torch.ones(state.structure.gate_count, dtype=torch.float64)
    estimator = SectionDifferences(WithoutEstimate())
    estimator.state = state
    problem = MiniBatch(model, GateGuide(model).double(), IMAGES, LABELS)
    found = estimator.differences(problem, theta)[state.structure.section_gates]
    exact = by_enumeration(state, theta[state.structure.section_gates])
    torch.testing.assert_close(found, exact)
