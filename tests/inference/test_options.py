"""The recipe's numbers for networks and data of different size, and the price by default."""

from typing import Any

import pytest
import torch
from torch import nn

from bayesprune.data import TensorSplit
from bayesprune.errors import SettingError
from bayesprune.inference.options import ParsimoniousOptions, Recipe
from bayesprune.inference.pricing import default_price, make_price
from bayesprune.inference.ramp import LearningRamp, LinearRamp
from bayesprune.models import LeNet5, LeNet300
from bayesprune.models.prices import CostPrice, EqualPrice, LayerPrice
from bayesprune.run.settings import RunSettings
from bayesprune.structure import find
from bayesprune.training import TrainState


def recipe(network: nn.Module, epoch_steps: int, epochs: int, **options: Any) -> Recipe:
    settings = RunSettings("parsimonious", epochs=epochs)
    return Recipe(network, split(100 * epoch_steps), settings, ParsimoniousOptions.of("parsimonious", options))


def split(examples: int) -> TensorSplit:
    """So many examples, 100 of which make a step."""
    return TensorSplit(torch.zeros(examples, 1), torch.zeros(examples, dtype=torch.int64))


def state_of(network: nn.Module, *shape: int) -> TrainState:
    example = torch.zeros(2, *shape)
    return TrainState(network, find(network, example), example)


def test_the_measured_recipe_on_mnist() -> None:
    """7 + 33 epochs of 55,000 images, LeNet-5 8 + 32; horizon 300, and 60 at the end, and noise 0.3, LeNet-5 0.2."""
    perceptron = recipe(LeNet300(), 550, 40)
    assert (perceptron.prune_steps, perceptron.fixed.steps, perceptron.fixed.batch_size) == (3_850, 9_075, 200)
    assert perceptron.settle == 3_080
    assert [perceptron.horizon(step) for step in (0, 3_079, 3_080, 3_850)] == [300, 300, 60, 60]
    assert (perceptron.learning_rate, perceptron.fixed.noise, perceptron.fixed.consistency) == (2e-3, 0.3, 0.0)
    assert perceptron.ramp == LearningRamp(1_600, 300, 50.0)
    convolutional = recipe(LeNet5(), 550, 40)
    assert (convolutional.prune_steps, convolutional.fixed.steps) == (4_400, 17_600)
    assert convolutional.horizon(0) == 400
    assert convolutional.ramp == LearningRamp(1_100, 1_760, 110.0)
    assert (perceptron.start, perceptron.shrink_every, convolutional.shrink_every) == (0.5, 100, 100)
    assert (convolutional.learning_rate, convolutional.fixed.noise, convolutional.fixed.consistency) == (2e-3, 0.2, 0.0)


def test_ramp_by_default() -> None:
    """Of equal prices at most 80 % of the pruning phase, of cost prices 25 % once learning slows; none of budgets.

    With equal prices a pruning phase of more than 2,000 steps waits no longer than one of 2,000.
    """
    assert recipe(LeNet300(), 500, 20).ramp == recipe(LeNet300(), 100, 100).ramp == LearningRamp(1_600, 300, 50.0)
    assert recipe(LeNet300(), 10, 10).ramp == LearningRamp(40, 8, 5.0)
    assert recipe(LeNet300(), 10, 10, price_kind="cost").ramp == LearningRamp(12, 20, 5.0)
    assert recipe(LeNet5(), 550, 40, price_kind="equal").ramp == LearningRamp(1_600, 300, 50.0)
    assert recipe(LeNet300(), 550, 40, ramp_share=0.0).ramp == LinearRamp(0)
    settings = RunSettings("parsimonious", epochs=40, budget="macs=10%")
    assert Recipe(LeNet300(), split(55_000), settings, ParsimoniousOptions()).ramp == LinearRamp(0)


def test_short_runs_fit_the_steps_there_are() -> None:
    """50 steps of pruning: a horizon of 50 at least, ten removals, gates that start open; what is asked for stays."""
    short = recipe(LeNet300(), 10, 10)
    assert (short.prune_steps, short.horizon(0), short.shrink_every, short.start) == (50, 50.0, 5, 0.9)
    middle = recipe(LeNet5(), 35, 30)
    assert (middle.prune_steps, middle.horizon(0), middle.shrink_every, middle.start) == (525, 105.0, 52, 0.5)
    asked = recipe(LeNet300(), 10, 10, horizon=300.0, shrink_every=2, start=0.3)
    assert (asked.horizon(0), asked.shrink_every, asked.start) == (300.0, 2, 0.3)


