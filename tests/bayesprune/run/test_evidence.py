"""The evidence for every unit: against networks whose units are closed by hand, and its error against a bootstrap."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, relu

import bayesprune as bp
from bayesprune.data import Data, from_tensors
from bayesprune.errors import DataError, SettingError, StoreError
from bayesprune.run.evidence import Evidence, Moments
from bayesprune.run.flipping import Flipping
from bayesprune.run.pruned import Pruned
from bayesprune.structure import compact, layer_costs
from bayesprune.tasks.likelihood import Gaussian

QUICK: dict[str, Any] = {"epochs": 2, "batch_size": 40, "progress": False}


class Plain(nn.Module):
    """Takes pictures [B, 1, 6, 6]; `branches` makes it one that cannot be traced."""

    branches = False

    def __init__(self, input_shape: tuple[int, ...] = (1, 6, 6), classes: int = 3) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 5, 3), nn.BatchNorm2d(5)
        self.fc, self.head = nn.Linear(5 * 16, 7), nn.Linear(7, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = relu(self.norm(self.conv(inputs)))
        if self.branches and float(hidden.detach().sum()) < 0:
            hidden = -hidden
        outputs: Tensor = self.head(relu(self.fc(hidden.flatten(1))))
        return outputs


class Branching(Plain):
    branches = True


@pytest.fixture(scope="module")
def perceptron(small_data: Data) -> Pruned:
    settings = QUICK | {"epochs": 6, "precision": "float64"}
    return bp.prune("lenet300", small_data, "l1-units", widths=(9, 6), budget="macs=60%", **settings)


@pytest.fixture(scope="module")
def bayesian(small_data: Data) -> Pruned:
    return bp.prune("lenet300", small_data, widths=(9, 6), price=2.0, **QUICK)


@torch.no_grad()
def test_a_hidden_unit_is_closed_by_hand(perceptron: Pruned, small_data: Data) -> None:
    """The unit's outgoing weights are set to 0: N times the rise of the mean cross-entropy, every unit."""
    inputs, labels = next(iter(small_data.train.batches(240)))
    found = perceptron.evidence()
    assert (found.size, found.examples, len(found)) == (240, 240, perceptron.structure.gate_count)
    before = cross_entropy(perceptron.network(inputs.double()), labels, reduction="none")
    for group, reader in (("fc1", "fc2"), ("fc2", "fc3")):
        part = found.of(group)
        assert part.indices.tolist() == perceptron.kept[group]
        for unit in range(len(part)):
            network = deepcopy(perceptron.network)
            with torch.no_grad():
                network.get_parameter(f"{reader}.weight")[:, unit] = 0
            rises = cross_entropy(network(inputs.double()), labels, reduction="none") - before
            assert float(part.evidence[unit]) == pytest.approx(float(rises.sum()), rel=1e-8, abs=1e-8)
            assert float(part.error[unit]) == pytest.approx(float(rises.std() * 240**0.5), rel=1e-8, abs=1e-8)
    assert found.price is None and found.log_odds is None


@torch.no_grad()
@pytest.mark.parametrize("make", [Plain, Branching])
def test_every_gate_is_the_compacted_network(make: Callable[..., nn.Module], small_data: Data) -> None:
    """With batch normalisation in evaluation mode; one network is replayed, the other runs as a whole."""
    pruned = bp.prune(
        make, small_data, "l1-units", budget="macs=70%", flatten_inputs=True, precision="float64", **QUICK
    )
    pruned.network.train()
    state = {name: value.clone() for name, value in pruned.network.state_dict().items()}
    found = pruned.evidence()
    assert found.replayed == (make is Plain) and pruned.network.training
    assert all(torch.equal(value, state[name]) for name, value in pruned.network.state_dict().items())
    inputs, labels = next(iter(small_data.train.batches(240)))
    before = cross_entropy(pruned.network.eval()(inputs.double()), labels, reduction="sum")
    for gate, value in enumerate(found.evidence.tolist()):
        network, opened = deepcopy(pruned.network), torch.ones(len(found), dtype=torch.bool)
        opened[gate] = False
        compact(network, pruned.structure, opened)
        rise = cross_entropy(network(inputs.double()), labels, reduction="sum") - before
        assert value == pytest.approx(float(rise), rel=1e-8, abs=1e-8)


