"""Log-normal laws of the scales of nodes: what is drawn, their median, and their closed divergences."""

from abc import ABC, abstractmethod
from math import log

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from bayesprune.models.priors.scales import (
    GroupHorseshoeSlab,
    GroupLassoSlab,
    Places,
    ScaledSlab,
    log_normal_to_gamma,
    log_normal_to_inverse_gamma,
    regularised,
)


class NodeScales(nn.Module, ABC):
    """The guide's law of the scales of all nodes, and of what they share.

    Parameters of one entry a gate [J] are cut along when the network shrinks; those of the whole network are not.
    Gates that are no node's (inputs, flattened features) have entries that are never read.

    Attributes:
        sizes: weights of each gate's node at the start, bias included [J]; 0 where there is none. They stay when the
            network shrinks: weights that read a removed channel have gone back to their prior.
    """

    def __init__(self, sizes: Tensor) -> None:
        super().__init__()
        self.sizes = nn.Parameter(sizes.clone(), requires_grad=False)

    @property
    def nodes(self) -> Tensor:
        """Which gates are nodes', bool [J]."""
        return self.sizes > 0

    @abstractmethod
    def gate_parameters(self) -> list[nn.Parameter]:
        """What has one entry a gate."""

    @abstractmethod
    def draw(self) -> Tensor:
        """One reparametrised draw of all scales [J]; 1 for gates that are no node's."""

    @abstractmethod
    def median(self) -> Tensor:
        """The median of every scale [J]; 1 for gates that are no node's."""

    @abstractmethod
    def divergence(self) -> Tensor:
        """KL to the prior in nats, a scalar; not gated."""

    @abstractmethod
    def sample_sites(self) -> Tensor:
        """Inside a Pyro guide: sample the prior's sites and return the scales [n] of the nodes."""

    @abstractmethod
    def slab(self, scale: float, places: Places) -> ScaledSlab:
        """The prior that these laws belong to, of weights with this deviation, which lie at these places."""

    def learnt(self) -> list[nn.Parameter]:
        """What an optimizer steps."""
        return [parameter for parameter in self.parameters() if parameter.requires_grad]

    def _each(self, value: float) -> nn.Parameter:
        """A parameter with one entry a gate."""
        return nn.Parameter(torch.full_like(self.sizes, value))

    def _one(self, value: float) -> nn.Parameter:
        """A parameter of the whole network, a scalar."""
        return nn.Parameter(self.sizes.new_tensor(value))

    def _of_nodes(self, scales: Tensor) -> Tensor:
        """Scales [J], and 1 for gates that are no node's."""
        return torch.where(self.nodes, scales, 1.0)

    def _summed(self, divergences: Tensor) -> Tensor:
        """The sum over nodes."""
        return torch.where(self.nodes, divergences, 0.0).sum()


class GroupLassoScales(NodeScales):
    """tau_i^2 and lambda^2 of `GroupLassoSlab`, log-normal each.

    Args:
        sizes: see `NodeScales`.
        shape, rate: of the prior of lambda^2.
        deviation: of the logarithms at the start.

    At the start every scale is 1, and lambda^2 where the divergence is least then.
    """

    def __init__(self, sizes: Tensor, shape: float = 4.0, rate: float = 2.0, deviation: float = 0.05) -> None:
        super().__init__(sizes)
        self._shape, self._rate = shape, rate
        own = (self.sizes[self.nodes] + 1) / 2
        best = (shape + float(own.sum())) / (rate + len(own) / 2)
        self.node_mean, self.node_log_deviation = self._each(0.0), self._each(log(deviation))
        self.penalty_mean, self.penalty_log_deviation = self._one(log(best)), self._one(log(deviation))

    def gate_parameters(self) -> list[nn.Parameter]:
        """Of tau^2."""
        return [self.sizes, self.node_mean, self.node_log_deviation]

    def draw(self) -> Tensor:
        """tau [J]."""
        noise = torch.randn_like(self.node_mean)
        return self._of_nodes((0.5 * (self.node_mean + self.node_log_deviation.exp() * noise)).exp())

    def median(self) -> Tensor:
        """exp(mean / 2) [J]."""
        return self._of_nodes((0.5 * self.node_mean).exp())

    def divergence(self) -> Tensor:
        """E[KL of tau^2 given lambda^2] + KL of lambda^2."""
        mean, penalty = self.node_mean, self.penalty_mean
        expected = (penalty + (2 * self.penalty_log_deviation).exp() / 2).exp()
        own = log_normal_to_gamma(mean, self.node_log_deviation, (self.sizes + 1) / 2, penalty - log(2), expected / 2)
        shared = log_normal_to_gamma(penalty, self.penalty_log_deviation, self._shape, log(self._rate), self._rate)
        return self._summed(own) + shared

    def sample_sites(self) -> Tensor:
        """Sites "scale.penalty" and "scale.node"."""
        _log_normal("scale.penalty", self.penalty_mean, self.penalty_log_deviation)
        return _log_normal("scale.node", self.node_mean[self.nodes], self.node_log_deviation[self.nodes]).sqrt()

    def slab(self, scale: float, places: Places) -> GroupLassoSlab:
        """See `NodeScales.slab`."""
        return GroupLassoSlab(scale, self.sizes.detach(), places, self._shape, self._rate)