@pytest.mark.parametrize(("share", "expected"), [(0.0, 1), (0.01, 1), (0.3, 3), (1.0, 10)])
def test_at_least_one_epoch_of_pruning(share: float, expected: int) -> None:
    chosen = recipe(LeNet300(), 7, 10, prune_share=share)
    assert (chosen.prune_steps, chosen.fixed.steps) == (7 * expected, 7 * (10 - expected))


def test_small_data_get_more_epochs_of_pruning() -> None:
    """Gates need about 2,000 steps: 57 of 120 epochs of 35 steps, but never more than half."""
    assert recipe(LeNet300(), 35, 120).prune_steps == 57 * 35
    assert recipe(LeNet300(), 35, 20).prune_steps == 10 * 35


def test_options_change_the_numbers() -> None:
    chosen = recipe(LeNet300(), 10, 10, horizon=2.0, settle_share=0.5, ramp_share=0.25, prune_share=0.4)
    assert (chosen.settle, chosen.ramp) == (20, LinearRamp(10))
    assert [chosen.horizon(step) for step in (19, 20)] == [2.0, 1.0]  # at least one step


def test_default_price() -> None:
    """14 nats a gate on MNIST's 55,000 images, in proportion to N^0.4."""
    assert default_price("equal", 55_000) == 14.0
    assert default_price("equal", 55_000 // 32) == pytest.approx(14.0 / 4, rel=1e-3)
    assert default_price("cost", 55_000) == 30.0


def test_prices_asked_for() -> None:
    """Equal prices for networks without convolutions, prices by cost for those with; a table for each group."""
    perceptron, options = state_of(LeNet300((5, 4), (6,), 3), 6), ParsimoniousOptions()
    plain = RunSettings("parsimonious")
    assert make_price(perceptron, plain, options, 55_000) == EqualPrice(default_price("equal", 55_000))
    assert make_price(perceptron, RunSettings("parsimonious", price=7), options, 10) == EqualPrice(7.0)
    table = RunSettings("parsimonious", price="inputs=1,fc1=2,fc2=3")
    assert make_price(perceptron, table, options, 10) == LayerPrice({"inputs": 1.0, "fc1": 2.0, "fc2": 3.0})
    by_cost = ParsimoniousOptions(price_kind="cost", alpha=0.3)
    macs, params = 30 + 20 + 12, 62 + 12
    assert make_price(perceptron, plain, by_cost, 55_000) == CostPrice(30.0, 0.3, 15, macs, params)
    short = make_price(perceptron, plain, options, 55_000, steps=25)
    assert short == EqualPrice(14.0 / 4) and make_price(perceptron, plain, options, 55_000, 101) == EqualPrice(14.0)
    for asked in ({"price": 7}, {"budget": "macs=50%"}):
        settings = RunSettings("parsimonious", **asked)
        assert make_price(perceptron, settings, options, 10, 25) == make_price(perceptron, settings, options, 10)
    convolutional = state_of(LeNet5((3, 4, 6), (1, 16, 16), 3), 1, 16, 16)
    assert isinstance(make_price(convolutional, plain, options, 10), CostPrice)
    assert make_price(convolutional, plain, ParsimoniousOptions(price_kind="equal"), 55_000) == EqualPrice(14.0)


@pytest.mark.parametrize(
    "options",
    [
        {"unknown": 1}, {"alpha": 1.5}, {"start": 0.0}, {"start": "half"}, {"prune_share": -0.1}, {"horizon": 0.5},
        {"horizon": float("inf")}, {"shrink_every": 0}, {"slab": 0.0}, {"fixed_learning_rate": 0.0}, {"removal": 1},
        {"estimate_every": 0}, {"learnt_noise": 0.0}, {"fixed_decay": -1.0}, {"budget_share": 1.5},
        {"removal": "safe"}, {"gamma": 0.0}, {"gamma": float("nan")}, {"price_kind": "none"}, {"settle_share": 2},
    ],
)  # fmt: skip
def test_options_that_cannot_be_used(options: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match=next(iter(options))):
        ParsimoniousOptions.of("parsimonious", options)
