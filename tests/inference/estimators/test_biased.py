"""The two biased estimators: that each estimates what its formula says, and how far that is from the truth."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor

from bayesprune.inference.elbo import MiniBatch
from bayesprune.inference.estimators import GateEstimator, SampledLabelCurvature, StraightThrough

if TYPE_CHECKING:
    from tests.inference.conftest import Moments, Tiny

ByHand = Callable[["Tiny"], tuple[Tensor, Tensor]]
LATE = (0.95, 0.9, 0.97, 0.95, 0.9, 0.97)


def expectations(case: Tiny) -> tuple[Tensor, Tensor]:
    """What straight-through and sampled-label curvature estimate, by summing over all gates and all drawn labels."""
    network: Any = case.model.network
    theta = case.guide.theta.detach()
    first_order, second_order = torch.zeros(6).double(), torch.zeros(6).double()
    for setting in product([0.0, 1.0], repeat=6):
        gates = torch.tensor(setting).double().repeat(len(case.inputs), 1).requires_grad_()
        hidden = network.fc1(case.inputs).relu() * gates[:, :3]
        log_probs = torch.log_softmax(network.fc3(network.fc2(hidden).relu() * gates[:, 3:]), 1)
        slopes = [  # of -log p(k | x_n, z) in z_nj, for every class k
            torch.autograd.grad(-log_probs[:, k].sum(), gates, retain_graph=True)[0] for k in range(3)
        ]
        own = torch.stack(slopes)[case.labels, torch.arange(len(case.labels))]
        curvature = sum(log_probs[:, k : k + 1].exp() * slope**2 for k, slope in enumerate(slopes))
        fixed = gates.detach()
        chance = (fixed[0] * theta + (1 - fixed[0]) * (1 - theta)).prod()
        first_order += chance * own.mean(0)
        second_order += chance * ((0.5 - fixed) * curvature).mean(0).detach()
    return first_order, first_order + second_order


def estimates(chosen: GateEstimator, case: Tiny, copies: int = 40, steps: int = 100) -> Iterator[Tensor]:
    """One gradient [J] after the other."""
    inputs, labels = case.inputs.repeat(copies, 1), case.labels.repeat(copies)
    for _ in range(steps):
        loss = chosen.loss(MiniBatch(case.model, case.guide, inputs, labels), case.guide.theta)
        yield torch.autograd.grad(loss, case.guide.theta)[0]


def gate_gradient(case: Tiny, by_hand: ByHand) -> Tensor:
    """The truth."""
    return torch.autograd.grad(by_hand(case)[0], case.guide.theta)[0]


def learnable(case: Tiny) -> Tiny:
    """The case with labels that depend on the inputs: which of the first three features is the largest."""
    return case._replace(labels=case.inputs[:, :3].argmax(1))


def train(case: Tiny, by_hand: ByHand, decay: float) -> None:
    """Fit the weights to the expected loss plus weight decay (decay/2) ||w||^2, the last layer's to its minimum."""
    parameters = list(case.model.network.parameters())

    def objective() -> Tensor:
        return by_hand(case)[0] + decay / 2 * torch.cat([w.flatten() for w in parameters]).square().sum()

    optimizer = torch.optim.Adam(parameters, 0.02)
    for _ in range(400):
        optimizer.zero_grad()
        objective().backward()
        optimizer.step()
    last = list(case.model.network.get_submodule("fc3").parameters())
    exactly: dict[str, Any] = {"tolerance_grad": 1e-10, "tolerance_change": 0, "line_search_fn": "strong_wolfe"}
    finish = torch.optim.LBFGS(last, max_iter=200, **exactly)

    def closure() -> float:
        finish.zero_grad()
        loss = objective()
        loss.backward()
        return loss.item()

    finish.step(closure)
    assert all(float(w.grad.abs().max()) < 1e-8 for w in last if w.grad is not None)


@pytest.mark.parametrize("seed", [0, 18])
def test_both_estimate_what_their_formulas_say(
    seed: int, tiny: Callable[..., Tiny], moments: Callable[[Iterable[Tensor]], Moments]
) -> None:
    case = tiny(seed=seed)
    formulas = expectations(case)
    both: tuple[GateEstimator, ...] = (StraightThrough(), SampledLabelCurvature())
    for chosen, formula in zip(both, formulas, strict=True):
        torch.manual_seed(0)
        assert float(moments(estimates(chosen, case)).distance(formula).max()) < 3.5, chosen.name


def test_straight_through_is_biased(
    tiny: Callable[..., Tiny], by_hand: ByHand, moments: Callable[[Iterable[Tensor]], Moments]
) -> None:
    """The test that the unbiased ones pass at 3 standard errors, it fails by more than 10."""
    case = tiny(seed=18)
    torch.manual_seed(0)
    measured = moments(estimates(StraightThrough(), case))
    assert float(measured.distance(gate_gradient(case, by_hand)).max()) > 10
    assert not StraightThrough.unbiased
    assert not SampledLabelCurvature.unbiased


