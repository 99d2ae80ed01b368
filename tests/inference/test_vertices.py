"""Why every gate ends at 0 or 1 under the flattening hyper-prior, and why it stalls inside under others."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from scipy.optimize import fsolve
from torch import Tensor, nn

from bayesprune.inference.projected import ProjectedGateDescent
from bayesprune.inference.references.oracle import all_gates
from bayesprune.models.priors import flattened_penalty

PI = torch.linspace(1e-7, 1 - 1e-7, 200_001, dtype=torch.float64)
PRIORS: dict[str, Callable[[Tensor], Tensor]] = {
    "Beta(2, 2)": lambda pi: -torch.log(pi) - torch.log1p(-pi),
    "Beta(2, 6)": lambda pi: -torch.log(pi) - 5 * torch.log1p(-pi),
    "Beta(1, 5)": lambda pi: -4 * torch.log1p(-pi),
    "exponential on [0, 1]": lambda pi: 5 * pi,
    "fixed at 0.1": lambda pi: torch.where((pi - 0.1).abs() < 1e-5, 0.0, torch.inf),
}
"""-log p(pi) but for a constant."""


def least_cost(theta: Tensor, negative_log_prior: Callable[[Tensor], Tensor]) -> Tensor:
    """Minimum over pi of KL(Bern(theta) || Bern(pi)) - log p(pi), by search on a grid."""
    here = theta.clamp(1e-300, 1).unsqueeze(1), (1 - theta).clamp(1e-300, 1).unsqueeze(1)
    entropy = theta * here[0].log().squeeze(1) + (1 - theta) * here[1].log().squeeze(1)
    rest = -theta.unsqueeze(1) * PI.log() - (1 - theta).unsqueeze(1) * torch.log1p(-PI) + negative_log_prior(PI)
    return entropy + rest.min(1).values


@pytest.mark.parametrize("prior", PRIORS)
def test_under_other_priors_the_best_theta_lies_inside(prior: str) -> None:
    """Convex in theta, with a slope that diverges at 1: a gate worth the slope in the middle stays in the middle.

    With the straight line of the flattening hyper-prior the minimum lies at a vertex whatever the gate is worth.
    """
    theta = torch.linspace(0, 1, 101, dtype=torch.float64)
    cost = least_cost(theta, PRIORS[prior])
    curvature = (cost[2:] - 2 * cost[1:-1] + cost[:-2])[1:-1]
    assert bool((curvature > 0).all())
    assert float(cost[-1] - cost[-2]) > 1.5 * float(cost[51] - cost[50])
    worth = float(cost[60] - cost[40]) / 0.2
    assert 0.2 < float(theta[(cost - worth * theta).argmin()]) < 0.8
    line = flattened_penalty(theta, 2.0)
    for benefit in (1.5, 2.5):
        assert float(theta[(line - benefit * theta).argmin()]) == float(benefit > 2)


def multilinear(values: Tensor, theta: Tensor) -> Tensor:
    """The multilinear function with these values at the vertices."""
    for chance in theta:
        closed, opened = values.unflatten(0, (2, -1)).unbind(0)
        values = torch.lerp(closed, opened, chance)
    return values.squeeze()


def interior_stationary_points(values: Tensor) -> list[np.ndarray]:
    """Of three gates: found by a root finder from many starts, with the slopes written out in NumPy."""
    cube = values.numpy().reshape(2, 2, 2)

    def slope(point: np.ndarray) -> np.ndarray:
        chances = [np.array([1 - chance, chance]) for chance in point]
        rise = np.array([-1.0, 1.0])
        parts = [[rise if gate == own else chances[gate] for gate in range(3)] for own in range(3)]
        return np.array([np.einsum("abc,a,b,c->", cube, *part) for part in parts])

    found: list[np.ndarray] = []
    for start in np.random.default_rng(0).random((12, 3)):
        point, _, status, _ = fsolve(slope, start, full_output=True)
        new = not any(np.abs(point - other).max() < 1e-6 for other in found)
        if new and status == 1 and point.min() > 0.01 and point.max() < 0.99 and np.abs(slope(point)).max() < 1e-9:
            found.append(point)
    return found


def saddles(functions: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Values at the vertices, and an interior stationary point."""
    for values in torch.randn(functions, 8, dtype=torch.float64):
        for point in interior_stationary_points(values):
            yield values, torch.from_numpy(point)


def test_interior_stationary_points_are_saddles() -> None:
    """The Hessian of a multilinear function has a diagonal of zeros, so its eigenvalues add to 0: both signs."""
    torch.manual_seed(0)
    found = list(saddles(100))
    assert len(found) > 10
    for values, point in found:
        hessian = torch.autograd.functional.hessian(lambda theta, v=values: multilinear(v, theta), point)
        assert float(hessian.diagonal().abs().max()) < 1e-12
        curvatures = torch.linalg.eigvalsh(hessian)
        assert float(curvatures[0]) < -1e-3 and float(curvatures[-1]) > 1e-3


def test_the_step_leaves_a_saddle_for_a_vertex() -> None:
    """Started a hair beside saddles."""
    torch.manual_seed(0)
    for values, point in list(saddles(40))[:3]:
        theta = nn.Parameter(point + 1e-6 * torch.randn(3, dtype=torch.float64))
        optimizer = ProjectedGateDescent([theta], 20)
        optimizer.prices, optimizer.ramp = torch.ones(3, dtype=torch.float64), 0.0
        for _ in range(800):
            optimizer.zero_grad()
            multilinear(values, theta).backward()
            optimizer.step()
        end = theta.detach()
        assert bool(((end == 0) | (end == 1)).all())


@pytest.mark.parametrize("margin", [0.5, 0.1, 0.02])
def test_a_marginal_gate_is_slow_and_not_stuck(margin: float) -> None:
    """d = -(1 - margin) c: from 1/2 to 0 in T/(2 margin) steps, at a constant slope."""
    theta = nn.Parameter(torch.tensor([0.5], dtype=torch.float64))
    optimizer = ProjectedGateDescent([theta], 40)
    optimizer.prices = torch.ones(1, dtype=torch.float64)
    steps = 0
    while float(theta.detach()) > 1e-9:
        theta.grad = torch.tensor([margin], dtype=torch.float64)
        optimizer.step()
        steps += 1
    assert steps == pytest.approx(20 / margin, abs=1.01)


def test_the_price_is_what_a_gate_must_be_worth() -> None:
    """At the vertex that costs least in loss and prices each open gate lowers the loss by more than its price.

    No closed one would.
    """
    torch.manual_seed(0)
    losses, price = torch.rand(64, dtype=torch.float64), 0.05
    vertices = all_gates(6).double()
    best = int((losses + price * vertices.sum(1)).argmin())
    for gate in range(6):
        other = best ^ 2 ** (5 - gate)
        opened = bool(vertices[best, gate])
        worth = float(losses[other] - losses[best]) if opened else float(losses[best] - losses[other])
        assert (worth > price) == opened
