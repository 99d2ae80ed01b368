"""Exact and estimated second derivatives against the whole Hessian, over ways in which a weight can be used."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import linear, max_pool2d

from bayesprune.data import Data
from bayesprune.pruners.saliency import exact_diagonal, hutchinson_diagonal
from bayesprune.pruners.saliency.gauss_newton import obstacle
from bayesprune.structure import weights_of

if TYPE_CHECKING:
    from tests.bayesprune.pruners.saliency.conftest import Lab


class Functional(nn.Module):
    """Pooling and rectifiers as functions, a residual sum, and rectification in place."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 2, 3, padding=1), nn.Conv2d(2, 2, 1)
        self.last = nn.Linear(8, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        maps = max_pool2d(self.first(inputs), 2).relu_()
        maps = maps + self.second(maps).relu_()
        logits: Tensor = self.last(maps.flatten(1))
        return logits


class Siamese(nn.Module):
    """One layer on both halves of the input: used twice, and yet linear in each weight."""

    def __init__(self) -> None:
        super().__init__()
        self.shared, self.last = nn.Linear(2, 3), nn.Linear(3, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        left, right = inputs.chunk(2, 1)
        logits: Tensor = self.last(self.shared(left).relu() - 2 * self.shared(right).relu())
        return logits


class Recurrent(nn.Module):
    """One layer on its own output: a polynomial of the second degree in its weights."""

    def __init__(self) -> None:
        super().__init__()
        self.shared, self.last = nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.last(self.shared(self.shared(inputs).relu()).relu())
        return logits


class AtPositions(nn.Module):
    """A linear layer at each of three positions."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.last = nn.Linear(2, 3), nn.Linear(9, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.last(self.inner(inputs).relu().flatten(1))
        return logits


class Folded(AtPositions):
    """The same with positions and examples folded into one axis."""

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.inner(inputs.flatten(0, 1)).relu()
        logits: Tensor = self.last(hidden.view(len(inputs), 9))
        return logits


class PositionsFirst(AtPositions):
    """The same with positions along the first axis."""

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.inner(inputs.transpose(0, 1)).relu()
        logits: Tensor = self.last(hidden.transpose(0, 1).flatten(1))
        return logits


class Centred(nn.Module):
    """Every example's logits depend on all the others."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 3), nn.Linear(3, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.first(inputs).relu()
        logits: Tensor = self.last(hidden - hidden.mean(0))
        return logits


class Sidestepped(Siamese):
    """Uses a layer's weight without calling the layer."""

    def forward(self, inputs: Tensor) -> Tensor:
        left, right = inputs.chunk(2, 1)
        logits: Tensor = self.last(self.shared(left).relu() + linear(right, self.shared.weight))
        return logits


class Scaled(nn.Linear):
    """A layer that is linear, and is no Linear."""

    def forward(self, inputs: Tensor) -> Tensor:
        return linear(inputs, 3 * self.weight, self.bias)


def hooked() -> nn.Module:
    """A hook that doubles what a layer makes."""
    network = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 3))
    network[0].register_forward_hook(lambda layer, given, output: 2 * output)
    return network


def tied() -> nn.Module:
    """Two layers that hold one weight, on paths that do not meet before they are added."""
    network = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3))
    network[2].weight = network[0].weight
    return network


Make = Callable[[], nn.Module]