@pytest.mark.parametrize("seed", [0, 4])
def test_bias_in_a_trained_network(seed: int, tiny: Callable[..., Tiny], by_hand: ByHand) -> None:
    """Late in training, gates nearly open: straight-through misses most of the gradient, curvature less of it.

    Relative bias, the length of the bias over the length of the gradient, from exact expectations.
    """
    case = learnable(tiny(theta=LATE, seed=seed, examples=30))
    train(case, by_hand, decay=0.02)
    truth = gate_gradient(case, by_hand)
    straight, curvature = (float((mean - truth).norm() / truth.norm()) for mean in expectations(case))
    print(f"relative bias at seed {seed}: straight-through {straight:.2f}, curvature {curvature:.2f}")
    assert straight > 0.5
    assert 0.05 < curvature < 0.9 * straight
    # its sign is what decides: useful gates (negative gradient) are seen to be useful
    signs = (expectations(case)[1].sign() == truth.sign())[truth.abs() > 0.1 * truth.abs().max()]
    assert bool(signs.all())


@pytest.mark.parametrize("seed", [2, 5])
def test_bias_before_learning(seed: int, tiny: Callable[..., Tiny], by_hand: ByHand) -> None:
    """Random weights, gates half open: curvature is further off than straight-through, unlike late in training."""
    case = learnable(tiny(theta=0.5, seed=seed, examples=30))
    truth = gate_gradient(case, by_hand)
    straight, curvature = (float((mean - truth).norm() / truth.norm()) for mean in expectations(case))
    print(f"relative bias at seed {seed}: straight-through {straight:.2f}, curvature {curvature:.2f}")
    assert curvature > 2 * straight > 0.4


def test_useful_gates_may_look_useless_before_learning(tiny: Callable[..., Tiny], by_hand: ByHand) -> None:
    """Of 42 gates that lower the loss in 20 random networks curvature takes 5 for harmful, straight-through 2."""
    useful, wrong = 0, [0, 0]
    for seed in range(20):
        case = learnable(tiny(theta=0.5, seed=seed, examples=30))
        is_useful = gate_gradient(case, by_hand) < 0
        useful += int(is_useful.sum())
        for place, mean in enumerate(expectations(case)):
            wrong[place] += int((is_useful & (mean > 0)).sum())
    print(f"{useful} useful gates; taken for harmful by straight-through {wrong[0]}, by curvature {wrong[1]}")
    assert wrong[1] > wrong[0]
    assert 0.05 * useful < wrong[1] < 0.25 * useful


def test_straight_through_only_sees_the_weight_decay_at_open_gates(tiny: Callable[..., Tiny], by_hand: ByHand) -> None:
    """At theta = 1 and stationary outgoing weights v_j it equals -decay ||v_j||^2, whatever the unit is worth."""
    decay = 0.01
    case = learnable(tiny(theta=1.0, seed=3, examples=30))
    train(case, by_hand, decay)
    outgoing = case.model.network.get_parameter("fc3.weight").detach().square().sum(0)
    straight, _ = expectations(case)
    (estimate,) = estimates(StraightThrough(), case, copies=1, steps=1)
    torch.testing.assert_close(estimate, straight, atol=1e-12, rtol=0)
    torch.testing.assert_close(straight[3:], -decay * outgoing, atol=1e-8, rtol=1e-6)
    truth = gate_gradient(case, by_hand)
    assert float((straight / truth)[3:].abs().max()) < 0.5


def test_curvature_of_a_single_step_by_hand(tiny: Callable[..., Tiny]) -> None:
    """(1/B) sum_n [t_nj + (1/2 - z_nj) u_nj^2] with the gates and labels drawn, times the loss's factor."""
    case = tiny(seed=3, examples=60)
    network: Any = case.model.network
    problem, seen = MiniBatch(*case), []
    original = problem.predict

    def watch(gates: Tensor, rows: Tensor | None = None) -> Any:
        predicted = original(gates, rows)
        drawn = predicted.sample()
        predicted.sample = lambda: drawn
        seen.append((gates.detach().clone(), drawn))
        return predicted

    problem.predict = watch  # type: ignore[method-assign]  # a spy
    torch.manual_seed(0)
    (SampledLabelCurvature().loss(problem, case.guide.theta) * 7).backward()
    ((gates, drawn),) = seen
    gates.requires_grad_()
    hidden = network.fc1(case.inputs).relu() * gates[:, :3]
    log_probs = torch.log_softmax(network.fc3(network.fc2(hidden).relu() * gates[:, 3:]), 1)
    rows = torch.arange(60)
    (own,) = torch.autograd.grad(-log_probs[rows, case.labels].sum(), gates, retain_graph=True)
    (other,) = torch.autograd.grad(-log_probs[rows, drawn].sum(), gates)
    torch.testing.assert_close(case.guide.theta.grad, 7 * (own + (0.5 - gates.detach()) * other**2).mean(0))
