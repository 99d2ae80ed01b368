"""No option is accepted and ignored: every one of every method, changed alone, changes what a run ends with."""

import re
from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from torch import nn

from bayesprune.data import Data
from bayesprune.errors import SettingError
from bayesprune.experiments.methods import METHODS
from bayesprune.inference.options import ParsimoniousOptions
from bayesprune.layers.options import LayerOptions
from bayesprune.models import LeNet300
from bayesprune.pruners.deep_ensemble import EnsembleOptions
from bayesprune.pruners.dropout import DropoutOptions
from bayesprune.pruners.options import DamageOptions, PruneOptions, SlimmingOptions, TrainOptions, WeightOptions
from bayesprune.pruners.sparse_training import SparseOptions
from bayesprune.run.running import run
from bayesprune.run.settings import RunSettings
from bayesprune.tangent.options import TransferOptions

SPARSE = {"density": 0.2}
BUDGET = {"budget": "macs=40%"}
ROUNDS = {"schedule": "cubic", "rounds": 3, "prune_share": 0.125}
AT_START = {"prune_share": 0.0}
STEPS = {"steps": 6, "every": 2, "transfer_batch": 16}
FAST = STEPS | {"transfer_rate": 0.1}
SOON = {"start": 0.01, "horizon": 1.0, "shrink_every": 1}
GATES = {"horizon": 12, "prune_share": 0.5, "ramp_share": 0.0, "shrink_every": 3}

