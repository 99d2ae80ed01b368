"""Networks of tokens, of several inputs and of several outputs: pruned, saved, loaded, and predicted with from raw."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

import bayesprune as bp
from bayesprune.batches import call
from bayesprune.experiments.methods import METHODS as EVERY_METHOD
from bayesprune.run.running import initial_state, run
from bayesprune.run.settings import RunSettings
from bayesprune.structure import Gating, compact, find
from bayesprune.training import Checkpointer
from bayesprune.training.heads import Heads

COUNT = 120


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


TOKENS = torch.randint(0, 20, (COUNT, 9), generator=seeded(0))
ROWS = torch.randn(COUNT, 6, generator=seeded(1))
TABLE = 5 + 3 * torch.randn(COUNT, 4, generator=seeded(2))
PICTURES = torch.randint(0, 256, (COUNT, 1, 6, 6), generator=seeded(3), dtype=torch.uint8)
LABELS = (ROWS[:, 0] + (TABLE[:, 0] - 5) / 3 > 0).long()


class Text(nn.Module):
    """Embedding, convolution over time, linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.conv = nn.Embedding(20, 6), nn.Conv1d(6, 10, 3, padding=1)
        self.hidden, self.head = nn.Linear(10, 8), nn.Linear(8, 2)

    def forward(self, tokens: Tensor) -> Tensor:
        features = self.conv(self.table(tokens).transpose(1, 2)).relu().amax(2)
        logits: Tensor = self.head(self.hidden(features).relu())
        return logits


class Joined(nn.Module):
    """Two tables side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(6, 8), nn.Linear(4, 8)
        self.both, self.head = nn.Linear(16, 8), nn.Linear(8, 2)

    def forward(self, rows: Tensor, table: Tensor) -> Tensor:
        joined = torch.cat([self.one(rows).relu(), self.other(table).relu()], 1)
        logits: Tensor = self.head(self.both(joined).relu())
        return logits


class OfOneDict(nn.Module):
    """Takes the dict itself, as one argument."""

    def __init__(self) -> None:
        super().__init__()
        self.inside = Joined()

    def forward(self, batch: dict[str, Tensor]) -> Any:
        return self.inside(batch["rows"], batch["table"])


class Pictured(nn.Module):
    """Pictures and a table."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.table = nn.Conv2d(1, 6, 3), nn.Linear(4, 6)
        self.hidden, self.head = nn.Linear(6 * 16 + 6, 8), nn.Linear(8, 2)

    def forward(self, picture: Tensor, table: Tensor) -> Tensor:
        features = torch.cat([self.conv(picture).relu().flatten(1), self.table(table).relu()], 1)
        logits: Tensor = self.head(self.hidden(features).relu())
        return logits


class Captioned(nn.Module):
    """Tokens and a table."""

    def __init__(self) -> None:
        super().__init__()
        self.text, self.table, self.head = Text(), nn.Linear(4, 6), nn.Linear(8, 2)

    def forward(self, tokens: Tensor, table: Tensor) -> Tensor:
        logits: Tensor = self.head(torch.cat([self.text(tokens).relu(), self.table(table).relu()], 1))
        return logits


class Saying(nn.Module):
    """Says several things in a dict in both modes; the second one counts."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.hidden = nn.Linear(6, 8), nn.Linear(8, 8)
        self.extra, self.head = nn.Linear(8, 5), nn.Linear(8, 2)

    def forward(self, rows: Tensor) -> dict[str, Tensor]:
        hidden = self.hidden(self.body(rows).relu()).relu()
        return {"features": self.extra(hidden), "logits": self.head(hidden)}


class Helped(nn.Module):
    """Has an auxiliary head in training."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.hidden, self.head, self.extra = (nn.Linear(*s) for s in ((6, 8), (8, 8), (8, 2), (8, 2)))

    def forward(self, rows: Tensor) -> Any:
        features = self.body(rows).relu()
        logits = self.head(self.hidden(features).relu())
        return (logits, self.extra(features)) if self.training else logits


class Case(NamedTuple):
    """A network, its raw inputs, and settings that it needs."""

    network: Callable[[], nn.Module]
    inputs: Any
    settings: dict[str, Any]


