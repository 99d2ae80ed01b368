"""The method from end to end, on a problem whose answer is known, and on whatever users may ask for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyro
import pytest
import torch
from torch import Tensor, nn

import bayesprune as bp
from bayesprune.data import Data, from_tensors
from bayesprune.errors import BayespruneError, BudgetError, SettingError
from bayesprune.inference.estimators import ESTIMATORS
from bayesprune.inference.parsimonious import Parsimonious
from bayesprune.models import LeNet300
from bayesprune.run.method import Reason
from bayesprune.run.pruned import Pruned
from bayesprune.run.running import run
from bayesprune.run.settings import RunSettings
from bayesprune.training import Checkpointer, Progress

USEFUL = [1, 4, 6, 9]


@pytest.fixture(scope="module")
def puzzle() -> Data:
    """Three classes that depend on 4 of 12 inputs."""
    inputs = torch.randn(800, 12, generator=torch.Generator().manual_seed(0))
    weights = torch.tensor([[1.5, -1.0, 0.5, 1.0], [-1.0, 1.5, 1.0, -0.5], [-0.5, -0.5, -1.5, -0.5]])
    return from_tensors(inputs, (inputs[:, USEFUL] @ weights.T).argmax(1), name="puzzle")


def network(widths: tuple[int, int], shape: tuple[int, ...], seed: int = 0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LeNet300(widths, shape, 3)


def solve(puzzle: Data, seed: int, start: nn.Module | None = None, **settings: Any) -> Pruned:
    """A perceptron 12-16-8-3 on the puzzle."""
    given: dict[str, Any] = {"epochs": 80, "batch_size": 40, "learning_rate": 1e-2, "price": 4.0, "noise": 0.0}
    given |= settings
    options = {"horizon": 300.0, "prune_share": 0.7, "ramp_share": 0.0, "shrink_every": 50, "slab": 1.0} | given.pop(
        "options", {}
    )
    chosen = RunSettings("parsimonious", seed=seed, options=options, **given)
    return run(Parsimonious(), start or network((16, 8), (12,), seed), puzzle, chosen)


def small_run(data: Data, seed: int = 0, start: nn.Module | None = None, resume: Any = None, **settings: Any) -> Pruned:
    """A perceptron 36-12-8-3 on small pictures, 8 steps an epoch."""
    given: dict[str, Any] = {"epochs": 8, "batch_size": 30, "price": 0.5, "learning_rate": 1e-2} | settings
    options = {"horizon": 100.0, "prune_share": 0.5, "ramp_share": 0.0, "shrink_every": 5, "slab": 1.0} | given.pop(
        "options", {}
    )
    chosen = RunSettings("parsimonious", seed=seed, options=options, **given)
    return run(Parsimonious(), start or network((12, 8), (1, 6, 6), seed), data, chosen, **(resume or {}))


def same(first: Pruned, second: Pruned) -> bool:
    """Whether two runs ended with the same numbers."""
    states = first.network.state_dict(), second.network.state_dict()
    weights = states[0].keys() == states[1].keys() and all(torch.equal(states[0][k], states[1][k]) for k in states[0])
    assert first.posterior is not None
    assert second.posterior is not None
    traces = torch.equal(first.posterior.trace, second.posterior.trace)
    return bool(weights and traces and first.kept == second.kept)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_it_finds_exactly_the_useful_inputs(seed: int, puzzle: Data) -> None:
    """Whatever the initial weights; the network is small, right, and every gate is decided."""
    pruned = solve(puzzle, seed)
    assert pruned.kept["inputs"] == USEFUL
    assert pruned.evaluation.accuracy > 0.95
    assert len(pruned.kept["fc1"]) < 12
    assert pruned.posterior is not None
    assert pruned.evaluation.macs < 100


def test_posterior_history_and_structure_agree(puzzle: Data) -> None:
    """One trace entry an epoch of pruning, at its step; `decided` is `kept`; what the record says at the end."""
    pruned = solve(puzzle, 1, epochs=20)
    posterior = pruned.posterior
    assert posterior is not None
    pruning = [record for record in pruned.history if record["phase"] == "prune"]
    assert len(pruning) == 14
    assert posterior.steps.tolist() == [record["step"] for record in pruning] == [14 * k for k in range(1, 15)]
    assert posterior.trace.shape == (14, 36)
    assert bool(((posterior.trace >= 0) & (posterior.trace <= 1)).all())
    assert torch.equal(posterior.trace[-1], posterior.inclusion_probability)
    kept = torch.zeros(36, dtype=torch.uint8)
    for name, start in (("inputs", 0), ("fc1", 12), ("fc2", 28)):
        kept[[start + index for index in pruned.kept[name]]] = 1
    assert torch.equal(posterior.decided, kept)
    undecided = int(((posterior.trace[-1] > 0) & (posterior.trace[-1] < 1)).sum())
    assert pruning[-1]["undecided"] == undecided == posterior.decided_at_end == pruned.result()["decided_at_end"]
    assert pruned.result()["undecided_gates"] == 0
    for record in pruned.history[14:]:
        assert record["undecided"] == 0
        assert record["alive"] == {name: len(indices) for name, indices in pruned.kept.items()}
    theta = posterior.inclusion_probability
    assert torch.equal(posterior.reason == int(Reason.OPEN), kept == 1)
    assert torch.equal(posterior.reason == int(Reason.CLOSED_BY_PRICE), (kept == 0) & (theta == 0))
    assert torch.equal(posterior.reason == int(Reason.CLOSED_AT_END), (kept == 0) & (theta > 0))
    assert pruned.result()["closed_by_price"] == int(((kept == 0) & (theta == 0)).sum())
    assert pruned.result()["cut_for_budget"] == 0


@pytest.mark.parametrize("budget", ["macs=30%", "params=60", "macs=10%"])
def test_a_budget_is_met_from_above(budget: str, puzzle: Data) -> None:
    """At most what is allowed, and by less than the largest unit of what is left (and one more of each side)."""
    pruned = solve(puzzle, 0, budget=budget, price=None, epochs=40)
    kind, _, amount = budget.partition("=")
    whole = {"macs": 12 * 16 + 16 * 8 + 8 * 3, "params": 12 * 16 + 16 * 8 + 8 * 3 + 16 + 8 + 3}[kind]
    allowed = float(amount[:-1]) / 100 * whole if amount.endswith("%") else float(amount)
    spent = {"macs": pruned.evaluation.macs, "params": pruned.evaluation.params}[kind]
    inputs, first, second = (len(pruned.kept[name]) for name in ("inputs", "fc1", "fc2"))
    largest = max(first, inputs + second + 1, first + 3 + 1)
    assert allowed - 2 * largest < spent <= allowed


def test_what_was_cut_for_a_budget_is_said(puzzle: Data) -> None:
    """Beside a price that closes next to nothing: open gates are cut, and each closed gate has one of three reasons."""
    pruned = solve(puzzle, 0, epochs=10, price=1e-3, budget="macs=30%")
    assert pruned.posterior is not None
    result, cut = pruned.result(), pruned.posterior.reason == int(Reason.CUT_FOR_BUDGET)
    assert result["cut_for_budget"] == int(cut.sum()) > 0
    assert bool((pruned.posterior.decided[cut] == 0).all())
    closed = sum(pruned.posterior.count(reason) for reason in Reason if reason != Reason.OPEN)
    assert closed == int((pruned.posterior.decided == 0).sum())


@pytest.mark.usefixtures("at_once")
def test_beside_a_price_a_budget_only_caps_what_that_leaves(puzzle: Data) -> None:
    """Gates go the same way as without it; the last decision closes some more, or none where the price leaves less."""
    free, loose = solve(puzzle, 0, epochs=20), solve(puzzle, 0, epochs=20, budget="macs=100%")
    assert same(free, loose)
    capped = solve(puzzle, 0, epochs=20, budget=f"macs={free.evaluation.macs - 1}")
    assert capped.evaluation.macs < free.evaluation.macs
    assert capped.posterior is not None
    assert free.posterior is not None
    assert torch.equal(capped.posterior.trace, free.posterior.trace)
    assert all(set(kept) <= set(free.kept[name]) for name, kept in capped.kept.items())


@pytest.mark.parametrize(
    ("settings", "error", "says"),
    [
        ({"budget": "macs=4", "price": None}, BudgetError, "no network of this kind meets macs <= 4"),
        ({"budget": "macs=60", "price": None, "options": {"round_to": 8}}, BudgetError, "macs <= 60: .*round_to=8 it"),
        ({"options": {"round_to": 0}}, SettingError, "round_to must be an integer >= 1"),
        ({"options": {"gamma": 10.0}}, SettingError, "give gamma or price, not both"),
        ({"price": None, "options": {"gamma": 1.0}}, BudgetError, "nats > 0"),
        ({"price": None, "options": {"gamma": 0.5}}, BudgetError, "nats > 0"),
        ({"price": None, "options": {"gamma": -1.0}}, SettingError, "gamma"),
        ({"price": -3.0}, BudgetError, "nats > 0"),
        ({"price": "cheap"}, BudgetError, "write a number of nats"),
        ({"price": "fc1=3"}, SettingError, "prices and groups differ in .*fc2"),
        ({"estimator": "magic"}, SettingError, "unknown estimator"),
        ({"options": {"horizn": 3}}, SettingError, "horizn"),
        ({"options": {"start": 1.0}}, SettingError, "start must lie strictly between 0 and 1"),
        ({"options": {"horizon": 0.0}}, SettingError, "horizon"),
        ({"options": {"price_kind": "dear"}}, SettingError, "price_kind must be"),
        ({"density": 0.1}, SettingError, "cannot use density"),
        ({"keep": ("inputs", "fc1", "fc2")}, SettingError, "no groups to prune"),
    ],
)
def test_what_cannot_be_asked(
    settings: dict[str, Any], error: type[BayespruneError], says: str, small_data: Data, tmp_path: Path
) -> None:
    """Before anything is trained or written."""
    with pytest.raises(error, match=says):
        small_run(small_data, resume={"checkpointer": Checkpointer(tmp_path / "state")}, **settings)
    assert list(tmp_path.iterdir()) == []


def test_gamma_is_the_price(small_data: Data) -> None:
    """ln gamma = 1/2."""
    gamma = float(torch.tensor(0.5, dtype=torch.float64).exp())
    assert same(small_run(small_data), small_run(small_data, price=None, options={"gamma": gamma}))


def test_a_seed_is_a_run(small_data: Data) -> None:
    """The same seed gives the same numbers whatever was drawn before; another seed gives others."""
    first = small_run(small_data)
    torch.rand(17)
    assert same(first, small_run(small_data))
    start = network((12, 8), (1, 6, 6), 0)
    assert not same(small_run(small_data, 0, start), small_run(small_data, 1, start))


def test_the_network_given_stays_as_it_is(small_data: Data) -> None:
    """The run works on a copy, draws from a generator of its own, and leaves nothing in Pyro's store."""
    pyro.clear_param_store()
    start = network((12, 8), (1, 6, 6))
    before = {name: value.clone() for name, value in start.state_dict().items()}
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    pruned = small_run(small_data, start=start)
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(value, before[name]) for name, value in start.state_dict().items())
    assert not any(module._forward_pre_hooks for module in pruned.network.modules())
    assert list(pyro.get_param_store().keys()) == []