# Piecewise linear in each weight, each example by itself: per-example gradients serve.
FAST: dict[str, tuple[Make, tuple[int, ...]]] = {
    "rectifiers": (lambda: nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)), (4,)),
    "other kinks": (
        lambda: nn.Sequential(
            nn.Linear(4, 5), nn.LeakyReLU(), nn.Linear(5, 4), nn.PReLU(), nn.Linear(4, 3), nn.Hardtanh()
        ),
        (4,),
    ),
    "in place": (lambda: nn.Sequential(nn.Linear(4, 5), nn.ReLU(inplace=True), nn.Linear(5, 3)), (4,)),
    "batchnorm": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 2, 2), nn.BatchNorm2d(2), nn.ReLU(), nn.Dropout(), nn.Flatten(), nn.Linear(18, 3)
        ),
        (1, 4, 4),
    ),
    "stride, padding, dilation, groups": (
        lambda: nn.Sequential(
            nn.Conv2d(2, 4, 3, stride=2, padding=2, dilation=2, groups=2),
            nn.ReLU(),
            nn.Conv2d(4, 4, (1, 3), padding="same", groups=4, bias=False),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(4, 3),
        ),
        (2, 4, 4),
    ),
    "circular padding": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 2, 3, padding=1, padding_mode="circular"), nn.AvgPool2d(3), nn.Flatten(), nn.Linear(2, 3)
        ),
        (1, 3, 3),
    ),
    "one dimension": (
        lambda: nn.Sequential(nn.Conv1d(2, 3, 2, stride=2), nn.ReLU(), nn.AvgPool1d(2), nn.Flatten(), nn.Linear(3, 3)),
        (2, 4),
    ),
    "transposed": (
        lambda: nn.Sequential(
            nn.ConvTranspose2d(2, 2, 2, stride=2, groups=2),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(2, 3),
        ),
        (2, 2, 2),
    ),
    "functions": (Functional, (1, 4, 4)),
    "a layer called twice": (Siamese, (4,)),
    "positions": (AtPositions, (3, 2)),
    "a layer of another class": (lambda: nn.Sequential(Scaled(4, 3), nn.ReLU(), nn.Linear(3, 3)), (4,)),
}  # fmt: skip

# Here the Hessian itself is needed.
SLOW: dict[str, tuple[Make, tuple[int, ...], str]] = {
    "tanh": (lambda: nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)), (4,), "Tanh"),
    "batch statistics": (
        lambda: nn.Sequential(
            nn.Linear(4, 3), nn.BatchNorm1d(3, track_running_stats=False), nn.ReLU(), nn.Linear(3, 3)
        ),
        (4,),
        "NativeBatchNorm",
    ),
    "layer norm": (lambda: nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3), nn.Linear(3, 3)), (4,), "NativeLayerNorm"),
    "recurrent": (Recurrent, (4,), "Addmm"),
    "tied in a row": (tied, (4,), "Addmm"),
    "folded": (Folded, (3, 2), "every example by itself"),
    "positions first": (PositionsFirst, (3, 2), "every example by itself"),
    "examples together": (Centred, (4,), "every example by itself"),
    "sidestepped": (Sidestepped, (4,), "uses a weight in another way"),
    "hooked": (hooked, (4,), "uses a weight in another way"),
}


def hessian_diagonal(lab: "Lab", network: nn.Module, data: Data) -> dict[str, Tensor]:
    """The diagonal of the whole Hessian of the mean cross-entropy over all training examples."""
    weights = lab.values(network, *weights_of(network))
    function, vector = lab.flat(lab.loss(network, data), weights)
    return lab.unflat(lab.hessian(function, vector).diagonal(), weights)


@pytest.mark.parametrize("name", [*FAST, *SLOW])
def test_exact_diagonal_is_that_of_the_hessian(name: str, lab: "Lab") -> None:
    make, shape = (FAST | SLOW)[name][:2]
    network, data = make().double().eval(), lab.data(shape, 12)
    for module in network.modules():  # statistics of no particular data
        if isinstance(module, nn.BatchNorm2d) and module.running_var is not None:
            module.running_var.uniform_(0.5, 2.0)
    found = exact_diagonal(network, lab.batch(data))
    lab.assert_same(found, hessian_diagonal(lab, network, data), rtol=1e-7, atol=1e-12)
    assert all(bool((tensor != 0).any()) for tensor in found.values())


@pytest.mark.parametrize("name", FAST)
def test_piecewise_linear_networks_are_known(name: str, lab: "Lab") -> None:
    make, shape = FAST[name]
    assert obstacle(make().double().eval(), lab.batch(lab.data(shape))[0]) is None


