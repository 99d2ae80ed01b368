"""SS-GL and SS-GHS: spike-and-slab nodes whose slab shrinks whole nodes by a learnt scale."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from bayesprune.data import Data
from bayesprune.inference.elbo_objective import ElboObjective
from bayesprune.inference.spike_slab.group_options import GroupHorseshoeOptions, GroupLassoOptions, GroupSlabOptions
from bayesprune.inference.spike_slab.nodes import SpikeSlab, beginning
from bayesprune.inference.spike_slab.scaled_guide import ScaledGateGuide
from bayesprune.inference.spike_slab.scaled_nodes import ScaledObjective, fold_after, scaled_guide
from bayesprune.inference.spike_slab.scales import GroupHorseshoeScales, GroupLassoScales, NodeScales
from bayesprune.inference.variational import Parts, made_guide
from bayesprune.inference.weight_laws import travel_rate
from bayesprune.models.priors.weights import GaussianSlab
from bayesprune.run.settings import RunSettings
from bayesprune.training import TrainState, adam

SCALES = "scales"
"""Name of the optimizer of the scales' laws."""


class GroupSlab(SpikeSlab):
    """Nodes with a learnt scale each (Jantre, Bhattacharya, Maiti, arXiv 2308.09104).

        w_i = z_i scale_i (mean_i + deviation_i eps),  before scaling N(0, slab^2) in the prior;

    gates, their prior, their gradient and what is removed are those of `SpikeSlab`. A scale is shared by all incoming
    weights of a node, its bias included; it has a log-normal law, whose divergence is not gated. Weights of the output
    layer have none. In the end the scales' medians are multiplied into the means. A subclass says what the law is.
    """

    @abstractmethod
    def scales(self, options: Any) -> Callable[[Tensor], NodeScales]:
        """Makes the law of the scales from the number of weights of each gate's node [J]."""

    def parts(self, state: TrainState, data: Data, settings: RunSettings) -> Parts:
        """Those of `SpikeSlab`, with scales in guide and objective; the network begins as it was given."""
        parts, options = super().parts(state, data, settings), self.options.of(settings.method, settings.options)
        slab = GaussianSlab(options.slab)
        make = partial(
            ScaledGateGuide, start=options.start, input_gates=options.input_gates,
            deviation=beginning(state, options)[1], scales=self.scales(options),
        )  # fmt: skip
        guide = made_guide(state, make, slab)
        assert isinstance(guide, ScaledGateGuide) and isinstance(parts.objective, ElboObjective)
        guide.unfold(state.network, state.structure)
        assert isinstance(options, GroupSlabOptions)
        rate = options.scale_learning_rate or travel_rate(parts.steps)

        def optimizers(state: TrainState) -> dict[str, Optimizer]:
            return parts.optimizers(state) | {SCALES: adam(rate)(scaled_guide(state).scales.learnt())}

        former = parts.objective
        objective = ScaledObjective(former.gate_prior, former.size, slab, former.estimator, former.warm_up)
        return replace(parts, guide=guide, objective=objective, optimizers=optimizers, decide=fold_after(parts.decide))


class GroupLasso(GroupSlab):
    """SS-GL: scale_i = tau_i, tau_i^2 ~ Gamma((m_i + 1)/2, lambda^2/2), lambda^2 ~ Gamma(4, 2), m_i weights of node i.

    Source: arXiv 2308.09104.
    """

    name = "ss-gl"
    summary = "spike-and-slab nodes with group lasso scales (SS-GL): whole nodes shrink by one learnt penalty"
    options = GroupLassoOptions

    def scales(self, options: GroupLassoOptions) -> Callable[[Tensor], NodeScales]:
        """tau_i^2 and lambda^2."""
        return partial(
            GroupLassoScales, shape=options.penalty_shape, rate=options.penalty_rate, deviation=options.scale_deviation
        )


class GroupHorseshoe(GroupSlab):
    """SS-GHS: scale_i = c q_i / sqrt(c^2 + q_i^2), q_i = v tau_i, with half-Cauchy v and tau_i.

    Source: arXiv 2308.09104.
    """

    name = "ss-ghs"
    summary = "spike-and-slab nodes with regularised group horseshoe scales (SS-GHS)"
    options = GroupHorseshoeOptions

    def scales(self, options: GroupHorseshoeOptions) -> Callable[[Tensor], NodeScales]:
        """v and tau_i."""
        return partial(
            GroupHorseshoeScales, limit=options.limit, whole=options.whole_scale, node=options.node_scale,
            deviation=options.scale_deviation,
        )  # fmt: skip