def test_fast_and_plain_flips_are_the_same(perceptron: Pruned) -> None:
    plain = Flipping.of(perceptron, None, None, 0, fast=False)
    moments = Moments(plain.gates)
    for gates, rises in plain.rises():
        moments.add(gates, rises)
    fast = perceptron.evidence()
    torch.testing.assert_close(fast.evidence, 240 * moments.mean, rtol=1e-8, atol=1e-9)
    torch.testing.assert_close(fast.error, 240 * moments.error(), rtol=1e-8, atol=1e-9)


def test_moments_of_several_batches() -> None:
    values = torch.randn(4, 1000, dtype=torch.float64) + torch.tensor([[0.0], [3.0], [-1e6], [5.0]])
    moments = Moments(4)
    for part in values.split([1, 600, 399], 1):
        moments.add([3, 1], part[[3, 1]])
        moments.add([0, 2], part[[0, 2]])
    torch.testing.assert_close(moments.mean, values.mean(1))
    torch.testing.assert_close(moments.error(), values.std(1) / 1000**0.5)


def test_the_error_is_that_of_a_bootstrap(perceptron: Pruned) -> None:
    """2,000 resamplings give a deviation to 1.6 percent; 8 is five times that."""
    flipping = Flipping.of(perceptron, None, None, 0)
    rises = torch.zeros(flipping.gates, 240, dtype=torch.float64)
    for gates, part in flipping.rises():
        rises[gates] = part
    rows = np.random.default_rng(0).integers(240, size=(2000, 240))
    spread = rises.numpy()[:, rows].mean(2).std(1) * 240
    found = perceptron.evidence().error.numpy()
    alive = found > 1e-6
    assert alive.sum() > 5
    np.testing.assert_allclose(found[alive], spread[alive], rtol=0.08)


def test_a_sample_stands_for_all_examples(perceptron: Pruned) -> None:
    """Of 60 samples of 60 examples: on the average the evidence, and its error is that of samples of 60."""
    whole = perceptron.evidence()
    samples = torch.stack([perceptron.evidence(examples=60, seed=seed).evidence for seed in range(60)])
    one = perceptron.evidence(examples=60, seed=3)
    assert (one.examples, one.size) == (60, 240)
    alive = whole.error > 1e-6
    error = (whole.error * (240 / 60) ** 0.5 / 60**0.5)[alive]
    assert float(((samples.mean(0) - whole.evidence)[alive] / error).abs().max()) < 4.5
    assert torch.equal(one.evidence, samples[3]) and not torch.equal(samples[2], samples[3])


def test_equal_prices_and_odds(bayesian: Pruned, small_data: Data, tmp_path: Path) -> None:
    found = bayesian.evidence()
    assert found.price is not None and found.log_odds is not None
    torch.testing.assert_close(found.price, torch.full_like(found.price, 2.0))
    torch.testing.assert_close(found.log_odds[~found.needed], (found.evidence - 2.0)[~found.needed])
    loaded = bp.load(bayesian.save(tmp_path / "saved"))
    assert bayesian.posterior is not None and loaded.posterior is not None
    torch.testing.assert_close(loaded.posterior.last_rise, bayesian.posterior.last_rise, equal_nan=True)
    again = loaded.evidence(small_data)
    torch.testing.assert_close(again.evidence, found.evidence, rtol=1e-6, atol=1e-6)
    assert again.price is not None and again.names == found.names and torch.equal(again.price, found.price)
    assert again.names == [f"{name}[{index}]" for name, kept in bayesian.kept.items() for index in kept]


def test_cost_prices_are_counted_on_compacted_networks(small_data: Data) -> None:
    """nats J (alpha dMAC / MAC_0 + (1 - alpha) dparams / P_0), both counted of networks without the unit."""
    pruned = bp.prune(
        "lenet300", small_data, widths=(9, 6), price=3.0, options={"price_kind": "cost", "alpha": 0.4}, **QUICK
    )
    found, example = pruned.evidence(), torch.zeros(1, 1, 6, 6)
    assert found.price is not None
    gates = sum(group.size for group in pruned.groups)
    macs = sum(layer.macs for layer in pruned.dense_layers)

    def cost(network: nn.Module) -> float:
        now = sum(layer.macs for layer in layer_costs(network, example))
        params = sum(one.numel() for one in network.parameters())
        return 3.0 * gates * (0.4 * now / macs + 0.6 * params / pruned.dense_params)

    whole = cost(pruned.network)
    for gate in range(len(found)):
        opened = torch.ones(len(found), dtype=torch.bool)
        opened[gate] = False
        if not found.needed[gate]:
            network = deepcopy(pruned.network)
            compact(network, pruned.structure, opened)
            assert float(found.price[gate]) == pytest.approx(whole - cost(network), rel=1e-5)


