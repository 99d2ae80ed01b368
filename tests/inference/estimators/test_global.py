"""Estimators where a weight is gated and all examples share their gates: against all settings of them, by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, linear

from bayesprune.errors import SettingError
from bayesprune.inference.elbo import GatedELBO, MiniBatch
from bayesprune.inference.estimators import GateEstimator, StraightThrough, estimator
from bayesprune.inference.guides import GateGuide
from bayesprune.models.gated import GatedModel
from bayesprune.models.priors.gates import FlatteningGatePrior
from bayesprune.structure import Group, Reader, Structure
from bayesprune.structure.members import Axis
from tests.inference.conftest import SIX, Tiny

if TYPE_CHECKING:
    from tests.inference.conftest import Moments

STEPS = 200
UNBIASED: list[tuple[str, dict[str, Any], int]] = [
    ("salient-flips", {"flips": 11}, 5),
    ("salient-flips", {"flips": 2}, 1),
    ("uniform-flips", {"flips": 11}, 5),
    ("uniform-flips", {"flips": 11, "control": True}, 5),
    ("disarm", {}, 5),
    ("score-function", {}, 5),
]
"""Estimators, their settings, and examples of the mini-batch."""


class Used(nn.Module):
    """Two hidden layers of three units; functions use all weights."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = nn.Linear(4, 3), nn.Linear(3, 3), nn.Linear(3, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = linear(linear(inputs, self.one.weight, self.one.bias).relu(), self.two.weight, self.two.bias).relu()
        return linear(hidden, self.three.weight, self.three.bias)


def used(theta: Any = SIX, examples: int = 5) -> Tiny:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(18)
        network = Used().double()
        for parameter in network.parameters():
            nn.init.normal_(parameter, 0.0, 0.9)
        features, labels = torch.randn(examples, 4, dtype=torch.float64), torch.randint(3, (examples,))
    groups, axes, readers = [], [], []
    for number, (writes, reads) in enumerate((("one", "two"), ("two", "three"))):
        gates = torch.arange(3) + 3 * number
        groups.append(Group(writes, 3, torch.arange(3), (writes,), (reads,)))
        axes += [Axis(writes, tensor, 0, gates) for tensor in ("weight", "bias")]
        readers.append(Reader(reads, 1, -1, gates, torch.arange(3), None, by_weight=True))
    structure = Structure(tuple(groups), tuple(axes), tuple(readers))
    model = GatedModel(network, structure, FlatteningGatePrior(torch.full((6,), 2.0).double()), examples)
    guide = GateGuide(model).double()
    with torch.no_grad():
        guide.theta.copy_(torch.as_tensor(theta, dtype=torch.float64))
    return Tiny(model, guide, features, labels)


def expected_loss(case: Tiny) -> Tensor:
    """E[mean cross-entropy], the network written out; differentiable in theta and weights."""
    network: Any = case.model.network
    total = torch.zeros((), dtype=torch.float64)
    for setting in product([0.0, 1.0], repeat=6):
        gates = torch.tensor(setting, dtype=torch.float64)
        hidden = network.two(network.one(case.inputs).relu() * gates[:3]).relu() * gates[3:]
        chance = (gates * case.guide.theta + (1 - gates) * (1 - case.guide.theta)).prod()
        total = total + chance * cross_entropy(network.three(hidden), case.labels)
    return total


def gradients(chosen: GateEstimator, case: Tiny, steps: int) -> Iterator[Tensor]:
    parameters = [case.guide.theta, *case.model.network.parameters()]
    for _ in range(steps):
        problem = MiniBatch(case.model, case.guide, case.inputs, case.labels)
        loss = chosen.loss(problem, case.guide.theta)
        slopes = torch.autograd.grad(loss, parameters)
        yield torch.cat([loss.detach().reshape(1), *(slope.flatten() for slope in slopes)])


@pytest.mark.parametrize(("name", "settings", "examples"), UNBIASED, ids=str)
def test_one_draw_a_batch_is_unbiased(
    name: str, settings: dict[str, Any], examples: int, moments: Callable[[Iterable[Tensor]], Moments]
) -> None:
    """The loss, its gradient in all six gates and in all 39 weights; a fixed seed."""
    case, chosen = used(examples=examples), estimator(name, **settings)
    torch.manual_seed(0)
    measured = moments(gradients(chosen, case, STEPS))
    loss = expected_loss(case)
    slopes = torch.autograd.grad(loss, [case.guide.theta, *case.model.network.parameters()])
    truth = torch.cat([loss.detach().reshape(1), *(slope.flatten() for slope in slopes)])
    assert float(measured.distance(truth)[:7].max()) < 3.5
    assert float(measured.distance(truth)[7:].max()) < 4.5


def test_curvature_of_one_draw_is_that_of_draws_for_each_example(
    moments: Callable[[Iterable[Tensor]], Moments], tiny: Callable[..., Tiny]
) -> None:
    """The same network with its layers called, where every example has its own gates, has the same mean."""
    case, other = used(), tiny(seed=0)
    with torch.no_grad():
        for own, theirs in zip(other.model.network.parameters(), case.model.network.parameters(), strict=True):
            own.copy_(theirs)
    other = other._replace(inputs=case.inputs, labels=case.labels)
    chosen = estimator("curvature")
    torch.manual_seed(0)
    one, each = (moments(row[:7] for row in gradients(chosen, tried, STEPS)) for tried in (case, other))
    spread = (one.error.square() + each.error.square()).sqrt()
    assert float(((one.mean - each.mean).abs() / spread).max()) < 4


def test_the_elbo_is_the_exact_one_on_average() -> None:
    case = used()
    elbo = GatedELBO(StraightThrough())(case.model, case.guide)
    torch.manual_seed(0)
    drawn = torch.stack([elbo(case.inputs, case.labels).detach() for _ in range(STEPS)])
    problem = MiniBatch(case.model, case.guide, case.inputs, case.labels)
    problem.predict(torch.ones(6).double())
    exact = expected_loss(case) * 5 + problem.penalty(case.guide.theta)
    assert abs(float((drawn.mean() - exact).detach())) < 4 * float(drawn.std()) / len(drawn) ** 0.5


def test_what_needs_gates_for_each_example_is_refused_by_name() -> None:
    case = used()
    problem = MiniBatch(case.model, case.guide, case.inputs, case.labels)
    with pytest.raises(SettingError, match="'linearised-flips' needs gates for each example.*take 'curvature'"):
        estimator("linearised-flips").loss(problem, case.guide.theta)
    with pytest.raises(SettingError, match="gates .5, 6. for each example, but weight 'two.weight' is gated itself"):
        problem.predict(torch.ones(5, 6).double())
