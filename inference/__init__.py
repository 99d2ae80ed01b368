"""Third floor: guides, gate-gradient estimators, the ELBO, variational inference with shrinking, exact references."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bayesprune.inference.combined import Variational
    from bayesprune.inference.elbo import GatedELBO
    from bayesprune.inference.estimators import ESTIMATORS, estimator
    from bayesprune.inference.guides import GateGuide, GaussianWeightGuide
    from bayesprune.inference.objective import GatedObjective
    from bayesprune.inference.optim import GatedOptim
    from bayesprune.inference.options import ParsimoniousOptions
    from bayesprune.inference.parsimonious import Parsimonious
    from bayesprune.inference.projected import ProjectedGateDescent
    from bayesprune.inference.references.exact_gates import ExactGates
    from bayesprune.inference.references.exact_graphs import ExactGraphs, exact_graphs
    from bayesprune.inference.references.gibbs_draws import GibbsDraws
    from bayesprune.inference.references.graph_draws import GraphDraws
    from bayesprune.inference.references.graph_sampling import sample_graphs
    from bayesprune.inference.references.nuts_draws import NutsDraws
    from bayesprune.inference.relaxed import LogitGateGuide, RelaxedGates
    from bayesprune.inference.slots import AdamSteps, FixedInclusion, Flattening, ProjectedSteps, Quiet
    from bayesprune.inference.spike_slab.edges import SparseWeights
    from bayesprune.inference.spike_slab.flat import SpikeSlabFlat, SpikeSlabFlatOptions
    from bayesprune.inference.spike_slab.group_slabs import GroupHorseshoe, GroupLasso
    from bayesprune.inference.spike_slab.nodes import SpikeSlab
    from bayesprune.inference.spike_slab.options import SpikeSlabOptions
    from bayesprune.inference.variational import Parts, VariationalMethod
    from bayesprune.inference.weight_laws import GaussianWeights, PointWeights
    from bayesprune.run.datatree import to_datatree

__all__ = [
    "ESTIMATORS",
    "AdamSteps",
    "ExactGates",
    "ExactGraphs",
    "FixedInclusion",
    "Flattening",
    "GateGuide",
    "GatedELBO",
    "GatedObjective",
    "GatedOptim",
    "GaussianWeightGuide",
    "GaussianWeights",
    "GibbsDraws",
    "GraphDraws",
    "GroupHorseshoe",
    "GroupLasso",
    "LogitGateGuide",
    "NutsDraws",
    "Parsimonious",
    "ParsimoniousOptions",
    "Parts",
    "PointWeights",
    "ProjectedGateDescent",
    "ProjectedSteps",
    "Quiet",
    "RelaxedGates",
    "SparseWeights",
    "SpikeSlab",
    "SpikeSlabFlat",
    "SpikeSlabFlatOptions",
    "SpikeSlabOptions",
    "Variational",
    "VariationalMethod",
    "estimator",
    "exact_graphs",
    "sample_graphs",
    "to_datatree",
]

_LAZY = {
    "ESTIMATORS": ".estimators",
    "ExactGates": ".references.exact_gates",
    "ExactGraphs": ".references.exact_graphs",
    "GateGuide": ".guides",
    "GatedELBO": ".elbo",
    "GatedObjective": ".objective",
    "GatedOptim": ".optim",
    "GaussianWeightGuide": ".guides",
    "GibbsDraws": ".references.gibbs_draws",
    "GraphDraws": ".references.graph_draws",
    "GroupHorseshoe": ".spike_slab.group_slabs",
    "GroupLasso": ".spike_slab.group_slabs",
    "Parsimonious": ".parsimonious",
    "ParsimoniousOptions": ".options",
    "GaussianWeights": ".weight_laws",
    "LogitGateGuide": ".relaxed",
    "NutsDraws": ".references.nuts_draws",
    "Parts": ".variational",
    "PointWeights": ".weight_laws",
    "ProjectedGateDescent": ".projected",
    "RelaxedGates": ".relaxed",
    "SparseWeights": ".spike_slab.edges",
    "SpikeSlab": ".spike_slab.nodes",
    "SpikeSlabFlat": ".spike_slab.flat",
    "SpikeSlabFlatOptions": ".spike_slab.flat",
    "SpikeSlabOptions": ".spike_slab.options",
    "AdamSteps": ".slots",
    "FixedInclusion": ".slots",
    "Flattening": ".slots",
    "ProjectedSteps": ".slots",
    "Quiet": ".slots",
    "Variational": ".combined",
    "VariationalMethod": ".variational",
    "estimator": ".estimators",
    "exact_graphs": ".references.exact_graphs",
    "sample_graphs": ".references.graph_sampling",
    "to_datatree": "bayesprune.run.datatree",
}


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name], __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
