"""Bayesian network pruning: a smaller plain network, its structure's posterior, an honest comparison.

Everything here is imported on first use, so that ``import bayesprune`` costs next to nothing::

    import bayesprune as bp

    data = bp.load_data("mnist5k")
    pruned = bp.prune("lenet5", data, method="parsimonious", budget="macs=10%", seed=0)
"""

import logging
import os.path
from importlib import import_module
from typing import TYPE_CHECKING

from bayesprune.errors import (
    BayespruneError,
    BudgetError,
    DataError,
    DataUnavailableError,
    DivergenceError,
    GraphError,
    InputShapeError,
    NetworkError,
    PruningWarning,
    SettingError,
    StoreError,
    UnknownNameError,
    UnsupportedLayerError,
)
from bayesprune.moved import find_moved_modules

if TYPE_CHECKING:
    from bayesprune import data, experiments, graphs, inference, models, structure, tasks, training
    from bayesprune.data import Data
    from bayesprune.data import load as load_data
    from bayesprune.experiments.facade import compare, load, prune, to_datatree
    from bayesprune.experiments.inspecting import inspect
    from bayesprune.experiments.restarts import as_restarts
    from bayesprune.experiments.search.calling import SearchResult, search
    from bayesprune.experiments.search.options import SearchOptions
    from bayesprune.inference.combined import Variational
    from bayesprune.inference.multipliers.options import (
        BmrsOptions,
        HorseshoeOptions,
        JeffreysOptions,
        L0Options,
        SbpOptions,
        SparseDropoutOptions,
        VibOptions,
    )
    from bayesprune.inference.options import ParsimoniousOptions
    from bayesprune.inference.sections.options import ComplexityOptions, LayerGateOptions
    from bayesprune.inference.spike_slab.edge_options import EdgeOptions
    from bayesprune.inference.spike_slab.flat import SpikeSlabFlatOptions
    from bayesprune.inference.spike_slab.group_options import GroupHorseshoeOptions, GroupLassoOptions
    from bayesprune.inference.spike_slab.options import SpikeSlabOptions
    from bayesprune.inspection import Inspection
    from bayesprune.layers.options import LayerOptions
    from bayesprune.pruners.deep_ensemble import EnsembleOptions
    from bayesprune.pruners.dropout import DropoutOptions
    from bayesprune.pruners.options import DamageOptions, PruneOptions, SlimmingOptions, TrainOptions, WeightOptions
    from bayesprune.pruners.sparse_training import SparseOptions
    from bayesprune.run.arviz_view import for_arviz, summary
    from bayesprune.run.evidence import Evidence
    from bayesprune.run.pruned import Pruned
    from bayesprune.run.settings import RunSettings
    from bayesprune.run.shift import OutOfDistribution
    from bayesprune.run.tree.files import load_tree, save_tree
    from bayesprune.sections.bypass import with_bypasses
    from bayesprune.store.runs import RunRecord
    from bayesprune.tangent.options import TransferOptions
    from bayesprune.tasks import Metric, OwnTask, Task

__version__ = "0.1.0"

__all__ = [
    "BayespruneError",
    "BmrsOptions",
    "BudgetError",
    "ComplexityOptions",
    "DamageOptions",
    "Data",
    "DataError",
    "DataUnavailableError",
    "DivergenceError",
    "DropoutOptions",
    "EdgeOptions",
    "EnsembleOptions",
    "Evidence",
    "GraphError",
    "GroupHorseshoeOptions",
    "GroupLassoOptions",
    "HorseshoeOptions",
    "InputShapeError",
    "Inspection",
    "JeffreysOptions",
    "L0Options",
    "LayerGateOptions",
    "LayerOptions",
    "Metric",
    "NetworkError",
    "OutOfDistribution",
    "OwnTask",
    "PruningWarning",
    "ParsimoniousOptions",
    "PruneOptions",
    "Pruned",
    "RunRecord",
    "RunSettings",
    "SbpOptions",
    "SearchOptions",
    "SearchResult",
    "SettingError",
    "SlimmingOptions",
    "SparseDropoutOptions",
    "SparseOptions",
    "SpikeSlabFlatOptions",
    "SpikeSlabOptions",
    "StoreError",
    "Task",
    "TrainOptions",
    "TransferOptions",
    "UnknownNameError",
    "UnsupportedLayerError",
    "Variational",
    "VibOptions",
    "WeightOptions",
    "as_restarts",
    "compare",
    "data",
    "experiments",
    "for_arviz",
    "graphs",
    "inference",
    "inspect",
    "load",
    "load_data",
    "load_tree",
    "models",
    "prune",
    "save_tree",
    "search",
    "structure",
    "summary",
    "tasks",
    "to_datatree",
    "training",
    "with_bypasses",
]

