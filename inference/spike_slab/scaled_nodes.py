"""The objective of nodes with a scale each, and how scales become part of the weights."""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from bayesprune.inference.elbo_objective import ElboObjective
from bayesprune.inference.objective import guide_of
from bayesprune.inference.spike_slab.scaled_guide import ScaledGateGuide
from bayesprune.models.priors.scales import node_places, scaled
from bayesprune.training import Start, TrainState


class ScaledObjective(ElboObjective):
    """Negative ELBO of nodes with scales; while it is attached the network in evaluation mode has its mean weights.

    That is what is validated after an epoch: the parameters alone are the means before scaling.
    """

    _handles: tuple[RemovableHandle, ...] = ()

    def attach(self, state: TrainState) -> None:
        """Make the prior and the model of the network as it is now."""
        guide = scaled_guide(state)
        self.weight_prior = guide.slab(state.network, state.structure)
        super().attach(state)
        self._handles = scaled_when_evaluating(state.network, guide, node_places(state.network, state.structure))

    def detach(self) -> None:
        """Take gates and scales off the network."""
        super().detach()
        for handle in self._handles:
            handle.remove()
        self._handles = ()


def scaled_when_evaluating(
    network: nn.Module, guide: ScaledGateGuide, places: dict[str, list[tuple[int, Tensor]]]
) -> tuple[RemovableHandle, ...]:
    """Hooks that put a network's mean weights in place for a forward pass in evaluation mode."""
    owned = [(network.get_parameter(name), where) for name, where in places.items()]
    former: list[Tensor] = []

    @torch.no_grad()
    def put(module: nn.Module, _: Any) -> None:
        if module.training or former:
            return
        scale = guide.median_scales()
        for parameter, where in owned:
            former.append(parameter.data)
            parameter.data = scaled(parameter.data, where, scale)

    def take_back(*_: Any) -> None:
        for (parameter, _where), data in zip(owned, former, strict=False):
            parameter.data = data
        former.clear()

    return network.register_forward_pre_hook(put), network.register_forward_hook(take_back, always_call=True)


def fold_after(decide: Start) -> Start:
    """The end of pruning: decide, then multiply the scales of the nodes that stay into their weights."""
    return partial(_decide_and_fold, decide)


def _decide_and_fold(decide: Start, state: TrainState) -> None:
    decide(state)
    scaled_guide(state).fold(state.network, state.structure)


def scaled_guide(state: TrainState) -> ScaledGateGuide:
    """The guide among the state's modules."""
    guide = guide_of(state)
    assert isinstance(guide, ScaledGateGuide)
    return guide