CASES = {
    "tokens": Case(Text, TOKENS, {}),
    "two inputs": Case(Joined, (ROWS, TABLE), {}),
    "named inputs": Case(Joined, {"rows": ROWS, "table": TABLE}, {}),
    "a dict": Case(OfOneDict, {"rows": ROWS, "table": TABLE}, {}),
    "tokens and numbers": Case(Captioned, (TOKENS, TABLE), {}),
    "pictures and numbers": Case(Pictured, {"picture": PICTURES, "table": TABLE}, {}),
    "named outputs": Case(Saying, ROWS, {"output": "logits"}),
    "auxiliary head": Case(Helped, ROWS, {"aux": {"1": 0.3}}),
}
EVERY = pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
METHODS: dict[str, dict[str, Any]] = {
    "parsimonious": {"budget": "macs=60%"},
    "l1-units": {"budget": "macs=60%"},
    "magnitude": {"density": 0.5},
    "snip": {"density": 0.5},
}


def of_part(inputs: Any, rows: slice) -> Any:
    if isinstance(inputs, Tensor):
        return inputs[rows]
    if isinstance(inputs, dict):
        return {name: part[rows] for name, part in inputs.items()}
    return tuple(part[rows] for part in inputs)


def piped(pipeline: nn.Module, case: Case, inputs: Any) -> Any:
    """What one plain module says, called as the network is."""
    if isinstance(inputs, dict) and case.network is not OfOneDict:
        return pipeline(**inputs)
    return pipeline(*inputs) if isinstance(inputs, tuple) else pipeline(inputs)


@EVERY
@pytest.mark.parametrize("method", METHODS)
def test_it_is_pruned_saved_loaded_and_predicts(method: str, case: Case, tmp_path: Path) -> None:
    torch.manual_seed(0)
    settings = dict(METHODS[method])
    if method == "snip" and case.network is Saying:
        settings["density"] = 0.8  # the loss does not see the other output: its weights go first
    data = bp.data.from_tensors(case.inputs, LABELS)
    pruned = bp.prune(
        case.network(), data, method, epochs=2, batch_size=20, progress=False, **settings, **case.settings
    )
    outputs = pruned.outputs(case.inputs)
    assert outputs.shape == (COUNT, 2) and bool(outputs.isfinite().all())
    assert torch.equal(pruned.predict(case.inputs), outputs.argmax(1))
    torch.testing.assert_close(pruned.predict_proba(case.inputs), outputs.softmax(1))
    torch.testing.assert_close(pruned.outputs(of_part(case.inputs, slice(3)), batch_size=2), outputs[:3])
    loaded = bp.load(pruned.save(tmp_path / "run"), factory=case.network)
    assert torch.equal(loaded.outputs(case.inputs), outputs)
    assert loaded.evaluate(data).metrics == pytest.approx(pruned.evaluation.metrics, rel=1e-5)
    for one in (pruned, loaded):
        torch.testing.assert_close(piped(one.pipeline(), case, case.inputs), outputs, rtol=1e-4, atol=1e-5)
    if "budget" in settings:
        assert pruned.evaluation.macs <= 0.6 * sum(layer.macs for layer in pruned.dense_layers)
        assert any(len(kept) < group.size for kept, group in zip(pruned.kept.values(), pruned.groups, strict=True))