@pytest.mark.parametrize("name", SLOW)
def test_other_networks_are_known(name: str, lab: "Lab") -> None:
    make, shape, reason = SLOW[name]
    found = obstacle(make().double().eval(), lab.batch(lab.data(shape))[0])
    assert found is not None and reason in found


def test_examples_beyond_one_part_count_alike(monkeypatch: pytest.MonkeyPatch, lab: "Lab") -> None:
    monkeypatch.setattr("bayesprune.pruners.saliency.gauss_newton._EXAMPLES", 5)
    monkeypatch.setattr("bayesprune.pruners.saliency.gauss_newton._NUMBERS", 30)
    network, data = Functional(), lab.data((1, 4, 4), 13)
    network.double().eval()
    lab.assert_same(
        exact_diagonal(network, lab.batch(data)), hessian_diagonal(lab, network, data), rtol=1e-7, atol=1e-12
    )


@pytest.mark.parametrize("name", ["rectifiers", "functions", "tanh", "recurrent"])
def test_estimate_agrees_with_the_exact_diagonal(name: str, lab: "Lab") -> None:
    make, shape = (FAST | SLOW)[name][:2]
    network, data, draws = make().double().eval(), lab.data(shape, 12), 400
    weights = lab.values(network, *weights_of(network))
    function, vector = lab.flat(lab.loss(network, data), weights)
    whole = lab.hessian(function, vector)
    others = whole - whole.diagonal().diag()
    error = lab.unflat((others.square().sum(1) / draws).sqrt(), weights)
    exact = exact_diagonal(network, lab.batch(data))
    found = hutchinson_diagonal(network, lab.batch(data), draws=draws)
    for key, tensor in exact.items():
        assert bool(((found[key] - tensor).abs() <= 4.5 * error[key] + 1e-12).all())
    spread = torch.cat([((found[key] - exact[key]) / error[key].clamp_min(1e-9)).flatten() for key in exact])
    assert 0.6 < float(spread[spread != 0].square().mean().sqrt()) < 1.5  # the documented deviation


def test_group_norm_is_differentiated_one_weight_at_a_time(lab: "Lab") -> None:
    layers = [nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.ReLU(), nn.Conv2d(4, 2, 2, groups=2)]
    network, data = nn.Sequential(*layers, nn.Flatten(), nn.Linear(2, 3)).double().eval(), lab.data((1, 4, 4), 6)
    weights = lab.values(network, *weights_of(network))
    function, found = lab.loss(network, data), exact_diagonal(network, lab.batch(data))
    for name, weight in weights.items():
        for place in range(weight.numel()):
            near = [weight.clone() for _ in range(3)]
            for step, one in zip((-1e-4, 0.0, 1e-4), near, strict=True):
                one.view(-1)[place] += step
            below, here, above = (float(function(weights | {name: one}).detach()) for one in near)
            assert float(found[name].view(-1)[place]) == pytest.approx((below - 2 * here + above) / 1e-8, abs=1e-4)


def test_linear_network_by_hand(lab: "Lab") -> None:
    """Examples that are unit vectors: the only mixed derivatives are those of the two classes at one input."""
    network = nn.Sequential(nn.Linear(3, 2, bias=False)).double()
    inputs = torch.eye(3, dtype=torch.float64)
    labels = torch.tensor([0, 1, 0])
    exact = exact_diagonal(network, (inputs, labels))
    found = hutchinson_diagonal(network, (inputs, labels), draws=200)
    shares = (inputs @ network.get_parameter("0.weight").detach().T).softmax(1)
    by_hand = (shares * (1 - shares)).T / 3  # h of w[k, d] is p (1 - p) of example d
    torch.testing.assert_close(exact["0.weight"], by_hand)
    torch.testing.assert_close(found["0.weight"], by_hand, rtol=0.35, atol=0.0)  # deviation: by_hand / sqrt(200)