def test_from_trained_weights(puzzle: Data) -> None:
    """A trained network keeps what it learnt: it is right from the first epoch on, and the inputs are found."""
    trained = network((16, 8), (12,), 3)
    optimizer = torch.optim.Adam(trained.parameters(), 1e-2)
    for epoch in range(15):
        for inputs, labels in puzzle.train.batches(40, seed=epoch):
            optimizer.zero_grad()
            nn.functional.cross_entropy(trained(inputs), labels).backward()
            optimizer.step()
    pruned = solve(puzzle, 3, trained, price=10.0, learning_rate=3e-3, options={"start": 0.9})
    assert pruned.kept["inputs"] == USEFUL
    assert pruned.evaluation.accuracy > 0.95
    scratch = solve(puzzle, 3, epochs=1, options={"start": 0.9})
    begun = solve(puzzle, 3, trained, epochs=1, options={"start": 0.9})
    assert begun.history[0]["validation_accuracy"] > scratch.history[0]["validation_accuracy"] + 0.1


@pytest.mark.parametrize("name", ESTIMATORS)
def test_every_estimator_trains(name: str, small_data: Data) -> None:
    """To finite numbers and a smaller network."""
    pruned = small_run(small_data, estimator=name)
    assert torch.isfinite(torch.nn.utils.parameters_to_vector(pruned.network.parameters())).all()
    assert pruned.evaluation.macs < 36 * 12 + 12 * 8 + 8 * 3