def test_the_last_unit_of_a_layer_is_needed(small_data: Data) -> None:
    found = bp.prune("lenet300", small_data, "dense", widths=(1, 4), inputs="none", **QUICK).evidence()
    assert found.needed.tolist() == [True, False, False, False, False] and bool(found.evidence.isfinite().all())
    odds = replace(found, price=torch.ones(5, dtype=torch.float64)).log_odds
    assert odds is not None and float(odds[0]) == float("inf") and bool(odds[1:].isfinite().all())
    assert found.weakest(5).names[-1] == "fc1[0]"


def test_prices_that_only_meet_a_budget_are_none(small_data: Data) -> None:
    budget = bp.prune("lenet300", small_data, widths=(9, 6), budget="macs=60%", **QUICK)
    assert budget.evidence().price is None
    capped = bp.prune("lenet300", small_data, widths=(9, 6), budget="macs=60%", price=1.5, **QUICK).evidence()
    assert capped.price is not None and float(capped.price.max()) == pytest.approx(1.5)


def test_weakest_table_and_frame(bayesian: Pruned, perceptron: Pruned) -> None:
    found = bayesian.evidence()
    least = found.weakest(3)
    assert found.log_odds is not None and least.log_odds is not None
    assert least.log_odds.tolist() == found.log_odds.sort().values[:3].tolist()
    frame = found.to_frame()
    assert frame.index.tolist() == found.names and frame.loc[least.names[0], "evidence"] == float(least.evidence[0])
    assert len(found.weakest(10_000)) == len(found) and found.unit == "nats"
    text = str(found)
    assert all(name in text for name in ("240 of 240", "nats", "below price", found.of("fc2").weakest(1).names[0]))
    plain = perceptron.evidence()
    assert "below price" not in str(plain) and plain.to_frame()["price"].isna().all()
    assert plain.weakest(2).evidence.tolist() == plain.evidence.sort().values[:2].tolist()
    for wrong, message in ((0, "count must be an integer >= 1, not 0"), (1.5, "count must be")):
        with pytest.raises(SettingError, match=message):
            found.weakest(wrong)  # type: ignore[arg-type]  # that is what is refused
    with pytest.raises(SettingError, match="group 'fc9' has no units: there are inputs, fc1, fc2"):
        found.of("fc9")


