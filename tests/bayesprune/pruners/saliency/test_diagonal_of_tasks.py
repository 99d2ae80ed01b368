"""The diagonal of the Hessian for every task, weighted or not, against autograd's."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from bayesprune.pruners.saliency.diagonal import exact_diagonal
from bayesprune.pruners.saliency.gauss_newton import obstacle
from bayesprune.tasks import Likelihood, OwnTask, likelihood

LAWS: dict[str, Callable[[], Likelihood]] = {
    "classes": likelihood.Categorical,
    "tags": likelihood.Bernoulli,
    "numbers": lambda: likelihood.Gaussian(3, (0.5, 2.0, 1.0)),
    "learnt noise": lambda: likelihood.Gaussian(3),
    "counts": likelihood.Poisson,
    "own loss": OwnTask(loss=lambda outputs, y: (outputs - y).pow(4).mean()).likelihood,
}


SINGLE = ("classes", "own loss")
"""One target an example."""

CASES = [(name, w) for name in LAWS for w in ("", "examples", "targets") if w != "targets" or name not in SINGLE]


@pytest.mark.parametrize(("name", "weighted"), CASES)
def test_it_is_autograd_s(name: str, weighted: str) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 3)).double()
    law, inputs = LAWS[name]().double(), torch.randn(6, 4, dtype=torch.float64)
    outputs = network(inputs).detach()
    plain = outputs + 1 if name == "own loss" else law.sample(outputs)
    shape: Any = (6,) if weighted == "examples" else tuple(plain.shape)
    targets: Any = (plain, 2 * torch.rand(shape, dtype=torch.float64)) if weighted else plain
    assert (obstacle(network, inputs, law) is None) == (name != "own loss")
    found = exact_diagonal(network, (inputs, targets), law)
    for own in found:
        weight = network.get_parameter(own)

        def loss(flat: Tensor, own: str = own, weight: Tensor = weight) -> Tensor:
            return law.loss(functional_call(network, {own: flat.view_as(weight)}, (inputs,)), targets)

        hessian: Any = torch.autograd.functional.hessian(loss, weight.detach().flatten())
        torch.testing.assert_close(found[own].flatten(), hessian.diagonal(), rtol=1e-6, atol=1e-9)