# By kind of options: method, size, and for each option another value and the options it needs beside it.
CASES: dict[type, tuple[str, dict[str, Any], dict[str, tuple[Any, dict[str, Any]]]]] = {
    WeightOptions: (
        "magnitude", SPARSE,
        {
            "prune_share": (0.75, {}), "fixed_learning_rate": (3e-2, {}), "fixed_decay": (0.5, {}), "slab": (0.05, {}),
            "training": ("adam", {}), "allocation": ("class-uniform", {}), "schedule": ("exponential", ROUNDS),
            "rounds": (2, ROUNDS), "rate": (0.4, {"schedule": "percentage", "rate": 0.5, "prune_share": 0.125}),
            "retrain": (2, ROUNDS), "least": (30, {}),
            "rewind": (0, {}), "control": ("shuffle", AT_START), "initial": ("glorot", AT_START), "trim": (True, {}),
        },
    ),
    LayerOptions: (
        "layer-sparsity", {},
        {
            "strength": (0.05, {}), "lam": (0.05, {}), "warm_up": (0.9, {"strength": 0.05}), "initial": ("he", {}),
            "tol": (10.0, {}), "eps": (1.0, {}), "calibration": (1, {"eps": 0.44, "strength": 1e-3}),
            "keep_zeros": (True, {"lam": 0.2}), "memory": (50.0, {}),
        },
    ),
    EnsembleOptions: ("ensemble", {}, {"members": (2, {"members": 3})}),
    DropoutOptions: ("mc-dropout", {}, {"rate": (0.5, {}), "draws": (3, {})}),
    DamageOptions: ("obd", SPARSE, {"draws": (1, {})}),
    SlimmingOptions: ("slimming", BUDGET, {"sparsity": (0.5, {})}),
    SparseOptions: ("set", SPARSE, {"every": (3, {}), "fraction": (0.7, {}), "until_share": (0.3, {})}),
    TransferOptions: (
        "ntt", SPARSE,
        {
            "steps": (12, STEPS), "transfer_batch": (32, STEPS), "transfer_rate": (0.1, STEPS),
            "kernel_weight": (10.0, STEPS), "transfer_decay": (10.0, STEPS), "every": (1, FAST),
            "kernel": ("projected", STEPS | {"kernel_weight": 10.0}), "masks": ("global", STEPS),
            "least": (30, STEPS | {"masks": "global"}), "first": ("logit-snip", STEPS), "initial": ("own", STEPS),
            "control": ("shuffle", STEPS), "trim": (True, STEPS),
        },
    ),
    ParsimoniousOptions: (
        "parsimonious", {"price": 0.3},
        {
            "price_kind": ("cost", GATES), "alpha": (0.1, GATES | {"price_kind": "cost"}), "start": (0.3, GATES),
            "prune_share": (0.25, GATES), "horizon": (40, GATES), "settle_share": (0.9, GATES | {"horizon": 60}),
            "ramp_share": (0.9, GATES), "estimate_every": (3, GATES | SOON), "shrink_every": (20, GATES),
            "removal": ("attraction", GATES), "slab": (0.02, GATES), "fixed_learning_rate": (3e-2, GATES),
            "fixed_decay": (0.5, GATES), "learnt_noise": (0.1, GATES),
        },
    ),
}  # fmt: skip
# Beside which settings an option does nothing: method, option and value, the settings, the reason.
WITHOUT_USE: list[tuple[str, str, Any, dict[str, Any], str]] = [
    ("magnitude", "rounds", 3, {}, "schedule='one-shot' takes no rounds (schedule='bucket' or 'cubic' or"),
    ("l1-units", "rate", 0.3, {"schedule": "cubic"}, "schedule='cubic' takes no rate (schedule='percentage' or"),
    ("lottery", "rounds", 3, {}, "schedule='percentage' takes no rounds"),
    ("magnitude", "retrain", 2, {}, "schedule='one-shot' has one round"),
    ("magnitude", "until_validation", True, {}, "schedule='one-shot' has one round"),
    ("magnitude", "until_validation", True, {"schedule": "cubic"}, "retrain=1 no training after a round can end"),
    ("magnitude", "until_validation", True, {"training": "plain"}, "retrain=1 no training after a round can end"),
    ("lottery", "retrain", 2, {}, "with rewind all trainings are equally long"),
    ("lottery", "prune_share", 0.5, {}, "with rewind all trainings are equally long"),
    ("snip", "prune_share", 0.5, {}, "there is no training before pruning"),
    ("set", "prune_share", 0.5, {}, "there is no training before pruning"),
    ("ntt", "prune_share", 0.5, {}, "there is no training before pruning"),
    ("dense", "prune_share", 0.5, {}, "there is no training before pruning"),
    ("ensemble", "prune_share", 0.5, {}, "there is no training before pruning"),
    ("mc-dropout", "slab", 0.1, {"training": "adam"}, "training='adam' has no weight decay from a prior"),
    ("magnitude", "prune_share", 0.5, {"training": "plain"}, "trains until validation no longer improves"),
    ("magnitude", "fixed_learning_rate", 0.1, {"training": "plain"}, "has one learning rate, `learning_rate`"),
    ("dense", "slab", 0.1, {"training": "adam"}, "training='adam' has no weight decay from a prior"),
    ("slimming", "sparsity", 0.1, {"prune_share": 0.0}, "prune_share=0 leaves no training before pruning"),
    ("parsimonious", "alpha", 0.5, {}, "prices do not follow costs"),
    ("parsimonious", "budget_share", 0.5, {}, "prices do not follow a budget"),
]
ELSEWHERE = {
    "until_validation": "tests/bayesprune/pruners/test_weights.py",
    "round_to": "tests/experiments/test_sizes_by_layer.py",
    "matrices": "tests/bayesprune/pruners/test_recurrent_weights.py",
    "clip": "tests/bayesprune/pruners/test_plain.py",
    "curve": "tests/bayesprune/pruners/test_plain.py",
    "transfer_data": "tests/bayesprune/tangent/test_method_input.py",
    "budget_share": "needs a budget, below",
    "gamma": "needs a run without a price, below",
}


