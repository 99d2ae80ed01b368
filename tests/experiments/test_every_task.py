"""Every method of the table for every task: it runs, or refuses in one line; and resuming, saving and loading."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Laplace

import bayesprune as bp
from bayesprune.data import Data, from_tensors
from bayesprune.experiments.methods import METHODS
from bayesprune.run.pruned import Pruned
from bayesprune.run.running import run
from bayesprune.run.settings import RunSettings
from bayesprune.structure import Gating, compact, find
from bayesprune.tasks import OwnTask, Regression
from bayesprune.training import Checkpointer

COUNT = 90


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


ROWS = torch.randn(COUNT, 6, generator=seeded(0))
PICTURES = torch.randn(COUNT, 2, 5, 5, generator=seeded(1))
TOKENS = torch.randint(0, 12, (COUNT, 7), generator=seeded(2))
NUMBERS = 3 * (ROWS[:, 0] - ROWS[:, 1] * ROWS[:, 2]) + 10
CLASSES = (NUMBERS > 9).long() + (NUMBERS > 12).long()
COUNTS = torch.poisson((ROWS[:, 0] + 1).exp(), generator=seeded(3))


def perceptron(outputs: int) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        first, last = [nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU()], [nn.Linear(8, 6), nn.ReLU()]
        return nn.Sequential(*first, *last, nn.Linear(6, outputs))

    return make


class Flat(nn.Module):
    """One output without its axis."""

    def __init__(self) -> None:
        super().__init__()
        self.inside = perceptron(1)()

    def forward(self, rows: Tensor) -> Any:
        return self.inside(rows)[:, 0]


class Segmenter(nn.Module):
    """A class for each pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.norm = nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.two, self.head = nn.Conv2d(6, 6, 3, padding=1), nn.Conv2d(6, 3, 1)

    def forward(self, pictures: Tensor) -> Any:
        return self.head(self.two(self.norm(self.one(pictures)).relu()).relu())


class Tagger(nn.Module):
    """A class for each token."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.norm = nn.Embedding(12, 5), nn.BatchNorm1d(8)
        self.conv, self.head = nn.Conv1d(5, 8, 3, padding=1), nn.Conv1d(8, 2, 1)

    def forward(self, tokens: Tensor) -> Any:
        return self.head(self.norm(self.conv(self.table(tokens).transpose(1, 2))).relu())


def pixel_classes() -> Tensor:
    labels = (PICTURES[:, 0] > 0).long() + (PICTURES[:, 1] > 1).long()
    labels[:, 0, :2] = -100
    return labels


class Case(NamedTuple):
    """A task's data and network."""

    data: Callable[[], Data]
    network: Callable[[], nn.Module]


def rows(targets: Tensor, **settings: Any) -> Callable[[], Data]:
    return lambda: from_tensors(ROWS, targets, **settings)


TASKS = {
    "classification": Case(rows(CLASSES), perceptron(3)),
    "weighted classes": Case(rows(CLASSES, class_weights="balanced"), perceptron(3)),
    "binary": Case(rows((NUMBERS > 10).long(), task="binary"), Flat),
    "multi-label": Case(rows((ROWS[:, :4] > 0).long()), perceptron(4)),
    "regression": Case(rows(torch.stack([NUMBERS, ROWS[:, 3]], 1)), perceptron(2)),
    "known noise": Case(rows(NUMBERS, task=Regression(1, noise=0.5)), Flat),
    "counts": Case(rows(COUNTS, task="counts"), perceptron(1)),
    "segmentation": Case(lambda: from_tensors(PICTURES, pixel_classes()), Segmenter),
    "tagging": Case(lambda: from_tensors(TOKENS, (TOKENS > 4).long()), Tagger),
    "own law": Case(rows(NUMBERS, task=OwnTask(law=lambda outputs: Laplace(outputs[:, 0], 1.0))), perceptron(1)),
    "own loss": Case(
        rows(NUMBERS, task=OwnTask(loss=lambda outputs, y: (outputs[:, 0] - y).square().mean())), perceptron(1)
    ),
}
QUICK: dict[str, dict[str, Any]] = {
    "ensemble": {"members": 2},
    "mc-dropout": {"draws": 3},
    "synflow": {"rounds": 2},
    "lottery": {"rate": 0.5},
    "ntt": {"steps": 4, "every": 2},
}
REFUSED = {
    ("synflow", "tagging"): "inputs that are tokens cannot be ones: take another score",
    ("ntt", "segmentation"): "a tangent kernel needs outputs .samples, logits., the network gives",
    ("ntt", "binary"): "a tangent kernel needs outputs .samples, logits., the network gives",
    ("ntt", "known noise"): "a tangent kernel needs outputs .samples, logits., the network gives",
    ("ntt", "tagging"): "for several inputs, or tokens, use another method, such as snip",
    ("layer-sparsity", "tagging"): "no layer of this network can go: .* first matrix",
    ("obd", "own law"): "second derivative, and that is 0 for every weight",
}
"""What a method cannot do, and what it says."""


