"""Networks whose outputs do not fit the task, or fit it in another form: refused or warned of in one line."""

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Normal

from bayesprune.data import Data, from_tensors
from bayesprune.errors import BayespruneError, NetworkError, PruningWarning, SettingError
from bayesprune.experiments.methods import METHODS
from bayesprune.run.pruned import Pruned
from bayesprune.run.running import initial_state, run
from bayesprune.run.settings import RunSettings
from bayesprune.tasks import OwnTask, Regression

ROWS = torch.randn(120, 6, generator=torch.Generator().manual_seed(0))
NUMBERS = 2 * ROWS[:, 0] + ROWS[:, 1]
LABELS = (NUMBERS > 0).long() + (NUMBERS > 1).long()
TOKENS = torch.randint(0, 9, (120, 7), generator=torch.Generator().manual_seed(1))


def perceptron(outputs: int, inputs: int = 6) -> nn.Module:
    return nn.Sequential(nn.Linear(inputs, 8), nn.ReLU(), nn.Linear(8, outputs))


class Tagger(nn.Module):
    """Classes last, or where torch's losses have them."""

    def __init__(self, last: bool) -> None:
        super().__init__()
        self.table, self.head, self.last = nn.Embedding(9, 5), nn.Linear(5, 2), last

    def forward(self, tokens: Tensor) -> Tensor:
        outputs: Tensor = self.head(self.table(tokens))
        return outputs if self.last else outputs.movedim(-1, 1)


class TwoHeads(nn.Module):
    """Says two things in a dict, in both modes."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head, self.extra = nn.Linear(6, 8), nn.Linear(8, 3), nn.Linear(8, 4)

    def forward(self, inputs: Tensor) -> dict[str, Tensor]:
        hidden = self.body(inputs).relu()
        return {"logits": self.head(hidden), "extra": self.extra(hidden)[:, :2]}


def classes(**settings: Any) -> Data:
    return from_tensors(ROWS, LABELS, **settings)


def tagging() -> Data:
    return from_tensors(TOKENS, (TOKENS > 4).long())


def own(**settings: Any) -> Data:
    return from_tensors(ROWS, NUMBERS, task=OwnTask(**settings))


def asked(network: nn.Module, data: Data, method: str = "dense", **settings: Any) -> Pruned:
    return run(METHODS[method], network, data, RunSettings(method, epochs=1, **settings))


CASES: dict[str, tuple[Callable[[], Pruned], type[BayespruneError], str]] = {
    "too few classes": (
        lambda: asked(perceptron(2), classes()),
        NetworkError,
        r"are \[2, 2\]; logits \[2, 3\] are needed for the 3 classes",
    ),
    "numbers": (
        lambda: asked(perceptron(2), from_tensors(ROWS, NUMBERS)),
        NetworkError,
        r"are \[2, 2\]; numbers \[2, 1\] are needed for the task 'regression'",
    ),
    "classes last": (
        lambda: asked(Tagger(True), tagging()),
        NetworkError,
        r"are \[2, 7, 2\]; logits \[2, 2, 7\] .* let forward return outputs.movedim\(-1, 1\)",
    ),
    "tokens as features": (
        lambda: asked(perceptron(2, 7), from_tensors(TOKENS, (TOKENS[:, 0] > 4).long())),
        NetworkError,
        "give floats, inputs.astype.float., where they are features",
    ),
    "features as tokens": (
        lambda: asked(Tagger(False), from_tensors(TOKENS.float(), (TOKENS > 4).long(), task="segmentation")),
        NetworkError,
        "give whole numbers, inputs.astype.int., where they are tokens",
    ),
    "an unknown output": (
        lambda: asked(TwoHeads(), classes(), output="logit"),
        NetworkError,
        "output='logit' is no output of the network: it says 'logits', 'extra'",
    ),
    "an output of one": (
        lambda: asked(perceptron(3), classes(), output="logits"),
        NetworkError,
        "names one of several outputs, and the network says one: leave it out",
    ),
    "an output of another size": (
        lambda: asked(TwoHeads(), classes(), output="extra"),
        NetworkError,
        r"are \[2, 2\]; logits \[2, 3\]",
    ),
    "an unknown auxiliary output": (
        lambda: asked(TwoHeads(), classes(), output="logits", aux={"more": 0.3}),
        NetworkError,
        "aux names the output 'more', .* it says 'logits', 'extra'",
    ),
    "an auxiliary output of another size": (
        lambda: asked(TwoHeads(), classes(), output="logits", aux={"extra": 0.3}),
        NetworkError,
        r"outputs 'extra' in training mode for a batch of 2 are \[2, 2\]",
    ),
    "a law of another shape": (
        lambda: asked(perceptron(1), own(law=lambda outputs: Normal(outputs, 1.0))),
        SettingError,
        r"one of targets \[\d+, 1\], and the targets are \[\d+\]: .* Normal\(outputs\[:, 0\], 1\)",
    ),
    "a loss of another shape": (
        lambda: asked(perceptron(1), own(loss=nn.MSELoss())),
        SettingError,
        r"compares outputs \[\d+, 1\] with targets \[\d+\]: give .* y\[:, None\]",
    ),
    "consistency of a loss": (
        lambda: asked(perceptron(1), own(loss=lambda o, t: (o[:, 0] - t).abs()), consistency=0.5),
        SettingError,
        "consistency=0.5 compares predicted laws, and a loss predicts none: leave it out",
    ),
    "flips of numbers": (
        lambda: asked(perceptron(1), from_tensors(ROWS, NUMBERS), "parsimonious", estimator="linearised-flips"),
        SettingError,
        "needs one class an example, and the task is 'regression': take 'curvature'",
    ),
}


@pytest.mark.parametrize(("make", "error", "message"), CASES.values(), ids=list(CASES))
def test_it_is_refused_in_one_line(make: Callable[[], Pruned], error: type[BayespruneError], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


def said(network: nn.Module, data: Data, **settings: Any) -> list[str]:
    """The warnings before a run."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", PruningWarning)
        initial_state(network, data, RunSettings("dense", **settings))
    return [str(one.message) for one in caught if issubclass(one.category, PruningWarning)]


