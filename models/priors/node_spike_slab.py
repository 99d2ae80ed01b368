"""Spike and slab for whole nodes: a node's incoming weights are all exactly zero, or all Gaussian.

Base measure: the point mass at the zero vector plus Lebesgue measure on R^size. `log_prob` is a log density
with respect to that sum: a log probability at exactly the zero vector, a log density everywhere else. The two
are not comparable numbers, so these laws are never scored at a point mass inside an ELBO: a Delta or relaxed
guide would set a density against a mass. Inference uses `torch.distributions.kl_divergence`, closed here.
"""

from typing import Any

import torch
from pyro.distributions import TorchDistribution
from torch import Size, Tensor
from torch.distributions import Normal, constraints, kl_divergence, register_kl

from bayesprune.errors import SettingError
from bayesprune.models.priors._settings import SCALAR, Shape, as_float_tensor, require
from bayesprune.models.priors.flattening import bernoulli_kl


class _SpikeSlab(TorchDistribution):
    """What prior and posterior share: an inclusion probability and a diagonal Gaussian slab."""

    support = constraints.real_vector
    has_rsample = False
    inclusion: Tensor
    slab_loc: Tensor
    slab_scale: Tensor

    def _lay_out(self, inclusion: Tensor, loc: Tensor, scale: Tensor, batch_shape: Size) -> None:
        """Store the parameters at the batch shape, and the slab's with the weights as last dimension."""
        size = loc.shape[-1]
        self.inclusion = inclusion.expand(batch_shape)
        self.slab_loc = loc.expand(batch_shape + (size,))
        self.slab_scale = scale.expand(batch_shape + (size,))
        super().__init__(batch_shape, Size((size,)), validate_args=False)

    def _expand_into(self, batch_shape: Shape, instance: object) -> Any:
        """A copy of the same class over a larger batch shape."""
        new = self._get_checked_instance(type(self), instance)
        new._lay_out(self.inclusion, self.slab_loc, self.slab_scale, Size(batch_shape))
        new._validate_args = self._validate_args
        return new

    @property
    def slab(self) -> Normal:
        """The Gaussian of every weight of an open node, of shape `batch_shape + (size,)`."""
        return Normal(self.slab_loc, self.slab_scale, validate_args=False)

    @property
    def mean(self) -> Tensor:
        """The mean inclusion * loc, of shape `batch_shape + (size,)`."""
        return self.inclusion.unsqueeze(-1) * self.slab_loc

    @property
    def variance(self) -> Tensor:
        """Each weight's inclusion * (scale^2 + (1 - inclusion) loc^2), of shape `batch_shape + (size,)`."""
        inclusion = self.inclusion.unsqueeze(-1)
        return inclusion * (self.slab_scale**2 + (1 - inclusion) * self.slab_loc**2)

    def sample(self, sample_shape: Shape = SCALAR) -> Tensor:
        """Whole nodes, closed ones as exact zero vectors; shape `sample_shape + batch_shape + (size,)`."""
        with torch.no_grad():
            shape = self._extended_shape(Size(sample_shape))
            opened = torch.bernoulli(self.inclusion.expand(shape[:-1])).unsqueeze(-1)
            weights = torch.normal(self.slab_loc.expand(shape), self.slab_scale.expand(shape))
            return torch.where(opened > 0, weights, torch.zeros_like(weights))

    def log_prob(self, value: Tensor) -> Tensor:
        """Log density at `value` [..., size] with respect to the point mass at 0 plus Lebesgue measure.

        It is log(1 - inclusion) at exactly the zero vector, log(inclusion) plus the slab's elsewhere.
        """
        if self._validate_args:
            self._validate_sample(value)
        slab = self.slab.log_prob(value).sum(-1)
        closed = (value == 0).all(-1).expand(slab.shape)
        inclusion = self.inclusion.expand(slab.shape)
        atom = torch.log1p(-torch.where(closed, inclusion, torch.zeros_like(slab)))
        opened = torch.log(torch.where(closed, torch.ones_like(slab), inclusion))
        return torch.where(closed, atom, opened + slab)


def _check_slab(inclusion: Tensor, scale: Tensor) -> None:
    """Refuse probabilities outside [0, 1] and scales that are not positive and finite."""
    inside = (inclusion >= 0) & (inclusion <= 1)
    require("inclusion", inclusion, inside, "between 0 and 1", "give the probability that a node is open")
    usable = (scale > 0) & scale.isfinite()
    cure = "give the standard deviation of an open node's weights"
    require("scale", scale, usable, "finite and greater than 0", cure)