@EVERY
@pytest.mark.parametrize("seed", range(3))
def test_compact_is_gated(seed: int, case: Case) -> None:
    torch.manual_seed(seed)
    network = case.network()
    data = bp.data.from_tensors(case.inputs, LABELS)
    example, _ = next(iter(data.test.batches(8)))
    structure = find(network, example)
    gates = torch.rand(structure.gate_count) < 0.6
    for place in structure.slices().values():
        gates[place.start] = True
    gates = structure.consistent(gates)
    for training in (False, True):
        network.train(training)
        gating = Gating(network, structure)
        with gating.applied(gates.float()):
            expected = call(network, example)
        gating.remove()
        small = case.network()
        small.load_state_dict(network.state_dict())
        compact(small, find(small, example), gates)
        torch.testing.assert_close(call(small.train(training), example), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("method", ["dense", "parsimonious"])
def test_auxiliary_heads_are_trained_and_move_what_is_before_them(method: str) -> None:
    """Their weights move; without `aux` no loss moves them; and the body is trained by them."""
    torch.manual_seed(0)
    network = Helped()
    data = bp.data.from_tensors(ROWS, LABELS)

    def trained(aux: dict[str, float]) -> Any:
        settings: dict[str, Any] = {"price": 1e-3, "inputs": "none"} if method == "parsimonious" else {}
        return bp.prune(network, data, method, epochs=2, batch_size=20, progress=False, aux=aux, **settings).network

    with pytest.warns(bp.PruningWarning, match="only the others need"):
        alone = trained({})
    helped = trained({"1": 0.5})
    if method == "dense":  # the prior of all weights moves those that nothing else does
        assert torch.equal(alone.extra.weight, network.extra.weight)
    assert not set(helped.extra.weight.flatten().tolist()) & set(network.extra.weight.flatten().tolist())
    assert not torch.equal(helped.body.weight, alone.body.weight)
    said = helped.train()(ROWS)
    assert isinstance(said, tuple) and len(said) == 2 and not helped._forward_hooks


class Deep(nn.Module):
    """Nothing but the auxiliary head can teach the body: the way to the main head is cut."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head, self.extra = nn.Linear(6, 16), nn.Linear(16, 2), nn.Linear(16, 2)

    def forward(self, rows: Tensor) -> Any:
        features = self.body(rows).relu()
        logits = self.head(features.detach())
        return {"main": logits, "extra": self.extra(features)} if self.training else logits


def test_auxiliary_heads_help() -> None:
    """Of a task that random features answer badly."""
    torch.manual_seed(0)
    rows = torch.randn(1200, 6)
    data = bp.data.from_tensors(rows, (rows[:, 0] * rows[:, 1] > 0).long())
    network = Deep()
    with torch.no_grad():
        network.body.weight.mul_(0.02)
    settings: dict[str, Any] = {"epochs": 25, "batch_size": 50, "progress": False, "learning_rate": 1e-2}
    little, much = (
        bp.prune(network, data, "dense", aux={"extra": weight}, **settings).evaluation.accuracy
        for weight in (1e-9, 1.0)
    )
    assert much > little + 0.1


def test_a_state_that_gets_another_shape_keeps_its_heads() -> None:
    data = bp.data.from_tensors(ROWS, LABELS)
    state = initial_state(Helped(), data, RunSettings("l1-units", aux={"1": 0.5}))
    state.remember_initial()
    kept = state.structure.kept()
    state.reshape({name: indices[:-2] for name, indices in kept.items()})
    assert state.heads is not None and state.heads is Heads.of(state.network)
    inputs, labels = next(iter(data.train.batches(20)))
    state.network.train()
    state.loss(call(state.network, inputs), labels).backward()
    network: Any = state.network
    assert float(network.extra.weight.grad.abs().max()) > 0


@pytest.mark.parametrize("name", ["auxiliary head", "named outputs", "tokens and numbers"])
def test_a_run_that_is_stopped_ends_as_an_undisturbed_one(name: str, tmp_path: Path) -> None:
    """A resumed network is a smaller copy, and its heads are still listened to."""
    torch.manual_seed(0)
    case = CASES[name]
    network, data = case.network(), bp.data.from_tensors(case.inputs, LABELS)
    options = {"start": 0.6, "horizon": 6, "shrink_every": 2, "prune_share": 0.5}
    settings = RunSettings("parsimonious", epochs=4, batch_size=20, price=3.0, options=options, **case.settings)

    def once(stop: int = 0) -> bp.Pruned:
        def progress(now: Any) -> None:
            if now.step == stop:
                raise InterruptedError

        saved = Checkpointer(tmp_path / "state", steps=1)
        return run(EVERY_METHOD["parsimonious"], network, data, settings, checkpointer=saved, progress=progress)

    whole = run(EVERY_METHOD["parsimonious"], network, data, settings)
    for stop in (3, 7, 13):
        with pytest.raises(InterruptedError):
            once(stop)
    resumed = once()
    assert resumed.kept == whole.kept
    torch.testing.assert_close(resumed.network.state_dict(), whole.network.state_dict(), rtol=0, atol=0)