@pytest.mark.parametrize(
    "options",
    [
        {"removal": "average"},
        {"removal": "attraction"},
        {"ramp_share": 0.5},
        {"price_kind": "cost", "alpha": 0.5},
        {"settle_share": 1.0},
        {"prune_share": 1.0},
    ],
)
def test_options_train(options: dict[str, Any], small_data: Data) -> None:
    """Each option alone, with every gate decided at the end, also where no epoch is left at fixed structure."""
    pruned = small_run(small_data, options=options)
    assert pruned.posterior is not None
    assert int(pruned.posterior.decided.sum()) == sum(len(indices) for indices in pruned.kept.values())
    assert torch.isfinite(torch.nn.utils.parameters_to_vector(pruned.network.parameters())).all()


class Convolutional(nn.Module):
    """Two normalised convolutions with a shortcut between them, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.conv2, self.norm2 = nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.last = nn.Linear(54, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        maps = self.norm1(self.conv1(inputs)).relu()
        maps = (self.norm2(self.conv2(maps)) + maps).relu()
        logits: Tensor = self.last(nn.functional.max_pool2d(maps, 2).flatten(1))
        return logits


@pytest.mark.parametrize("name", ["curvature", "salient-flips", "uniform-flips"])
def test_batch_normalisation_and_a_shortcut(name: str, small_data: Data) -> None:
    """The running statistics of the compact network are those of its own activations."""
    torch.manual_seed(0)
    pruned = small_run(small_data, start=Convolutional(), estimator=name, price=30.0)
    assert pruned.evaluation.params < sum(p.numel() for p in Convolutional().parameters())
    assert torch.isfinite(torch.nn.utils.parameters_to_vector(pruned.network.parameters())).all()
    assert pruned.network(torch.randn(2, 1, 6, 6)).shape == (2, 3)
    norm = pruned.network.get_submodule("norm1")
    inputs = torch.cat([batch for batch, _ in small_data.train.batches(300)])
    activations = pruned.network.get_submodule("conv1")(inputs)
    torch.testing.assert_close(norm.running_mean, activations.mean((0, 2, 3)), atol=1e-4, rtol=1e-3)


class Stopped(Exception):
    """A run that was killed."""


@pytest.mark.parametrize("step", [1, 19, 27, 31, 32, 50])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"budget": "macs=30%", "price": None, "options": {"removal": "average", "ramp_share": 0.5}},
        {"options": {"removal": "attraction"}},
        {"options": {"estimate_every": 3}},
        {"consistency": 0.7, "options": {"learnt_noise": 1e-3}},
    ],
    ids=["price", "budget", "attraction", "estimate-every", "learnt-noise"],
)
def test_resumed_runs_end_alike(step: int, settings: dict[str, Any], small_data: Data, tmp_path: Path) -> None:
    """Stopped after a step (settling begins at 26, the fixed phase at 32) and resumed by a new process's objects."""

    def stop(progress: Progress) -> None:
        if progress.step > step:
            raise Stopped

    def keeper() -> Checkpointer:
        return Checkpointer(tmp_path / "state", steps=1)

    with pytest.raises(Stopped):
        small_run(small_data, resume={"checkpointer": keeper(), "progress": stop}, **settings)
    resumed = small_run(small_data, resume={"checkpointer": keeper()}, **settings)
    undisturbed = small_run(small_data, **settings)
    assert same(resumed, undisturbed)
    assert resumed.history[3]["undecided"] > 3  # gates were still on their way when they settled
    strip = ("seconds",)
    records = [[{k: v for k, v in r.items() if k not in strip} for r in run.history] for run in (resumed, undisturbed)]
    assert records[0] == records[1]


def test_gates_that_an_earlier_run_removed_are_not_its_own(small_data: Data) -> None:
    first = bp.prune("lenet300", small_data, "l1-units", widths=(8, 6), budget="inputs=50%", epochs=1, progress=False)
    assert len(first.kept["inputs"]) == 18
    second = bp.prune(first, small_data, epochs=2, price=1e-6, progress=False)
    assert second.posterior is not None
    counts = [second.posterior.count(reason) for reason in Reason]
    assert counts[int(Reason.GONE_BEFORE)] == 18 and sum(counts) == 36 + 8 + 6
    assert second.result()["closed_by_price"] == counts[int(Reason.CLOSED_BY_PRICE)] == 0
    assert counts[int(Reason.OPEN)] == sum(len(kept) for kept in second.kept.values())
