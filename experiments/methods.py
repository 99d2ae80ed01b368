"""The one table of methods: these names on the command line, in TOML, JSON and plots."""

from typing import Any

from bayesprune.errors import SettingError, UnknownNameError
from bayesprune.inference.multipliers.relatives import RELATIVES
from bayesprune.inference.parsimonious import Parsimonious
from bayesprune.inference.sections.complexity_aware import ComplexityAware
from bayesprune.inference.sections.layer_gates import LayerGates
from bayesprune.inference.spike_slab.edges import SparseWeights
from bayesprune.inference.spike_slab.flat import SpikeSlabFlat
from bayesprune.inference.spike_slab.group_slabs import GroupHorseshoe, GroupLasso
from bayesprune.inference.spike_slab.nodes import SpikeSlab
from bayesprune.layers.method import LayerSparsity
from bayesprune.pruners.channels import batchnorm_scale, geometric_median, taylor_units
from bayesprune.pruners.deep_ensemble import DeepEnsemble
from bayesprune.pruners.dropout import MonteCarloDropout
from bayesprune.pruners.methods import Dense, EitherPruner
from bayesprune.pruners.options import DamageOptions, SlimmingOptions
from bayesprune.pruners.saliency import grasp, logit_snip, obd, snip, synflow, taylor
from bayesprune.pruners.scores import l1_norms, magnitude, random_scores, random_units
from bayesprune.pruners.slimming import ScaleSparsity
from bayesprune.pruners.sparse_training import SparseTrainer, rigl, sparse_evolution
from bayesprune.pruners.surgeon import correct, layer_obs
from bayesprune.pruners.units import UnitPruner
from bayesprune.pruners.weights import WeightPruner
from bayesprune.run.method import Method
from bayesprune.tangent.method import NeuralTangentTransfer

_UNIFORM: dict[str, Any] = {"allocation": "class-uniform"}
"""The same share of every layer. For norms of channels one threshold over all layers was tried as well: it empties
narrow layers first and is far worse on LeNet-300-100 (validation accuracy 72 % against 93 % at 8,000
multiply-accumulates on mnist5k)."""

_TABLE: tuple[Method, ...] = (
    Dense(),
    DeepEnsemble(),
    MonteCarloDropout(),
    EitherPruner.of(
        "random",
        "random weights (density) or channels (budget), removed before training: the floor of comparisons",
        random_scores,
        random_units,
        at_start=True,
    ),
    WeightPruner("magnitude", "largest weights, one threshold over all layers", magnitude),
    WeightPruner("class-uniform", "largest weights, the same density in each layer", magnitude, _UNIFORM),
    WeightPruner(
        "class-distributed",
        "largest weights relative to their layer's deviation",
        magnitude,
        {"allocation": "class-distributed"},
    ),
    WeightPruner("obd", "optimal brain damage: least loss by the Hessian's diagonal", obd, options=DamageOptions),
    WeightPruner(
        "layer-obs",
        "layer-wise optimal brain surgeon: least change of each layer's output, survivors make up for it",
        layer_obs,
        _UNIFORM,
        correct=correct,
    ),
    WeightPruner("snip", "before training: largest |w dL/dw| of one batch", snip, at_start=True),
    WeightPruner("logit-snip", "SNIP without labels, on the squared outputs", logit_snip, at_start=True),
    WeightPruner("grasp", "before training: what the gradient flow needs most", grasp, at_start=True),
    WeightPruner(
        "synflow",
        "before training and without data: synaptic flow, in 100 rounds",
        synflow,
        {"schedule": "exponential", "rounds": 100, "retrain": 0},
        at_start=True,
    ),
    EitherPruner.of(
        "taylor", "weights or channels whose removal changes the loss most, to first order", taylor, taylor_units
    ),
    UnitPruner(
        "slimming",
        "channels with the largest scales of batch normalisation, trained to be sparse",
        batchnorm_scale,
        options=SlimmingOptions,
        objective=lambda options, noise: ScaleSparsity(options.sparsity, noise),
    ),
    UnitPruner("l1-units", "channels with the largest L1 norm", l1_norms, _UNIFORM),
    UnitPruner("geometric-median", "channels farthest from all others of their layer", geometric_median, _UNIFORM),
    WeightPruner(
        "lottery",
        "lottery tickets: rounds of training, the largest weights start again from where they began",
        magnitude,
        {"schedule": "percentage", "rate": 0.2, "rewind": 0},
    ),
    SparseTrainer(
        "set",
        "sparse from the start: the smallest weights move to random places",
        sparse_evolution,
        {"allocation": "erdos-renyi"},
    ),
    SparseTrainer(
        "rigl",
        "sparse from the start: the smallest weights move to where the gradient is largest",
        rigl,
        {"allocation": "erdos-renyi-kernel"},
    ),
    NeuralTangentTransfer(),
    LayerSparsity(),
    Parsimonious(),
    LayerGates(),
    ComplexityAware(),
    SpikeSlab(),
    SpikeSlabFlat(),
    GroupLasso(),
    GroupHorseshoe(),
    SparseWeights(),
    *RELATIVES,
)

METHODS: dict[str, Method] = {method.name: method for method in _TABLE}


def as_method(given: Any) -> Method:
    """A method by name, or one that is an object.

    Raises:
        UnknownNameError: there is none of this name.
        SettingError: it is neither, or an object has the name of another method.
    """
    if isinstance(given, str):
        return method(given)
    if isinstance(given, type) or not all(hasattr(given, name) for name in ("name", "options", "normal", "plan")):
        raise SettingError(
            f"method must be a name or an object such as Variational(gate_prior=...), not {given!r:.200}"
        )
    found: Method = given
    if found.name in METHODS and type(METHODS[found.name]) is not type(found):
        raise SettingError(f"the name {found.name!r} is that of another method: give the object a name of its own")
    return found


def method(name: str) -> Method:
    """A method by name.

    Raises:
        UnknownNameError: there is none; the nearest name is offered.
    """
    if name not in METHODS:
        raise UnknownNameError("method", name, METHODS)
    return METHODS[name]