_MODULES = frozenset({"data", "experiments", "graphs", "inference", "models", "structure", "tasks", "training"})
_PLACES = {
    "bayesprune.data": ("Data",),
    "bayesprune.experiments.facade": ("compare", "load", "prune", "to_datatree"),
    "bayesprune.experiments.inspecting": ("inspect",),
    "bayesprune.experiments.restarts": ("as_restarts",),
    "bayesprune.experiments.search.calling": ("SearchResult", "search"),
    "bayesprune.experiments.search.options": ("SearchOptions",),
    "bayesprune.inference.combined": ("Variational",),
    "bayesprune.inspection": ("Inspection",),
    "bayesprune.inference.spike_slab.group_options": ("GroupHorseshoeOptions", "GroupLassoOptions"),
    "bayesprune.inference.multipliers.options": (
        "BmrsOptions", "HorseshoeOptions", "JeffreysOptions", "L0Options", "SbpOptions",
        "SparseDropoutOptions", "VibOptions",
    ),
    "bayesprune.inference.options": ("ParsimoniousOptions",),
    "bayesprune.inference.sections.options": ("ComplexityOptions", "LayerGateOptions"),
    "bayesprune.inference.spike_slab.flat": ("SpikeSlabFlatOptions",),
    "bayesprune.inference.spike_slab.options": ("SpikeSlabOptions",),
    "bayesprune.inference.spike_slab.edge_options": ("EdgeOptions",),
    "bayesprune.layers.options": ("LayerOptions",),
    "bayesprune.pruners.deep_ensemble": ("EnsembleOptions",),
    "bayesprune.pruners.dropout": ("DropoutOptions",),
    "bayesprune.pruners.options": ("DamageOptions", "PruneOptions", "SlimmingOptions", "TrainOptions", "WeightOptions"),
    "bayesprune.pruners.sparse_training": ("SparseOptions",),
    "bayesprune.run.arviz_view": ("for_arviz", "summary"),
    "bayesprune.run.evidence": ("Evidence",),
    "bayesprune.run.pruned": ("Pruned",),
    "bayesprune.run.settings": ("RunSettings",),
    "bayesprune.run.shift": ("OutOfDistribution",),
    "bayesprune.run.tree.files": ("load_tree", "save_tree"),
    "bayesprune.sections.bypass": ("with_bypasses",),
    "bayesprune.store.runs": ("RunRecord",),
    "bayesprune.tangent.options": ("TransferOptions",),
    "bayesprune.tasks": ("Metric", "OwnTask", "Task"),
}  # fmt: skip
_FUNCTIONS = {"load_data": ("bayesprune.data", "load")} | {
    name: (module, name) for module, names in _PLACES.items() for name in names
}


def _find_floors_of_checkout() -> None:
    """Let the upper floors of a checkout be found: they stand beside this folder, not in it."""
    here = os.path.dirname(os.path.abspath(__file__))
    root = os.path.dirname(here)
    if os.path.isdir(os.path.join(here, "models")):
        return  # installed: everything is inside
    marks = ("pyproject.toml", os.path.join("models", "__init__.py"))
    if root not in __path__ and all(os.path.isfile(os.path.join(root, mark)) for mark in marks):
        __path__.append(root)


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    if name in _FUNCTIONS:
        module, attribute = _FUNCTIONS[name]
        value = getattr(import_module(module), attribute)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])


logging.getLogger(__name__).addHandler(logging.NullHandler())  # a program that wants to see it adds its own
_find_floors_of_checkout()
find_moved_modules()
