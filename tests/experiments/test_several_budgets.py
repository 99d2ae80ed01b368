"""Several budgets at once, and latency, through whole runs of every method that takes a budget."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import bayesprune as bp
from bayesprune.budgets import measuring
from bayesprune.budgets.predicted import MEASURING
from bayesprune.data import Data
from bayesprune.errors import BudgetError, SettingError
from bayesprune.experiments import facade
from bayesprune.experiments.methods import METHODS
from bayesprune.models import LeNet300
from bayesprune.run.pruned import Pruned
from bayesprune.structure import MacCounter, evaluating
from bayesprune.training import Checkpointer

MACS, PARAMS = 36 * 12 + 12 * 8 + 8 * 3, 36 * 12 + 12 * 8 + 8 * 3 + 12 + 8 + 3
TAKING = sorted(name for name, method in METHODS.items() if "budget" in method.takes)
WITHOUT_NORMS = [name for name in TAKING if name != "slimming"]  # which scores the scales of batch normalisation
SHORT: dict[str, dict[str, Any]] = {"ntt": {"steps": 10, "every": 4}}


def pruned_by(method: str, data: Data, **settings: Any) -> Pruned:
    torch.manual_seed(0)
    given = {"epochs": 2, "batch_size": 24, "progress": False} | SHORT.get(method, {}) | settings
    return bp.prune(LeNet300((12, 8), (1, 6, 6), 3), data, method, **given)


@pytest.mark.filterwarnings("ignore::bayesprune.errors.PruningWarning")
@pytest.mark.parametrize("method", WITHOUT_NORMS)
@pytest.mark.parametrize(("macs", "params"), [(40, 90), (90, 40)])
def test_every_method_that_takes_a_budget_takes_two(method: str, macs: int, params: int, small_data: Data) -> None:
    pruned = pruned_by(method, small_data, budget=[f"params={params}%", f"macs={macs}%"])
    assert pruned.settings.budget == f"macs={macs}%,params={params}%"
    inputs, first, second = (len(pruned.kept[name]) for name in ("inputs", "fc1", "fc2"))
    spent = inputs * first + first * second + 3 * second
    assert (pruned.evaluation.macs, pruned.evaluation.params) == (spent, spent + first + second + 3)
    used = max(100 * pruned.evaluation.macs / MACS / macs, 100 * pruned.evaluation.params / PARAMS / params)
    largest = max(first, inputs + second + 1, first + 4) / (min(macs, params) / 100 * MACS)
    assert 1 - max(0.03, 2 * largest) <= used <= 1


@pytest.mark.parametrize("method", sorted(METHODS.keys() - set(TAKING)))
def test_the_others_say_what_they_take(method: str, small_data: Data) -> None:
    with pytest.raises(SettingError, match=f"method {method!r} cannot use budget='macs=40%,params=90%': it takes"):
        pruned_by(method, small_data, budget="params=90%,macs=40%")


@pytest.mark.parametrize("method", ["parsimonious", "l1-units", "ntt"])
def test_the_impossible_one_of_several_is_named(method: str, small_data: Data) -> None:
    with pytest.raises(BudgetError, match=r"no network .* meets params <= 4: .* it needs 10; give budget=params"):
        pruned_by(method, small_data, budget="macs=90%,params=4")


def test_tangent_transfer_refuses_latency(small_data: Data) -> None:
    with pytest.raises(SettingError, match="ntt takes budgets of macs and params, and none of latency"):
        pruned_by("ntt", small_data, budget="latency=50%")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Each multiply-accumulate takes a microsecond; the factor in the list may be changed."""
    factor = [1.0]

    def time_ms(network: nn.Module, example: Any) -> float:
        with MacCounter() as counter, evaluating(network):
            network(example[:1])
        return factor[0] * 1e-3 * counter.macs

    monkeypatch.setattr(measuring, "time_ms", time_ms)
    return factor


@pytest.mark.filterwarnings("ignore::bayesprune.errors.PruningWarning")
@pytest.mark.parametrize("method", ["parsimonious", "spike-slab-flat", "l1-units", "taylor"])
def test_a_latency_is_met_and_told_of(method: str, small_data: Data, clock: list[float]) -> None:
    said: list[str] = []
    pruned = pruned_by(
        method, small_data, budget="latency=250us", progress=lambda now: said.append(now.phase), epochs=6
    )
    assert pruned.settings.budget == "latency=0.25ms"
    assert 0.9 * 250 <= pruned.evaluation.macs <= 250
    assert sum(phase.startswith(MEASURING) for phase in said) == 8  # three layers and five whole networks


@pytest.mark.filterwarnings("ignore::bayesprune.errors.PruningWarning")
@pytest.mark.parametrize("method", ["parsimonious", "l1-units"])
def test_a_run_that_goes_on_has_the_table_it_began_with(
    method: str, small_data: Data, tmp_path: Path, clock: list[float]
) -> None:
    """Nothing is measured for a table again, and the end is that of an undisturbed run."""
    given: dict[str, Any] = {"budget": "latency=45%", "epochs": 6, "checkpoint": tmp_path / "state"}
    whole = pruned_by(method, small_data, **given)

    def stop(now: Any) -> None:
        if now.step == 20:
            raise InterruptedError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(facade, "Checkpointer", partial(Checkpointer, steps=1))
        with pytest.raises(InterruptedError):
            pruned_by(method, small_data, progress=stop, **given)
        said: list[str] = []
        resumed = pruned_by(method, small_data, progress=lambda now: said.append(now.phase), **given)
    assert resumed.kept == whole.kept
    assert not any(phase.startswith(MEASURING) for phase in said)