class NodeSpikeSlab(_SpikeSlab):
    """The law of v = z w for a node's `size` incoming weights: z ~ Bern(inclusion), w ~ N(0, scale^2 I).

    Batch shape: inclusion and scale broadcast; event shape: (size,). `log_prob` is with respect to the point
    mass at the zero vector plus Lebesgue measure and is never scored at a point mass inside an ELBO:
    inference uses the closed `torch.distributions.kl_divergence` with a `NodeSpikeSlabPosterior`.

    Args:
        inclusion: prior probability that the node is open, in [0, 1].
        scale: standard deviation of an open node's weights, greater than 0.
        size: number of incoming weights of a node, its bias included.
        validate_args: check parameters and values; the library's default where None.

    Raises:
        SettingError: a parameter outside its limits.

    Source: the prior of SS-IG (Jantre, Bhattacharya, Maiti, arXiv 2108.11000).
    """

    arg_constraints = {"inclusion": constraints.unit_interval, "scale": constraints.positive}

    def __init__(
        self,
        inclusion: Tensor | float,
        scale: Tensor | float,
        size: int,
        validate_args: bool | None = None,
    ) -> None:
        if size < 1:
            raise SettingError(f"size is {size} but must be at least 1; count a node's weights and its bias")
        like = inclusion if isinstance(inclusion, Tensor) else scale if isinstance(scale, Tensor) else None
        inclusion, scale = as_float_tensor(inclusion, like), as_float_tensor(scale, like)
        if validate_args or (validate_args is None and self._validate_args):
            _check_slab(inclusion, scale)
        batch_shape = torch.broadcast_shapes(inclusion.shape, scale.shape)
        self._lay_out(inclusion, scale.new_zeros(size), scale.unsqueeze(-1), Size(batch_shape))
        self._validate_args = self._validate_args if validate_args is None else validate_args

    @property
    def scale(self) -> Tensor:
        """Standard deviation of an open node's weights, of the batch shape."""
        return self.slab_scale[..., 0]

    def expand(self, batch_shape: Shape, _instance: object = None) -> "NodeSpikeSlab":
        """The same law over a larger batch shape; no memory is copied."""
        new: NodeSpikeSlab = self._expand_into(batch_shape, _instance)
        return new


class NodeSpikeSlabPosterior(_SpikeSlab):
    """The variational twin: z ~ Bern(inclusion), w ~ N(loc, diag(scale^2)), v = z w.

    Batch shape: inclusion broadcast with loc's and scale's leading dimensions; event shape: their last one.

    Args:
        inclusion: probability that the node is open, in [0, 1]; exactly 0 and 1 are decided nodes.
        loc: means of the weights of an open node, [..., size].
        scale: their standard deviations, [..., size], greater than 0.
        validate_args: check parameters and values; the library's default where None.

    Raises:
        SettingError: a parameter outside its limits, or loc and scale without a dimension for the weights.

    Source: the variational family of SS-IG (Jantre, Bhattacharya, Maiti, arXiv 2108.11000).
    """

    arg_constraints = {
        "inclusion": constraints.unit_interval,
        "loc": constraints.real_vector,
        "scale": constraints.independent(constraints.positive, 1),
    }

    def __init__(
        self, inclusion: Tensor | float, loc: Tensor, scale: Tensor, validate_args: bool | None = None
    ) -> None:
        inclusion = as_float_tensor(inclusion, like=loc)
        if loc.dim() == 0 and scale.dim() == 0:
            raise SettingError("loc and scale have shape () but need a dimension of weights; give [..., size]")
        if validate_args or (validate_args is None and self._validate_args):
            _check_slab(inclusion, scale)
            require("loc", loc, loc.isfinite(), "finite", "give the mean of each weight of an open node")
        shape = torch.broadcast_shapes(loc.shape, scale.shape)
        batch_shape = torch.broadcast_shapes(inclusion.shape, shape[:-1])
        self._lay_out(inclusion, loc.expand(shape), scale, Size(batch_shape))
        self._validate_args = self._validate_args if validate_args is None else validate_args

    @property
    def loc(self) -> Tensor:
        """Means of an open node's weights, of shape `batch_shape + (size,)`."""
        return self.slab_loc

    @property
    def scale(self) -> Tensor:
        """Standard deviations of an open node's weights, of shape `batch_shape + (size,)`."""
        return self.slab_scale

    def expand(self, batch_shape: Shape, _instance: object = None) -> "NodeSpikeSlabPosterior":
        """The same law over a larger batch shape; no memory is copied."""
        new: NodeSpikeSlabPosterior = self._expand_into(batch_shape, _instance)
        return new


def _kl_spike_slab(q: _SpikeSlab, p: _SpikeSlab) -> Tensor:
    """KL(q || p) of each node: that of the gates plus q's inclusion times that of the slabs.

    Of the broadcast batch shape. The spikes cancel, so a closed node's slab costs nothing; infinite where q
    allows what p excludes. Source: SS-IG's closed form, arXiv 2108.11000.
    """
    if q.event_shape != p.event_shape:
        raise SettingError(
            f"the nodes have {q.event_shape[0]} and {p.event_shape[0]} weights but must have equally many; "
            "give both laws the same size"
        )
    slab = kl_divergence(q.slab, p.slab).sum(-1)
    return bernoulli_kl(q.inclusion, p.inclusion) + q.inclusion * slab


register_kl(_SpikeSlab, _SpikeSlab)(_kl_spike_slab)
