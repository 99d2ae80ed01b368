"""A gate for each weight and bias: the guide of edge selection, whose weights are exactly 0 or Gaussian."""

from collections.abc import Iterator
from math import log, log1p
from typing import Any

import pyro
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from bayesprune.errors import SettingError
from bayesprune.inference.guides import GateGuide, GaussianWeightGuide
from bayesprune.inference.relaxed import MOST_LOGIT
from bayesprune.models.gated import GatedModel
from bayesprune.models.priors.node_spike_slab import NodeSpikeSlab, NodeSpikeSlabPosterior
from bayesprune.models.priors.weights import GaussianSlab, slab_parameters


class EdgeSlab(GaussianSlab):
    """Spike and slab for single weights: each is 0, or N(0, scale^2) with probability `inclusion`.

    Args:
        scale: standard deviation of a weight that is there.
        inclusion: prior probability that it is, strictly between 0 and 1.
    """

    def __init__(self, scale: float, inclusion: float) -> None:
        super().__init__(scale)
        if not 0 < inclusion < 1:
            raise SettingError(f"inclusion must lie strictly between 0 and 1, not {inclusion}")
        self.inclusion = inclusion

    def sample(self, network: nn.Module) -> dict[str, Tensor]:
        """One site a tensor, with a last dimension of 1: each weight is a node with one weight."""
        found = {}
        for name, parameter in slab_parameters(network).items():
            own = parameter.new_full(parameter.shape, self.inclusion)
            law: Any = NodeSpikeSlab(own, parameter.new_tensor(self.scale), 1).to_event(parameter.dim())
            found[name] = pyro.sample(f"w.{name}", law).squeeze(-1)
        return found


class EdgeGuide(GaussianWeightGuide):
    """w = z (mean + deviation eps) with a gate z ~ Bernoulli(sigmoid(logit)) for each weight and bias.

    All gates of channels are open. A draw is differentiable in the logits through relaxed gates, straight through, as
    `RelaxedGates` says; the divergence is closed.

    Attributes:
        edge_logit: by key of the parameter, in its shape.
        tempered: what the divergence is multiplied by; 1 for an evidence lower bound.

    Args:
        model: with `weight_sites=True` and an `EdgeSlab` as weight prior.
        start: initial inclusion probability of every weight, strictly inside (0, 1).
        temperature: of the relaxed gates.
        deviation: initial standard deviation of every weight.
    """

    def __init__(self, model: GatedModel, start: float, *, temperature: float = 0.5, deviation: float = 0.01) -> None:
        super().__init__(model, 1.0, deviation=deviation)
        if not isinstance(model.weight_prior, EdgeSlab):
            raise SettingError("gates of single weights need an EdgeSlab as weight prior")
        self.theta.requires_grad_(False)
        self.tempered = 1.0
        self.temperature = temperature
        self._prior = model.weight_prior.inclusion
        logit = float(torch.tensor(start, dtype=torch.float64).logit().clamp(-MOST_LOGIT, MOST_LOGIT))
        self.edge_logit = nn.ParameterDict(
            {key: torch.full_like(deviation, logit) for key, deviation in self.log_deviation.items()}
        )

    def forward(self, inputs: Any, labels: Any = None) -> Any:
        """Sample "z" (all open) and the weights."""
        gates = GateGuide.forward(self, inputs, labels)
        for name, mean, log_deviation, logit in self._edges():
            own: Tensor = mean
            law: Any = NodeSpikeSlabPosterior(logit.sigmoid(), own.unsqueeze(-1), log_deviation.exp().unsqueeze(-1))
            pyro.sample(f"w.{name}", law.to_event(own.dim()))
        return gates

    def sample_weights(self) -> dict[str, Tensor]:
        """z (mean + deviation eps) by name; masked ones are 0."""
        found = {}
        for name, mean, log_deviation, logit in self._edges():
            drawn = mean + self._deviation(name, log_deviation) * torch.randn_like(mean)
            found[name] = drawn * relaxed(logit, self.temperature)
        return found

    def weight_penalty(self, theta: Tensor) -> Tensor:
        """KL of all weights that are not masked: of the gate, and g times that of the Gaussian (nats); tempered."""
        total = theta.new_zeros(())
        # KL of a gate: g (logit g - logit lambda) + ln(1 - g) - ln(1 - lambda), and ln(1 - g) = -softplus(logit g)
        at_closed, at_logit = -log1p(-self._prior), log(self._prior) - log1p(-self._prior)
        for name, mean, log_deviation, logit in self._edges():
            variance, chance = (2 * log_deviation).exp(), logit.sigmoid()
            gaussian = log(self._scale) - log_deviation + (variance + mean**2) / (2 * self._scale**2) - 0.5
            own = torch.addcmul(at_closed - softplus(logit), chance, logit - at_logit + gaussian)
            total = total + (own * self.masks[name] if name in self.masks else own).sum()
        return self.tempered * total

    def inclusion(self) -> dict[str, Tensor]:
        """The probability that each weight and bias is there, by the parameter's present name; 0 for masked ones."""
        found = {}
        for name, _, _, logit in self._edges():
            open_chance = logit.detach().sigmoid()
            found[name] = open_chance * self.masks[name] if name in self.masks else open_chance
        return found

    @torch.no_grad()
    def hold(self) -> None:
        """Keep the logits within their limits."""
        for logit in self.edge_logit.values():
            logit.clamp_(-MOST_LOGIT, MOST_LOGIT)

    def _weights(self) -> Iterator[tuple[str, nn.Parameter, Tensor]]:
        """As in `GaussianWeightGuide`; a weight that layers share once, by its first name."""
        seen: set[int] = set()
        for name, mean, log_deviation in super()._weights():
            if id(mean) not in seen:
                seen.add(id(mean))
                yield name, mean, log_deviation

    def _edges(self) -> Iterator[tuple[str, nn.Parameter, Tensor, Tensor]]:
        """Name, means, log deviations and logits of every slab parameter."""
        logits = {id(self.log_deviation[key]): logit for key, logit in self.edge_logit.items()}
        for name, mean, log_deviation in self._weights():
            yield name, mean, log_deviation, logits[id(log_deviation)]


def relaxed(logit: Tensor, temperature: float) -> Tensor:
    """Hard gates drawn with the probabilities sigmoid(logit), which have the gradient of soft ones."""
    uniform = torch.rand_like(logit).clamp(torch.finfo(logit.dtype).tiny, 1 - torch.finfo(logit.dtype).eps)
    soft = torch.sigmoid((logit + uniform.log() - torch.log1p(-uniform)) / temperature)
    return (soft > 0.5).to(logit.dtype) + (soft - soft.detach())