@torch.no_grad()
def test_regression_and_weights_of_examples() -> None:
    """The task's own likelihood, with the learnt noise; weights multiply it."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(200, 4, generator=generator)
    targets = inputs[:, 0] - inputs[:, 1] + 0.1 * torch.randn(200, generator=generator)
    weights = torch.rand(200, generator=generator) + 0.5
    data = from_tensors(inputs, targets, task="regression", example_weights=weights)
    network = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 1))
    pruned = bp.prune(network, data, "l1-units", budget="macs=60%", inputs="none", **QUICK)
    features, (wanted, weight) = next(iter(data.train.batches(1000)))
    assert isinstance(pruned.likelihood, Gaussian)
    deviation = pruned.likelihood.deviation()

    def loss(network: nn.Module) -> Tensor:
        return ((network(features) - wanted.reshape(-1, 1)) / deviation).square().mul(0.5).flatten() * weight

    found = pruned.evidence()
    for unit in range(len(found)):
        closed = deepcopy(pruned.network)
        with torch.no_grad():
            closed.get_parameter("2.weight")[:, unit] = 0
        rise = (loss(closed) - loss(pruned.network)).double().sum()
        assert float(found.evidence[unit]) == pytest.approx(float(rise), rel=1e-4, abs=1e-3)


def test_two_inputs_by_name_and_raw_examples() -> None:
    """Such networks are not replayed; raw examples are prepared as the training inputs were, and all are used."""

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.left, self.right = nn.Embedding(9, 6), nn.Linear(6, 7), nn.Linear(4, 5)
            self.head = nn.Linear(12, 3)

        def forward(self, tokens: Tensor, numbers: Tensor) -> Tensor:
            both = torch.cat([self.left(self.words(tokens).mean(1)).relu(), self.right(numbers).relu()], 1)
            outputs: Tensor = self.head(both)
            return outputs

    inputs = {"tokens": torch.randint(0, 9, (200, 8)), "numbers": 5 + torch.randn(200, 4)}
    labels = torch.arange(200) % 3
    pruned = bp.prune(Two(), from_tensors(inputs, labels), "l1-units", budget="macs=70%", precision="float64", **QUICK)
    found = pruned.evidence((inputs, labels))
    assert (found.examples, found.size, found.replayed) == (200, 140, False)
    assert "200 examples for 140 training examples" in str(found)
    logits = pruned.outputs(inputs)
    before = cross_entropy(logits, labels, reduction="none").double()
    gate = found.names.index(found.of("right").names[0])
    column = len(pruned.kept["left"])
    with torch.no_grad():
        pruned.network.get_parameter("head.weight")[:, column] = 0
    rise = (cross_entropy(pruned.outputs(inputs), labels, reduction="none") - before).mean()
    assert float(found.evidence[gate]) == pytest.approx(140 * float(rise), rel=1e-6, abs=1e-8)


def test_what_cannot_be_is_refused(perceptron: Pruned, small_data: Data, tmp_path: Path) -> None:
    for examples, message in ((241, "examples=241 is more than the data have: give at most 240"), (1, "examples must")):
        with pytest.raises(SettingError, match=message):
            perceptron.evidence(examples=examples)
    with pytest.raises(SettingError, match="seed must be an integer >= 0, not -1"):
        perceptron.evidence(seed=-1)
    with pytest.raises(DataError, match="is None|is an int"):
        perceptron.evidence(7)
    other = from_tensors(torch.randn(60, 1, 5, 5), torch.arange(60) % 3)
    with pytest.raises(DataError, match=r"have the shape \(1, 5, 5\), those of the run \(1, 6, 6\)"):
        perceptron.evidence(other)
    with pytest.raises(DataError, match="this call"):
        perceptron.evidence((torch.randn(60, 1, 5, 5), torch.arange(60) % 3))
    with pytest.raises(StoreError, match="give data as the first"):
        bp.load(perceptron.save(tmp_path / "saved")).evidence()
    whole = bp.prune("lenet300", small_data, "dense", widths=(4, 3), keep=["fc1", "fc2"], inputs="none", **QUICK)
    with pytest.raises(SettingError, match="has no gates"):
        whole.evidence()


def test_a_task_without_likelihood_wants_data_of_that_task(small_data: Data, tmp_path: Path) -> None:
    inputs, labels = next(iter(small_data.train.batches(240)))
    data = from_tensors(inputs, labels, task=bp.OwnTask(3, loss=nn.CrossEntropyLoss()))
    pruned = bp.prune("lenet300", data, "l1-units", widths=(9, 6), budget="macs=60%", **QUICK)
    found = pruned.evidence()
    again = bp.load(pruned.save(tmp_path / "own"))
    torch.testing.assert_close(again.evidence(data).evidence, found.evidence)
    with pytest.raises(SettingError, match="no likelihood"):
        again.evidence((inputs, labels))
    with pytest.raises(SettingError, match="no likelihood: its task 'own'"):
        again.evidence(small_data)


def test_a_part_keeps_what_the_whole_says() -> None:
    one = Evidence(
        ("a", "a", "b"), torch.tensor([4, 7, 0]), torch.tensor([5.0, -20_000.0, 3.0]), torch.ones(3),
        torch.tensor([1.0, 2.0, 9.0]), torch.tensor([False, False, True]), 10, 20,
    )  # fmt: skip
    assert one.names == ["a[4]", "a[7]", "b[0]"] and one.weakest(2).names == ["a[7]", "a[4]"]
    assert one.of("b").log_odds is not None and "-20,000" in one.table()
    assert replace(one, price=None).log_odds is None