def without_norm(network: nn.Module) -> nn.Module:
    """Tangent kernels are of networks that treat every example by itself."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d):
                setattr(module, name, nn.Identity())
    return network


def bypassed(network: nn.Module, case: Case) -> nn.Module:
    """Layer gates are of networks with skips: the second layer gets one."""
    example, _ = next(iter(case.data().test.batches(2)))
    layers = [name for name, module in network.named_modules() if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d)]
    return bp.with_bypasses(network, example, layers[:2][-1:])


def pruned_of(case: Case, method: str, **settings: Any) -> Pruned:
    torch.manual_seed(0)
    needed = METHODS[method].needs
    size: dict[str, Any] = {} if not needed else {"density": 0.6} if "density" in needed else {"budget": "macs=60%"}
    epochs = 3 if method == "lottery" else 2
    plain: dict[str, Any] = {"epochs": epochs, "batch_size": 32, "progress": False}
    network = case.network() if method != "ntt" else without_norm(case.network())
    network = bypassed(network, case) if method == "layer-gates" else network
    return bp.prune(network, case.data(), method, **plain | size | QUICK.get(method, {}) | settings)


ALIKE = {
    "random", "class-uniform", "class-distributed", "geometric-median", "slimming", "lottery", "set",
    "complexity-aware", "spike-slab-flat", "ss-gl", "ss-ghs", "sbp", "bmrs", "vib", "bc-ghs",
}  # fmt: skip
"""They meet the task only in code that another method of the table runs too; the slow tests try all their tasks."""


def every_pair() -> list[Any]:
    found = []
    for method in METHODS:
        for task in TASKS:
            slow = method in ALIKE and task not in ("regression", "segmentation") and (method, task) not in REFUSED
            found.append(pytest.param(method, task, marks=[pytest.mark.long] if slow else [], id=f"{method}-{task}"))
    return found


@pytest.mark.parametrize(("method", "task"), every_pair())
def test_it_runs_or_says_in_one_line_why_not(method: str, task: str) -> None:
    if (method, task) in REFUSED:
        with pytest.raises(bp.BayespruneError, match=REFUSED[method, task]) as caught:
            pruned_of(TASKS[task], method)
        assert "\n" not in str(caught.value)
        return
    pruned = pruned_of(TASKS[task], method)
    metrics = pruned.evaluation.metrics
    assert set(metrics) == {metric.key for metric in pruned.metrics} and next(iter(metrics)) == pruned.metrics[0].key
    assert metrics["nll"] is not None and abs(metrics["nll"]) < 1e3
    if "density" in METHODS[method].needs and method != "ntt":
        assert 0.5 < pruned.result()["density"] < 0.62  # weights that grew and never moved are 0


@pytest.mark.parametrize("task", TASKS)
def test_saved_and_loaded_it_answers_the_same(task: str, tmp_path: Path) -> None:
    """Also in a run folder that says what was learnt, such as the noise."""
    case = TASKS[task]
    pruned = pruned_of(case, "l1-units", budget="macs=60%")
    raw = PICTURES if task == "segmentation" else TOKENS if task == "tagging" else ROWS
    loaded = bp.load(pruned.save(tmp_path / "run"), factory=case.network)
    assert torch.equal(loaded.outputs(raw), pruned.outputs(raw))
    assert loaded.metrics == pruned.metrics and loaded.evaluation.metrics == pruned.evaluation.metrics
    if task.startswith("own"):
        assert loaded.task is None
        return
    assert loaded.task == pruned.task
    assert torch.equal(loaded.predict(raw), pruned.predict(raw))
    data = case.data()
    assert loaded.evaluate(data).metrics == pytest.approx(pruned.evaluation.metrics, rel=1e-5)
    learnt = [dict(one.likelihood.named_parameters()) for one in (pruned, loaded) if one.likelihood is not None]
    assert [*learnt[0]] == [*learnt[1]] == (["log_tenth"] if task == "regression" else [])
    for name, value in learnt[0].items():
        assert torch.equal(learnt[1][name], value) and float(value.detach().abs().min()) > 0  # it was trained


@pytest.mark.parametrize("task", TASKS)
def test_compact_is_gated(task: str) -> None:
    torch.manual_seed(0)
    network = TASKS[task].network().eval()
    example, _ = next(iter(TASKS[task].data().test.batches(8)))
    structure = find(network, example)
    gates = torch.rand(structure.gate_count) < 0.6
    for place in structure.slices().values():
        gates[place.start] = True
    gates = structure.consistent(gates)
    gating = Gating(network, structure)
    with gating.applied(gates.float()):
        expected = network(example)
    gating.remove()
    compact(network, structure, gates)
    torch.testing.assert_close(network(example), expected, rtol=1e-5, atol=1e-6)


STOPPED = [("parsimonious", task) for task in TASKS if task != "classification"] + [("magnitude", "regression")]


@pytest.mark.parametrize(("method", "task"), STOPPED)
def test_a_run_that_is_stopped_ends_as_an_undisturbed_one(method: str, task: str, tmp_path: Path) -> None:
    """With what its likelihood learns."""
    case = TASKS[task]
    torch.manual_seed(0)
    network, data = case.network(), case.data()
    chosen: dict[str, Any] = {"epochs": 4, "batch_size": 20, "seed": 3}
    if method == "parsimonious":
        chosen |= {"price": 3.0, "options": {"start": 0.9, "horizon": 6, "shrink_every": 2, "prune_share": 0.5}}
    else:
        chosen |= {"density": 0.4, "options": {"prune_share": 0.5}}

    def once(stop: int = 0, file: Path | None = None) -> Pruned:
        def progress(now: Any) -> None:
            if now.step == stop:
                raise InterruptedError

        checkpointer = None if file is None else Checkpointer(file, steps=1)
        settings = RunSettings(method, **chosen)
        return run(METHODS[method], network, data, settings, checkpointer=checkpointer, progress=progress)

    whole = once()
    for stop in (3, 9):
        with pytest.raises(InterruptedError):
            once(stop, tmp_path / "state")
    resumed = once(0, tmp_path / "state")
    torch.testing.assert_close(resumed.network.state_dict(), whole.network.state_dict(), rtol=0, atol=0)
    assert resumed.kept == whole.kept and resumed.evaluation.metrics == whole.evaluation.metrics
    assert whole.likelihood is not None and resumed.likelihood is not None
    torch.testing.assert_close(resumed.likelihood.state_dict(), whole.likelihood.state_dict(), rtol=0, atol=0)
