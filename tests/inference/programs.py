"""Programs of a user's own, for tests."""

from __future__ import annotations

from collections.abc import Callable
from math import log
from typing import TYPE_CHECKING, Any

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from bayesprune.inference import GateGuide
from bayesprune.models import GatedModel

if TYPE_CHECKING:
    from tests.inference.conftest import Tiny


class Shifted(GatedModel):
    """A second latent u ~ N(0, 1), added to the first logit."""

    def forward(self, inputs: Any, labels: Any = None) -> Any:
        self.shift = pyro.sample("u", dist.Normal(torch.zeros(()).double(), 1.0))
        return super().forward(inputs, labels)

    def outputs(self, inputs: Any, gates: Tensor, weights: dict[str, Tensor] | None = None) -> Tensor:
        return super().outputs(inputs, gates, weights) + self.shift * gates.new_tensor([1.0, 0.0, 0.0])


class ShiftedGuide(GateGuide):
    """u ~ N(mean, deviation^2)."""

    def __init__(self, model: GatedModel, start: Any = 0.5) -> None:
        super().__init__(model, start)
        self.mean, self.log_deviation = nn.Parameter(torch.tensor(1.5)), nn.Parameter(torch.tensor(log(0.5)))

    def forward(self, inputs: Any, labels: Any = None) -> Any:
        gates = super().forward(inputs, labels)
        pyro.sample("u", dist.Normal(self.mean, self.log_deviation.exp()))
        return gates


def remade(case: Tiny, kind: type[GatedModel], guide: Callable[..., GateGuide] = GateGuide, **settings: Any) -> Tiny:
    """The same network, gates and data in another program."""
    old = case.model
    settings = {"likelihood": old.likelihood, "weight_prior": old.weight_prior, **settings}
    model = kind(old.network, old.structure, old.gate_prior, old.size, **settings)
    bound = guide(model).double()
    with torch.no_grad():
        bound.theta.copy_(case.guide.theta)
    return case._replace(model=model, guide=bound)