def outcome(data: Data, method: str, size: dict[str, Any], options: dict[str, Any], epochs: int = 8) -> list[Any]:
    """All numbers of the network that a run ends with."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network: nn.Module = LeNet300((12, 8), (1, 6, 6), 3)
        if method == "slimming":  # needs batch normalisation
            network = nn.Sequential(nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(96, 3))
    settings = RunSettings(method, epochs=epochs, batch_size=40, options=options, **size)
    pruned = run(METHODS[method], network, data, settings)
    return [value.tolist() for value in pruned.network.state_dict().values()]


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("kind", CASES)
def test_every_option_changes_the_result(small_data: Data, kind: type) -> None:
    method, size, others = CASES[kind]
    known: dict[str, list[Any]] = {}
    for name, (value, beside) in others.items():
        assert beside.get(name) != value
        if repr(beside) not in known:
            known[repr(beside)] = outcome(small_data, method, size, beside)
            # nothing else makes the difference
            assert outcome(small_data, method, size, beside) == known[repr(beside)], beside
        assert outcome(small_data, method, size, beside | {name: value}) != known[repr(beside)], name


@pytest.mark.usefixtures("at_once")
def test_when_a_budget_is_to_be_met_matters(small_data: Data) -> None:
    options = [GATES | {"horizon": 60, "budget_share": share} for share in (0.1, 1.0)]
    early, late = (outcome(small_data, "parsimonious", {"budget": "macs=10%"}, given, 60) for given in options)
    assert early != late


def test_gamma_stands_for_a_price(small_data: Data) -> None:
    low, high = (outcome(small_data, "parsimonious", {}, GATES | {"gamma": gamma}) for gamma in (1.2, 1.5))
    assert low != high


@pytest.mark.parametrize("kind", [*CASES, PruneOptions, TrainOptions])
def test_every_option_is_tried(kind: type) -> None:
    """Options of a common kind are tried with one of the methods that take it."""
    tried = CASES[WeightOptions][2].keys() | (CASES[kind][2].keys() if kind in CASES else set()) | ELSEWHERE.keys()
    assert {field.name for field in fields(kind)} <= tried


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("schedule", "cubic"),
        ("rounds", 2),
        ("rate", 0.1),
        ("retrain", 2),
        ("until_validation", True),
        ("training", "adam"),
    ],
)
def test_what_dynamic_sparse_training_has_no_use_for_is_refused(name: str, value: Any) -> None:
    with pytest.raises(SettingError, match=f"leave out {name}"):
        SparseOptions(**{name: value})


@pytest.mark.parametrize(("method", "name", "value", "beside", "message"), WITHOUT_USE)
def test_an_option_that_does_nothing_beside_others_is_refused(
    method: str, name: str, value: Any, beside: dict[str, Any], message: str, small_data: Data
) -> None:
    plain: dict[str, dict[str, Any]] = dict.fromkeys(("dense", "ensemble", "mc-dropout", "parsimonious"), {})
    size = (plain | dict.fromkeys(("l1-units", "slimming"), BUDGET)).get(method, SPARSE)
    with pytest.raises(SettingError, match=f"^{name}={value!r} does nothing here, since .*{re.escape(message)}"):
        outcome(small_data, method, size, beside | {name: value})


def test_what_is_so_anyway_may_be_written_out(small_data: Data) -> None:
    """It is the same run, too."""
    for method, options in [("snip", {"prune_share": 0.0}), ("magnitude", {"retrain": 1, "slab": 0.5})]:
        settings = RunSettings(method, epochs=8, batch_size=40, options=options, density=0.2)
        plain = METHODS[method].normal(replace(settings, options={}))
        assert METHODS[method].normal(settings) == plain
        assert outcome(small_data, method, SPARSE, options) == outcome(small_data, method, SPARSE, {})


@pytest.mark.parametrize("training", ["plain", "adam"])
def test_consistency_is_refused_where_there_is_no_second_prediction(training: str) -> None:
    settings = RunSettings("magnitude", epochs=2, density=0.2, options={"training": training})
    METHODS["magnitude"].normal(replace(settings, consistency=0.0))
    with pytest.raises(SettingError, match=f"consistency=0.5 does nothing here, since training='{training}' makes no"):
        METHODS["magnitude"].normal(replace(settings, consistency=0.5))
