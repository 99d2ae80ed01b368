"""Resuming, for every kind of state that the methods of the table have."""

from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import bayesprune as bp
from bayesprune.data import Data
from bayesprune.experiments.methods import METHODS
from bayesprune.models import LeNet300
from bayesprune.run.pruned import Pruned
from bayesprune.run.running import run
from bayesprune.run.settings import RunSettings
from bayesprune.training import Checkpointer


def convolutional() -> nn.Module:
    """With batch normalisation and flattened maps."""
    return nn.Sequential(
        OrderedDict(
            conv=nn.Conv2d(1, 6, 3, padding=1), norm=nn.BatchNorm2d(6), pool=nn.MaxPool2d(2), relu1=nn.ReLU(),
            flatten=nn.Flatten(), fc1=nn.Linear(6 * 9, 10), relu2=nn.ReLU(), fc2=nn.Linear(10, 3),
        )
    )  # fmt: skip


@pytest.fixture(scope="module")
def trained(small_data: Data) -> dict[str, nn.Module]:
    """Networks that are worth something, so that gates have reasons to stay open."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        networks = {"perceptron": LeNet300((12, 8), (1, 6, 6), 3), "convolutional": convolutional()}
    plain: dict[str, Any] = {"epochs": 20, "batch_size": 24, "noise": 0.0, "learning_rate": 5e-3}
    return {name: bp.prune(one, small_data, "dense", **plain).network for name, one in networks.items()}


STEPS = (1, 8, 24, 25, 29, 30, 31, 60)  # 30 of 60 are the first phase; from 24 on it settles
BAYES = {"start": 0.9, "horizon": 15, "shrink_every": 3, "prune_share": 0.5}
HALF = {"prune_share": 0.5}
QUIET = HALF | {"quiet_steps": 3, "shrink_every": 3, "closed_below": 0.4, "gate_learning_rate": 0.3, "slab": 0.3}
EDGES = HALF | {"gate_learning_rate": 0.3, "inclusion": 0.1}
NOISY = HALF | {"quiet_steps": 3, "shrink_every": 3, "gate_learning_rate": 0.3, "input_gates": True}
SPARSE = HALF | {"quiet_steps": 3, "shrink_every": 3, "deviation_learning_rate": 0.3}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "dense": ("perceptron", {"method": "dense"}),
    "ensemble": ("convolutional", {"method": "ensemble", "epochs": 2, "options": {"members": 3}}),
    "mc-dropout": ("convolutional", {"method": "mc-dropout", "options": {"draws": 4}}),
    "random weights": ("perceptron", {"method": "random", "density": 0.4}),
    "random units": ("perceptron", {"method": "random", "budget": "macs=40%"}),
    "magnitude": ("perceptron", {"method": "magnitude", "density": 0.4, "options": HALF}),
    "l1-units": ("perceptron", {"method": "l1-units", "budget": "macs=40%", "options": HALF}),
    "l1-units convolutional": (
        "convolutional", {"method": "l1-units", "budget": "macs=40%", "inputs": "all", "options": HALF}
    ),
    "magnitude in rounds": (
        "perceptron",
        {"method": "magnitude", "density": 0.3, "options": {"schedule": "cubic", "rounds": 2, "retrain": 2}},
    ),
    # Phases that end early: the rate falls at a plateau, and rounds end when validation stalls.
    "plain": (
        "perceptron",
        {"method": "magnitude", "density": 0.3, "options": {
            "training": "plain", "schedule": "percentage", "rate": 0.5, "retrain": 8, "until_validation": True,
        }},
    ),
    "magnitude trimmed": (
        "convolutional",
        {"method": "magnitude", "density": 0.1, "inputs": "all", "options": HALF | {"least": 1, "trim": True}},
    ),
    "layer-obs": ("convolutional", {"method": "layer-obs", "density": 0.4, "options": HALF}),
    "grasp": ("convolutional", {"method": "grasp", "density": 0.4}),
    "slimming": ("convolutional", {"method": "slimming", "budget": "macs=40%", "options": HALF}),
    "lottery": ("perceptron", {"method": "lottery", "density": 0.3, "options": {"rate": 0.5, "rewind": 4}}),
    "set": ("perceptron", {"method": "set", "density": 0.3, "options": {"every": 4}}),
    "rigl": ("perceptron", {"method": "rigl", "density": 0.3, "options": {"every": 4}}),
    "ntt": ("perceptron", {"method": "ntt", "density": 0.4, "options": {"steps": 26, "every": 4}}),
    "ntt units": ("perceptron", {"method": "ntt", "budget": "macs=40%", "options": {"steps": 26, "every": 4}}),
    "parsimonious": ("perceptron", {"price": 3.0}),
    "parsimonious budget": ("perceptron", {"price": 3.0, "budget": "macs=30%"}),
    "parsimonious ramp": ("perceptron", {"price": 3.0, "options": BAYES | {"ramp_share": 0.5}}),
    "parsimonious average": ("perceptron", {"price": 3.0, "options": BAYES | {"removal": "average"}}),
    "parsimonious attraction": ("perceptron", {"price": 3.0, "options": BAYES | {"removal": "attraction"}}),
    "parsimonious convolutional": ("convolutional", {"price": 10.0}),
    "spike-slab-flat": ("perceptron", {"method": "spike-slab-flat", "price": 3.0, "options": BAYES}),
    "spike-slab-flat convolutional": (
        "convolutional", {"method": "spike-slab-flat", "price": 10.0, "inputs": "all", "options": BAYES}
    ),
    "spike-slab": ("perceptron", {"method": "spike-slab", "options": QUIET}),
    "spike-slab convolutional": (
        "convolutional",
        {"method": "spike-slab", "options": QUIET | {"input_gates": True}, "inputs": "all", "flatten_inputs": True},
    ),
    "ss-gl": ("perceptron", {"method": "ss-gl", "options": QUIET | {"scale_learning_rate": 0.1}}),
    "ss-ghs convolutional": (
        "convolutional",
        {"method": "ss-ghs", "options": QUIET | {"input_gates": True}, "inputs": "all", "flatten_inputs": True},
    ),
    "sv-bnn": (
        "convolutional", {"method": "sv-bnn", "inputs": "all", "options": EDGES | {"trim": True, "inclusion": 0.01}}
    ),
    "sbp convolutional": ("convolutional", {"method": "sbp", "options": NOISY, "inputs": "all"}),
    "sparse-vd": (
        "perceptron",
        {"method": "sparse-vd", "options": SPARSE},
    ),
    "parsimonious flattened": ("convolutional", {"price": 3.0, "flatten_inputs": True, "inputs": "all"}),
}  # fmt: skip


def run_case(case: str, networks: dict[str, nn.Module], data: Data, file: Path | None = None, stop: int = 0) -> Pruned:
    """Run a case, from the state in the file where there is one; stop before the step is saved."""

    def progress(now: Any) -> None:
        if now.step == stop:
            raise InterruptedError

    name, own = CASES[case]
    settings: dict[str, Any] = {"method": "parsimonious", "epochs": 6, "batch_size": 24, "seed": 3}
    settings |= {"options": BAYES} if "method" not in own else {}
    chosen = RunSettings(**settings | own)
    checkpointer = None if file is None else Checkpointer(file, steps=1)
    return run(METHODS[chosen.method], networks[name], data, chosen, checkpointer=checkpointer, progress=progress)


@pytest.mark.parametrize("case", CASES)
def test_a_run_that_is_stopped_again_and_again_ends_as_an_undisturbed_one(
    case: str, trained: dict[str, nn.Module], small_data: Data, tmp_path: Path
) -> None:
    whole = run_case(case, trained, small_data)
    for stop in STEPS:
        with pytest.raises(InterruptedError):
            run_case(case, trained, small_data, tmp_path / "state", stop)
    resumed = run_case(case, trained, small_data, tmp_path / "state")
    torch.testing.assert_close(resumed.network.state_dict(), whole.network.state_dict(), rtol=0, atol=0)
    assert resumed.kept == whole.kept and without_seconds(resumed) == without_seconds(whole)
    if whole.posterior is None or resumed.posterior is None:
        assert whole.posterior is resumed.posterior
        return
    for name in ("inclusion_probability", "decided", "trace", "steps"):
        assert torch.equal(getattr(resumed.posterior, name), getattr(whole.posterior, name))


def test_the_cases_shrink_before_and_after_stops_and_leave_something_to_decide(
    trained: dict[str, nn.Module], small_data: Data
) -> None:
    # Otherwise the test above would not show what it is there for.
    for case in ("parsimonious", "parsimonious convolutional", "parsimonious flattened"):
        pruned = run_case(case, trained, small_data)
        sizes = [record["network_macs"] for record in pruned.history]
        assert [record["phase"] for record in pruned.history] == ["prune"] * 3 + ["fixed"] * 3
        assert pruned.history[0]["undecided"] > 0
        assert sizes[0] > sizes[1] > sizes[2] or pruned.result()["decided_at_end"] > 0
    budgeted = run_case("parsimonious budget", trained, small_data)
    assert budgeted.result()["macs"] <= 0.3 * 552


def without_seconds(pruned: Pruned) -> list[dict[str, Any]]:
    return [{name: value for name, value in record.items() if name != "seconds"} for record in pruned.history]
