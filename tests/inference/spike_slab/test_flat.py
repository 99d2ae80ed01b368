"""Spike-and-slab nodes under the flattening hyper-prior, with Gaussian weights that shrink along."""

from typing import Any

import pytest
import torch

import bayesprune as bp
from bayesprune.data import Data
from bayesprune.errors import SettingError, UnknownNameError
from bayesprune.inference.estimators import ESTIMATORS, estimator
from bayesprune.inference.guides import GaussianWeightGuide
from bayesprune.inference.objective import guide_of
from bayesprune.inference.options import Recipe
from bayesprune.inference.spike_slab.flat import SpikeSlabFlat, SpikeSlabFlatOptions
from bayesprune.inference.weight_laws import DEVIATIONS, GaussianWeights, PointWeights, travel_rate
from bayesprune.models import LeNet300
from bayesprune.models.priors.weights import slab_parameters
from bayesprune.run.running import initial_state
from bayesprune.run.settings import RunSettings
from bayesprune.training import train


def perceptron() -> LeNet300:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return LeNet300((12, 8), (1, 6, 6), 3)


def recipe(data: Data) -> Recipe:
    settings = RunSettings("spike-slab-flat", epochs=4, batch_size=50)
    return Recipe(perceptron(), data.train, settings, SpikeSlabFlatOptions())


def test_the_deviations_keep_the_shape_of_the_weights_while_the_network_shrinks(small_data: Data) -> None:
    """And so do Adam's moments of them; every gate ends at 0 or 1 or is decided."""
    options: dict[str, Any] = {"horizon": 6, "shrink_every": 3, "ramp_share": 0.0, "prune_share": 0.9}
    settings = RunSettings("spike-slab-flat", epochs=6, batch_size=24, price=3.0, options=options)
    state = initial_state(perceptron(), small_data, settings)
    plan = SpikeSlabFlat().plan(state, small_data, settings)
    train(state, plan.phases[:1], small_data, batch_size=24, seed=0, describe=plan.describe)
    guide = guide_of(state)
    assert isinstance(guide, GaussianWeightGuide) and guide.draws == "example"
    assert state.structure.gate_count < 56
    weights, deviations = slab_parameters(state.network), guide.weight_parameters(state.network)
    assert {name: p.shape for name, p in weights.items()} == {name: p.shape for name, p in deviations.items()}
    moments = state.optimizers[DEVIATIONS].state
    assert all(moments[p]["exp_avg"].shape == p.shape for p in deviations.values())
    assert all(float(p.detach().std()) > 0 for p in deviations.values() if p.numel() > 1)  # learnt


@pytest.mark.parametrize("name", sorted(ESTIMATORS))
def test_weights_are_the_same_on_both_sides_of_a_difference(name: str, small_data: Data) -> None:
    """One draw a batch where losses are compared, one an example else; an option says otherwise."""
    compares = name in ("salient-flips", "uniform-flips", "disarm", "score-function")
    chosen = estimator(name)
    law = SpikeSlabFlat().weight_law(SpikeSlabFlatOptions(), chosen, recipe(small_data))
    assert isinstance(law, GaussianWeights) and law.draws == ("batch" if compares else "example")
    law = SpikeSlabFlat().weight_law(SpikeSlabFlatOptions(draws="batch"), chosen, recipe(small_data))
    assert isinstance(law, GaussianWeights) and law.draws == "batch"


@pytest.mark.parametrize("name", ["curvature", "salient-flips", "disarm"])
def test_it_prunes_with_every_kind_of_estimator(name: str, small_data: Data) -> None:
    pruned = bp.prune(
        perceptron(), small_data, "spike-slab-flat", estimator=name, epochs=6, batch_size=24, price=3.0,
        horizon=6, prune_share=0.5,
    )  # fmt: skip
    assert pruned.posterior is not None and set(pruned.posterior.decided.tolist()) == {0, 1}
    assert pruned.result()["macs"] < 552


def test_rates_sum_up_to_that_of_the_published_run() -> None:
    assert travel_rate(70_000) == pytest.approx(1e-3) == travel_rate(10**6)
    assert travel_rate(4_200) == pytest.approx(1 / 60) and travel_rate(3) == 0.05 == travel_rate(0)
    assert PointWeights().optimizers(None) == {}  # type: ignore[arg-type]  # of no state


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"deviation": 0.0}, "deviation must be"), ({"deviation": None}, "deviation must be a number"),
        ({"deviation_learning_rate": -1.0}, "deviation_learning_rate must be"), ({"slab": 0.0}, "slab must be"),
        ({"draws": 1}, "draws must be 'example' or 'batch'"), ({"gamma": 0.0}, "gamma must be"),
    ],
)  # fmt: skip
def test_options_out_of_range(options: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingError, match=said):
        SpikeSlabFlatOptions.of("spike-slab-flat", options)


def test_unknown_names() -> None:
    with pytest.raises(UnknownNameError, match="unknown draws 'each'"):
        SpikeSlabFlatOptions(draws="each")
    with pytest.raises(UnknownNameError, match="option of spike-slab-flat"):
        SpikeSlabFlatOptions.of("spike-slab-flat", {"deviations": 1.0})
