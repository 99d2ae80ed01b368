"""Slabs whose nodes have a scale each: group lasso and regularised group horseshoe, and log-normal laws' divergences.

A node's weights are `w_i ~ N(0, (scale_i slab)^2)`; the scale is shared by all its incoming weights, its bias included.
Weights that belong to no node (those of the output layer) have scale 1.

Source: Jantre, Bhattacharya and Maiti, arXiv 2308.09104.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from math import e, lgamma, log, pi

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from bayesprune.errors import SettingError
from bayesprune.models.priors.weights import GaussianSlab, slab_parameters
from bayesprune.structure import Structure
from bayesprune.structure.matrices import COUNTED

Places = Mapping[str, Sequence[tuple[int, Tensor]]]
"""For each parameter of nodes the axes along which its entries belong to them, with the gate of each position."""


def node_places(network: nn.Module, structure: Structure) -> dict[str, list[tuple[int, Tensor]]]:
    """Where the incoming weights and biases of nodes lie: in the linear and convolution layers that write them."""
    found: dict[str, list[tuple[int, Tensor]]] = {}
    for axis in structure.axes:
        if axis.tensor and isinstance(network.get_submodule(axis.layer), COUNTED):
            found.setdefault(f"{axis.layer}.{axis.tensor}", []).append((axis.axis, axis.gates))
    return {name: found[name] for name in slab_parameters(network) if name in found}


def node_sizes(network: nn.Module, structure: Structure) -> Tensor:
    """How many weights each gate's node has, its biases included: float [J], 0 for gates that are no node's."""
    sizes = torch.zeros(structure.gate_count + 1)  # one more, for what has no gate
    for name, places in node_places(network, structure).items():
        parameter = network.get_parameter(name)
        for axis, gates in places:
            sizes.index_add_(
                0, gates % len(sizes), torch.full((len(gates),), parameter.numel() / parameter.shape[axis])
            )
    return sizes[:-1]


def scaled(values: Tensor, places: Sequence[tuple[int, Tensor]], scale: Tensor) -> Tensor:
    """Values of a parameter times the scale [J] of the node that each belongs to; 1 where there is none."""
    padded = torch.cat([scale, scale.new_ones(1)])
    for axis, gates in places:
        factor = padded[gates.to(scale.device)]
        values = values * factor.reshape([-1 if a == axis else 1 for a in range(values.dim())])
    return values


def log_normal_to_gamma(
    mean: Tensor, log_deviation: Tensor, shape: Tensor | float, log_rate: Tensor | float, rate: Tensor | float
) -> Tensor:
    """KL(LogNormal(mean, deviation^2) || Gamma(shape, rate)) in nats, elementwise.

    Where the rate has a law of its own, give the expectations of its logarithm and of itself.
    """
    constant = torch.lgamma(shape) if isinstance(shape, Tensor) else lgamma(shape)
    expected = torch.exp(mean + (2 * log_deviation).exp() / 2)
    return constant - shape * (log_rate + mean) + rate * expected - log_deviation - _ENTROPY


def log_normal_to_inverse_gamma(mean: Tensor, log_deviation: Tensor, shape: float, scale: float) -> Tensor:
    """KL(LogNormal(mean, deviation^2) || InverseGamma(shape, scale)) in nats, elementwise."""
    expected = torch.exp((2 * log_deviation).exp() / 2 - mean)
    return lgamma(shape) - shape * (log(scale) - mean) + scale * expected - log_deviation - _ENTROPY


_ENTROPY = 0.5 * log(2 * pi * e)
"""Of a standard normal, in nats: 1.41894."""


class ScaledSlab(GaussianSlab, ABC):
    """A slab whose nodes have a scale each; its weights must be sites.

    Sites of the program: those of the scales ("scale...."), then for each tensor "w.<parameter>", normal around 0 with
    the deviation scale * slab.

    Args:
        scale: standard deviation of a weight at a node's scale of 1.
        sizes: weights of each gate's node, bias included: [J], 0 for gates that are no node's.
        places: where the nodes' weights lie in the network.
    """

    def __init__(self, scale: float, sizes: Tensor, places: Places) -> None:
        super().__init__(scale)
        if scale == float("inf"):
            raise SettingError("scales of a flat slab say nothing: give the slab a finite deviation")
        self.sizes, self.places = sizes, places

    @abstractmethod
    def sample_scales(self) -> Tensor:
        """Inside a Pyro model: the scale [n] of each of the n nodes."""

    def log_prob(self, network: nn.Module, parameters: Sequence[Tensor] | None = None) -> Tensor:
        """Refuse: without sites for the weights there are none for the scales.

        Raises:
            SettingError: always.
        """
        raise SettingError("weights under scales must be sites: make the model with weight_sites=True")

    def sample(self, network: nn.Module) -> dict[str, Tensor]:
        """The scales, then one site a tensor."""
        scale = spread(self.sample_scales(), self.sizes > 0)
        found = {}
        for name, parameter in slab_parameters(network).items():
            deviation = scaled(torch.full_like(parameter, self.scale), self.places.get(name, ()), scale)
            law = dist.Normal(torch.zeros_like(parameter), deviation, validate_args=False)
            found[name] = pyro.sample(f"w.{name}", law.to_event(parameter.dim()))
        return found


def spread(scales: Tensor, nodes: Tensor) -> Tensor:
    """The scales [n] of the nodes among gates (bool [J]) as a scale for each gate [J]; 1 where there is no node."""
    return torch.ones(len(nodes), dtype=scales.dtype, device=scales.device).masked_scatter(nodes, scales)


class GroupLassoSlab(ScaledSlab):
    """Group lasso: scale_i = tau_i, tau_i^2 ~ Gamma((m_i + 1)/2, rate lambda^2/2), lambda^2 ~ Gamma(shape, rate).

    m_i is the number of the node's weights; lambda^2 is one number for the whole network. Without tau_i a node's
    weights have the density c exp(-lambda |w_i|) of a group lasso.

    Args:
        scale, sizes, places: as for `ScaledSlab`.
        shape, rate: of the law of lambda^2.
    """

    def __init__(self, scale: float, sizes: Tensor, places: Places, shape: float = 4.0, rate: float = 2.0) -> None:
        super().__init__(scale, sizes, places)
        self.shape, self.rate = shape, rate

    def sample_scales(self) -> Tensor:
        """Sites "scale.penalty" (lambda^2) and "scale.node" (tau^2 [n])."""
        sizes = self.sizes[self.sizes > 0]
        penalty = pyro.sample("scale.penalty", dist.Gamma(sizes.new_tensor(self.shape), self.rate))
        law = dist.Gamma((sizes + 1) / 2, penalty / 2, validate_args=False)
        square: Tensor = pyro.sample("scale.node", law.to_event(1))
        return square.sqrt()


class GroupHorseshoeSlab(ScaledSlab):
    """Regularised group horseshoe: scale_i = c q_i / sqrt(c^2 + q_i^2), q_i = v tau_i.

    tau_i ~ half-Cauchy(node), v ~ half-Cauchy(whole), each as sqrt(A B) with A ~ Gamma(1/2, rate 1/t^2) and
    B ~ InverseGamma(1/2, 1).

    Args:
        scale, sizes, places: as for `ScaledSlab`.
        limit: c, what a scale is below.
        whole: t of v.
        node: t of every tau_i.
    """

    def __init__(
        self, scale: float, sizes: Tensor, places: Places, limit: float = 1.0, whole: float = 1.0, node: float = 1.0
    ) -> None:
        super().__init__(scale, sizes, places)
        self.limit, self.whole, self.node = limit, whole, node

    def sample_scales(self) -> Tensor:
        """Sites "scale.whole.a", "scale.whole.b" (scalars), "scale.node.a" and "scale.node.b" [n]."""
        one = self.sizes.new_ones(())
        whole = _half_cauchy("scale.whole", one, self.whole)
        node = _half_cauchy("scale.node", self.sizes.new_ones(int((self.sizes > 0).sum())), self.node)
        return regularised(whole * node, self.limit)


def regularised(scale: Tensor, limit: float) -> Tensor:
    """c q / sqrt(c^2 + q^2): the scale q, held below the limit c."""
    return limit * scale / (limit**2 + scale.square()).sqrt()


def _half_cauchy(name: str, ones: Tensor, width: float) -> Tensor:
    """sqrt(A B), two sites."""
    first = dist.Gamma(0.5 * ones, ones / width**2, validate_args=False).to_event(ones.dim())
    second = dist.InverseGamma(0.5 * ones, ones, validate_args=False).to_event(ones.dim())
    product: Tensor = pyro.sample(f"{name}.a", first) * pyro.sample(f"{name}.b", second)
    return product.sqrt()