class GroupHorseshoeScales(NodeScales):
    """A and B of every tau_i, and of v, of `GroupHorseshoeSlab`, log-normal each.

    Args:
        sizes: see `NodeScales`.
        limit, whole, node: of the prior.
        deviation: of the logarithms at the start.

    At the start v and every tau_i are 1 in the median, so scales are c / sqrt(c^2 + 1).
    """

    def __init__(
        self, sizes: Tensor, limit: float = 1.0, whole: float = 1.0, node: float = 1.0, deviation: float = 0.05
    ) -> None:
        super().__init__(sizes)
        self._limit, self._whole, self._node = limit, whole, node
        start = log(deviation)
        self.node_a, self.node_a_log_deviation = self._each(0.0), self._each(start)
        self.node_b, self.node_b_log_deviation = self._each(0.0), self._each(start)
        self.whole_a, self.whole_a_log_deviation = self._one(0.0), self._one(start)
        self.whole_b, self.whole_b_log_deviation = self._one(0.0), self._one(start)

    def gate_parameters(self) -> list[nn.Parameter]:
        """Of every tau_i."""
        return [self.sizes, self.node_a, self.node_b, self.node_a_log_deviation, self.node_b_log_deviation]

    def draw(self) -> Tensor:
        """Scales [J]."""
        whole = _half_log(self.whole_a, self.whole_b, self.whole_a_log_deviation, self.whole_b_log_deviation)
        node = _half_log(self.node_a, self.node_b, self.node_a_log_deviation, self.node_b_log_deviation)
        return self._of_nodes(regularised((whole + node).exp(), self._limit))

    def median(self) -> Tensor:
        """The scale is monotone in q = v tau_i, whose median is exp of half the sum of all means."""
        half = 0.5 * (self.whole_a + self.whole_b + self.node_a + self.node_b)
        return self._of_nodes(regularised(half.exp(), self._limit))

    def divergence(self) -> Tensor:
        """Of A and B, of all nodes and of the whole."""
        own = _half_cauchy(self.node_a, self.node_b, self.node_a_log_deviation, self.node_b_log_deviation, self._node)
        shared = _half_cauchy(
            self.whole_a, self.whole_b, self.whole_a_log_deviation, self.whole_b_log_deviation, self._whole
        )
        return self._summed(own) + shared

    def sample_sites(self) -> Tensor:
        """Sites "scale.whole.a", "scale.whole.b", "scale.node.a" and "scale.node.b"."""
        nodes = self.nodes
        square = _log_normal("scale.whole.a", self.whole_a, self.whole_a_log_deviation)
        square = square * _log_normal("scale.whole.b", self.whole_b, self.whole_b_log_deviation)
        square = square * _log_normal("scale.node.a", self.node_a[nodes], self.node_a_log_deviation[nodes])
        square = square * _log_normal("scale.node.b", self.node_b[nodes], self.node_b_log_deviation[nodes])
        return regularised(square.sqrt(), self._limit)

    def slab(self, scale: float, places: Places) -> GroupHorseshoeSlab:
        """See `NodeScales.slab`."""
        return GroupHorseshoeSlab(scale, self.sizes.detach(), places, self._limit, self._whole, self._node)


def _half_log(a: Tensor, b: Tensor, log_a: Tensor, log_b: Tensor) -> Tensor:
    """A draw of the logarithm of sqrt(A B): one normal for both."""
    deviation = ((2 * log_a).exp() + (2 * log_b).exp()).sqrt()
    return 0.5 * (a + b + deviation * torch.randn_like(a))


def _half_cauchy(a: Tensor, b: Tensor, log_a: Tensor, log_b: Tensor, width: float) -> Tensor:
    """KL of A to Gamma(1/2, 1/width^2) and of B to InverseGamma(1/2, 1), elementwise."""
    first = log_normal_to_gamma(a, log_a, 0.5, -2 * log(width), width**-2)
    return first + log_normal_to_inverse_gamma(b, log_b, 0.5, 1.0)


def _log_normal(name: str, mean: Tensor, log_deviation: Tensor) -> Tensor:
    """A site."""
    law = dist.LogNormal(mean, log_deviation.exp(), validate_args=False)
    value: Tensor = pyro.sample(name, law.to_event(mean.dim()))
    return value