def binary() -> Data:
    return from_tensors(ROWS, (NUMBERS > 0).long(), task="binary")


def tags() -> Data:
    return from_tensors(ROWS, (ROWS[:, :3] > 0).long())


PROBABILITIES: dict[str, tuple[Callable[[], nn.Module], Callable[[], Data], str]] = {
    "classes": (lambda: nn.Sequential(perceptron(3), nn.Softmax(1)), classes, "softmax"),
    "positions": (lambda: nn.Sequential(Tagger(False), nn.Softmax(1)), tagging, "softmax"),
    "binary": (lambda: nn.Sequential(perceptron(1), nn.Sigmoid()), binary, "sigmoid"),
    "binary without its axis": (
        lambda: nn.Sequential(perceptron(1), nn.Sigmoid(), nn.Flatten(0)), binary, "sigmoid"
    ),
    "tags": (lambda: nn.Sequential(perceptron(3), nn.Sigmoid()), tags, "sigmoid"),
}  # fmt: skip


@pytest.mark.parametrize(("make", "data", "last"), PROBABILITIES.values(), ids=list(PROBABILITIES))
def test_probabilities_for_logits_are_warned_of(
    make: Callable[[], nn.Module], data: Callable[[], Data], last: str
) -> None:
    wanted = f"the network's outputs are probabilities, and logits are expected: leave the last {last} out of it"
    assert said(make(), data()) == [wanted]
    assert said(make()[0], data()) == []  # type: ignore[index]


def test_logits_that_look_like_probabilities_are_not() -> None:
    """Between 0 and 1, and made by a linear layer."""
    network: Any = perceptron(1)
    with torch.no_grad():
        network[2].weight.zero_()
        network[2].bias.fill_(0.5)
    assert said(network, binary()) == []


def fitted(data: Data, raw: Tensor) -> nn.Linear:
    """The least-squares answer in the unit of the targets, on normalised inputs."""
    inputs = torch.cat([data.normalisation.apply(ROWS), torch.ones(len(ROWS), 1)], 1)
    solution = torch.linalg.lstsq(inputs, raw.reshape(len(ROWS), -1)).solution
    network = nn.Linear(6, solution.shape[1])
    with torch.no_grad():
        network.weight.copy_(solution[:6].T)
        network.bias.copy_(solution[6])
    return network


@pytest.mark.parametrize("columns", [1, 2])
def test_a_network_in_the_unit_of_the_targets_is_warned_of(columns: int) -> None:
    raw = 100 + 20 * torch.stack([NUMBERS, NUMBERS - ROWS[:, 2]], 1)[:, :columns]
    data = from_tensors(ROWS, raw)
    network = fitted(data, raw)
    (line,) = said(network, data)
    assert "fit the targets in their own unit" in line and "\n" not in line
    assert said(nn.Linear(6, columns), data) == []  # fresh weights
    standard = Regression(columns, mean=(0.0,) * columns, std=(1.0,) * columns)
    assert said(network, from_tensors(ROWS, raw, task=standard)) == []  # the one cure
    mean, std = map(torch.tensor, (data.task.mean, data.task.std))  # type: ignore[attr-defined]
    with torch.no_grad():  # the other one
        network.weight.div_(std[:, None])
        network.bias.sub_(mean).div_(std)
    assert said(network, data) == []


def test_targets_in_standard_units_already_are_no_reason_to_warn() -> None:
    raw = (NUMBERS - NUMBERS.mean()) / NUMBERS.std()
    data = from_tensors(ROWS, raw)
    assert said(fitted(data, raw), data) == []


make_loss = partial(OwnTask, loss=lambda outputs, targets: (outputs[:, 0] - targets).abs().mean())


def test_a_loss_draws_no_targets_so_flips_take_the_place_of_curvature() -> None:
    data = from_tensors(ROWS, NUMBERS, task=make_loss())
    with pytest.warns(PruningWarning, match="a loss draws none: salient-flips instead"):
        pruned = asked(perceptron(1), data, "parsimonious")
    assert any("in nats" in line for line in pruned.warnings)
