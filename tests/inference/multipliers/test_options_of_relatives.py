"""No option of the relatives is accepted and ignored: each one, changed alone, changes what a run ends with."""

from dataclasses import fields
from typing import Any

import pytest
import torch

from bayesprune.data import Data
from bayesprune.inference.multipliers.relatives import RELATIVES
from bayesprune.models import LeNet300
from bayesprune.run.running import run
from bayesprune.run.settings import RunSettings

METHODS = {method.name: method for method in RELATIVES}
SOON: dict[str, Any] = {"gate_learning_rate": 0.3, "quiet_steps": 3, "shrink_every": 2, "prune_share": 0.5}
WEIGHTS: dict[str, Any] = SOON | {"gate_learning_rate": None, "deviation_learning_rate": 0.3, "warm_up": 0.0}
COMMON = {
    "prune_share": 0.75, "gate_learning_rate": 0.1, "warm_up": 0.5, "input_gates": True, "draws": "batch",
    "removal": "end", "quiet_steps": 9, "shrink_every": 5, "slab": 0.05, "fixed_learning_rate": 3e-2,
    "fixed_decay": 0.5,
}  # fmt: skip
OWN: dict[str, dict[str, Any]] = {
    "l0": {
        "weight": 1.0, "temperature": 0.3, "start": 0.9, "input_start": 0.3, "input_gates": False, "draws": "example",
    },
    "sbp": {"threshold": 3.0},
    "bmrs": {"threshold": -100.0},
    "vib": {"weight": 9.0, "threshold": -3.0, "input_gates": False},
    "sparse-vd": {
        "threshold": -1.0, "warm_up": 0.9, "input_gates": False, "deviation": 0.05, "deviation_learning_rate": 0.1,
        "slab": 0.05,
    },
    "bc-gnj": {
        "threshold": -6.0, "deviation": 0.1, "deviation_learning_rate": 0.01, "slab": 0.1, "input_gates": False,
    },
    "bc-ghs": {"threshold": 0.0, "global_scale": 0.5},
}  # fmt: skip
CASES = [("sbp", *item) for item in COMMON.items()] + [(name, *one) for name in OWN for one in OWN[name].items()]


def outcome(data: Data, method: str, options: dict[str, Any]) -> list[Any]:
    """All numbers of the network that a run ends with."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = LeNet300((12, 8), (1, 6, 6), 3)
    pruned = run(METHODS[method], network, data, RunSettings(method, epochs=8, batch_size=40, options=options))
    return [value.tolist() for value in pruned.network.state_dict().values()]


@pytest.mark.long
@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize(("method", "name", "value"), CASES)
def test_an_option_changes_the_result(method: str, name: str, value: Any, small_data: Data) -> None:
    beside = WEIGHTS if method == "sparse-vd" else SOON
    without = outcome(small_data, method, beside)
    assert outcome(small_data, method, beside | {name: value}) != without


@pytest.mark.long
@pytest.mark.usefixtures("at_once")
def test_the_reduced_prior_and_its_bits_change_the_result(small_data: Data) -> None:
    uniform = SOON | {"reduced": "uniform"}
    assert outcome(small_data, "bmrs", uniform | {"bits": 8}) == outcome(small_data, "bmrs", uniform)
    fewest = outcome(small_data, "bmrs", uniform | {"bits": 0})
    assert fewest != outcome(small_data, "bmrs", uniform) and fewest != outcome(small_data, "bmrs", SOON)


@pytest.mark.parametrize("name", METHODS)
def test_every_option_is_tried(name: str) -> None:
    """Those of Bayesian compression with bc-gnj, where bc-ghs has them too."""
    tried = {
        *COMMON,
        *OWN[name],
        *(OWN["bc-gnj"] if name == "bc-ghs" else ()),
        *(["reduced", "bits"] if name == "bmrs" else ()),
    }
    assert {field.name for field in fields(METHODS[name].options)} <= tried
