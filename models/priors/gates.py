"""Priors of the gates: what the model says of them, and what that costs in closed form."""

from typing import Any, Protocol

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from bayesprune.devices import CPU
from bayesprune.errors import SettingError
from bayesprune.models.priors.flattening import (
    FlatteningHyperPrior,
    bernoulli_kl,
    flattened_penalty,
    most_probable_inclusion,
)


class GatePrior(Protocol):
    """A prior over all gates of a network, one site "z" of length J."""

    def sample_gates(self) -> Tensor:
        """Inside a Pyro model: sample the sites and return the gates [J]."""
        ...

    def best_inclusion(self, theta: Tensor) -> Tensor | None:
        """The guide's point for the site "pi" [J] at inclusion probabilities theta [J]; None without that site."""
        ...

    def penalty(self, theta: Tensor) -> Tensor:
        """Nats [J] the gates' part of the negative ELBO takes at theta [J]; differentiable in theta."""
        ...


class FlatteningGatePrior(nn.Module):
    """`pi_j ~ FlatteningHyperPrior(gamma_j)`, `z_j | pi_j ~ Bernoulli(pi_j)`: one pi per gate.

    With pi at its most probable value the penalty is `theta ln gamma + const`, linear, so gates end at 0 or 1.

    Args:
        log_gamma: prices ln gamma_j [J] in nats of the total log-likelihood of the training data.
    """

    log_gamma: Tensor
    _floor: Tensor

    def __init__(self, log_gamma: Tensor) -> None:
        super().__init__()
        if not bool(torch.isfinite(log_gamma).all()):
            raise SettingError("every ln gamma must be finite; gamma must be > 0")
        self.register_buffer("log_gamma", torch.empty(0))
        self.register_buffer("_floor", torch.empty(0))  # moves, converts and is stored along with the prices
        self.set_log_gamma(log_gamma)

    def set_log_gamma(self, log_gamma: Tensor) -> None:
        """Change the prices [J]; what depends on them is computed once for each change, the law of pi once needed.

        On an accelerator prices count as changed: to compare them it must be waited for.
        """
        log_gamma = log_gamma.detach()
        if not (log_gamma.device.type == CPU and self._has(log_gamma)):
            self.log_gamma = log_gamma.clone()
            self._floor = flattened_penalty(torch.zeros_like(log_gamma), log_gamma)
            self._hyper_prior: Any = None

    def _has(self, log_gamma: Tensor) -> bool:
        """Whether the prices are these."""
        former = self.log_gamma
        return former.device == log_gamma.device and torch.equal(former, log_gamma)

    def sample_gates(self) -> Tensor:
        """Sample "pi" and "z"."""
        made = self._hyper_prior
        if made is None or made.base_dist.log_gamma is not self.log_gamma:  # changed, converted or moved since
            self._hyper_prior = self._make_hyper_prior()
        pi = pyro.sample("pi", self._hyper_prior)
        gates: Tensor = pyro.sample("z", dist.Bernoulli(pi, validate_args=False).to_event(1))
        return gates

    def _make_hyper_prior(self) -> Any:
        """The law of pi at the present prices."""
        return FlatteningHyperPrior(log_gamma=self.log_gamma, validate_args=False).to_event(1)

    def best_inclusion(self, theta: Tensor) -> Tensor:
        """pi*(theta) = theta / (theta + gamma (1 - theta))."""
        return most_probable_inclusion(theta, self.log_gamma)

    def penalty(self, theta: Tensor) -> Tensor:
        """theta ln gamma + ln[ln gamma / (gamma - 1)]."""
        return torch.addcmul(self._floor, theta, self.log_gamma)


class FixedGatePrior(nn.Module):
    """`z_j ~ Bernoulli(pi_j)` with fixed pi: the ordinary spike-and-slab prior, whose penalty is curved.

    Args:
        inclusion: prior inclusion probabilities [J], strictly between 0 and 1.
    """

    inclusion: Tensor

    def __init__(self, inclusion: Tensor) -> None:
        super().__init__()
        if not bool(((inclusion > 0) & (inclusion < 1)).all()):
            raise SettingError("prior inclusion probabilities must lie strictly between 0 and 1")
        self.register_buffer("inclusion", inclusion.detach().clone())

    def sample_gates(self) -> Tensor:
        """Sample "z"."""
        gates: Tensor = pyro.sample("z", dist.Bernoulli(self.inclusion, validate_args=False).to_event(1))
        return gates

    def best_inclusion(self, theta: Tensor) -> None:
        """There is no site "pi"."""

    def penalty(self, theta: Tensor) -> Tensor:
        """KL(Bernoulli(theta) || Bernoulli(pi))."""
        return bernoulli_kl(theta, self.inclusion)
