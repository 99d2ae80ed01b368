"""Whether a model and a guide fit, and whether they are this package's own."""

from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor

from bayesprune.errors import SettingError, a_kind
from bayesprune.inference.guides import GateGuide, GaussianWeightGuide
from bayesprune.inference.relaxed import LogitGateGuide
from bayesprune.inference.spike_slab.edge_guide import EdgeGuide, EdgeSlab
from bayesprune.inference.spike_slab.scaled_guide import ScaledGateGuide
from bayesprune.models.gated import GatedModel
from bayesprune.models.likelihoods import CategoricalLikelihood, GaussianLikelihood, TaskLikelihood
from bayesprune.models.priors.gates import FixedGatePrior, FlatteningGatePrior
from bayesprune.models.priors.scales import GroupHorseshoeSlab, GroupLassoSlab
from bayesprune.models.priors.weights import GaussianSlab

WITH_SITES: WeakSet[GatedModel] = WeakSet()
"""Models of this package whose networks turned out to sample by themselves."""

_SLABS: dict[type, set[type]] = {
    GateGuide: {GaussianSlab}, GaussianWeightGuide: {GaussianSlab}, LogitGateGuide: {GaussianSlab},
    EdgeGuide: {EdgeSlab}, ScaledGateGuide: {GroupLassoSlab, GroupHorseshoeSlab},
}  # fmt: skip
"""Guides of this package, each with the priors of weights that its closed forms are for."""
_GATE_PRIORS: set[type] = {FlatteningGatePrior, FixedGatePrior}
_LIKELIHOODS: set[type] = {CategoricalLikelihood, GaussianLikelihood, TaskLikelihood}


def is_own(model: GatedModel, guide: Any) -> bool:
    """Whether all sites are known without running the programs: every part is one of this package."""
    return (
        type(model) is GatedModel
        and guide.weights is None
        and type(model.gate_prior) in _GATE_PRIORS
        and type(model.weight_prior) in _SLABS.get(type(guide), ())
        and type(model.likelihood) in _LIKELIHOODS
        and model not in WITH_SITES
    )


def check_fit(model: Any, guide: Any) -> None:
    """Refuse what is no gated model, what is no guide of gates, and a guide of another model's gates or size.

    Raises:
        SettingError: naming what differs.
    """
    if not isinstance(model, GatedModel):
        raise SettingError(f"the model must be a GatedModel, not {a_kind(model)}")
    theta = getattr(guide, "theta", None)
    if not isinstance(theta, Tensor):
        raise SettingError(
            f"{type(guide).__name__} has no inclusion probabilities `theta`: take GateGuide(model), with a guide of "
            "Pyro's over the weights as GateGuide(model, weights=AutoNormal)"
        )
    gates = model.structure.gate_count
    if theta.shape != (gates,):
        raise SettingError(f"the guide has theta of shape {list(theta.shape)}, the model {gates} gates")
    size = getattr(guide, "size", model.size)
    if size != model.size:
        raise SettingError(
            f"the guide is bound to a model of N = {size} training examples, and this model has N = {model.size}: "
            "make the guide of this model, or call guide.bind(model)"
        )


def check_box(theta: Tensor) -> None:
    """Refuse inclusion probabilities that a step has carried out of their box.

    Raises:
        SettingError: naming the optimizer to take.
    """
    value = theta.detach()
    if not bool(((value >= 0) & (value <= 1)).all()):
        least, most = (float(x) for x in torch.aminmax(value))
        raise SettingError(
            f"theta has left [0, 1] ({least:.3g} to {most:.3g}): step the gates with bayesprune.inference.GatedOptim"
        )
