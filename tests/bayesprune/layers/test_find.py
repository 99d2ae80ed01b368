"""Which layers are candidates, and the reason of every other one."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from bayesprune.layers import Candidate, find_layers
from bayesprune.models import MLP, Conv4, LeNet5, LeNet300


def middle(*between: nn.Module, activation: nn.Module | None = None) -> nn.Sequential:
    """First layer, activation, the layer in question, and what stands between it and the last one."""
    return nn.Sequential(nn.Linear(4, 6), activation or nn.ReLU(), nn.Linear(6, 6), *between, nn.Linear(6, 3))


class Two(nn.Module):
    """Two layers in the middle, joined by a function of the test."""

    def __init__(self, join: Callable[["Two", Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.a, self.b, self.last = (nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 3))
        self.join = join

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.join(self, self.first(inputs).relu())
        return outputs


class Tied(nn.Module):
    """Two layers share their weights."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = middle(nn.ReLU(), nn.Linear(6, 6), nn.ReLU())
        self.layers[4].weight = self.layers[2].weight

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.layers(inputs)
        return outputs


def hooked() -> nn.Module:
    network = middle(nn.ReLU())
    network[2].register_forward_hook(lambda module, inputs, outputs: None)
    return network


def images(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), *layers)


REASONS: list[tuple[Callable[[], nn.Module], str, str]] = [
    (lambda: middle(nn.ReLU()), "0", "first matrix: what it reads may be negative"),
    (lambda: middle(nn.ReLU()), "4", "last matrix: there is no activation behind it"),
    (lambda: middle(nn.ReLU(), activation=nn.LeakyReLU()), "2", "what it reads may be negative (LeakyReLU '1')"),
    (lambda: middle(nn.ReLU(), activation=nn.Tanh()), "2", "what it reads may be negative (Tanh '1')"),
    (lambda: middle(nn.GELU()), "2", "behind it stands GELU '3', which is not the identity on [0, inf)"),
    (lambda: middle(nn.ReLU6()), "2", "behind it stands ReLU6 '3', which is not the identity on [0, inf)"),
    (lambda: middle(nn.SiLU()), "2", "behind it stands SiLU '3', which is not the identity on [0, inf)"),
    (lambda: middle(), "2", "there is no activation behind it"),
    (lambda: middle(nn.LayerNorm(6), nn.ReLU()), "2", "behind it stands LayerNorm '3', which is not the identity on"),
    (lambda: middle(nn.ReLU(), nn.LayerNorm(6)), "2", "the next matrix stands LayerNorm '4'"),
    (hooked, "2", "it has hooks"),
    (lambda: Two(lambda net, x: net.last(net.a(x).relu() + net.b(x).relu())), "a", "between its activation and the"),
    (lambda: Two(lambda net, x: net.last(net.b(y := net.a(x).relu()).relu() + y)), "a", "output is read in 2 places"),
    (lambda: Two(lambda net, x: net.last(net.a(net.a(x).relu()).relu())), "a", "it is called 2 times"),
    (lambda: Two(lambda net, x: net.last((net.a(x) + net.b(x)).relu())), "a", "what is added to its output is not"),
    (lambda: Two(lambda net, x: net.last(net.b(net.a(x).relu()).relu()) + net.a.bias.sum()), "a",
     "its weights are read elsewhere too"),
    (Tied, "layers.2", "its weights are read elsewhere too"),
    (lambda: images(nn.MaxPool2d(2), nn.ReLU(), nn.Conv2d(4, 3, 2)), "2", "behind it stands MaxPool2d '3'"),
    (lambda: images(nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 3, 2)), "2", "the next matrix stands MaxPool2d '4'"),
    (lambda: images(nn.ReLU(), nn.AvgPool2d(2, padding=1), nn.Conv2d(4, 3, 2)), "2", "matrix stands AvgPool2d '4'"),
    (lambda: images(nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)), "2", "the next matrix stands Flatten"),
    (lambda: images(nn.ReLU(), nn.ConvTranspose2d(4, 3, 2)), "2", "the next matrix stands ConvTranspose2d '4'"),
    (lambda: images(nn.BatchNorm2d(4, track_running_stats=False), nn.ReLU(), nn.Conv2d(4, 3, 2)), "2",
     "behind it stands BatchNorm2d '3', which is not"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("make", "layer", "reason"), REASONS, ids=[f"{row[2][:40]}-{n}" for n, row in enumerate(REASONS)]
)
def test_every_refusal_has_its_reason(make: Callable[[], nn.Module], layer: str, reason: str) -> None:
    network = make()
    shape = (1, 8, 8) if isinstance(network, nn.Sequential) and isinstance(network[0], nn.Conv2d) else (4,)
    found = find_layers(network, torch.randn(2, *shape))
    assert reason in found.refused[layer], found.refused
    assert {*found.refused, *found.by_name} == set(found.names)


def test_the_networks_of_the_library() -> None:
    def pairs(network: nn.Module, shape: tuple[int, ...]) -> list[tuple[str, str]]:
        return [(one.layer, one.into) for one in find_layers(network, torch.randn(2, *shape)).candidates]

    assert pairs(LeNet300(), (1, 28, 28)) == [("fc2", "fc3")]
    assert pairs(MLP((8, 7, 6), (5,), 3), (5,)) == [("fc2", "fc3"), ("fc3", "fc4")]
    assert pairs(LeNet5((3, 4, 6, 5), (1, 16, 16), 3), (1, 16, 16)) == [("fc1", "fc2"), ("fc2", "fc3")]
    assert pairs(Conv4((3, 3, 4, 4, 6, 5), (1, 8, 8), 3), (1, 8, 8)) == [
        ("conv3", "conv4"), ("fc1", "fc2"), ("fc2", "fc3"),
    ]  # fmt: skip


def test_inputs_that_are_not_negative_make_the_first_matrix_a_candidate() -> None:
    network, inputs = middle(nn.ReLU()), torch.rand(5, 4)
    assert [one.layer for one in find_layers(network, inputs, inputs_not_negative=True).candidates] == ["0", "2"]


@pytest.mark.parametrize("before", [nn.Softplus(), nn.Sigmoid(), nn.ReLU6(), nn.Hardsigmoid()], ids=repr)
def test_any_activation_that_is_not_negative_may_come_before(before: nn.Module) -> None:
    assert find_layers(middle(nn.PReLU(), activation=before), torch.randn(2, 4)).by_name["2"] == Candidate("2", "4")


def test_functions_are_seen_as_modules_are() -> None:
    class Functional(Two):
        def forward(self, inputs: Tensor) -> Tensor:
            values = torch.square(functional.relu(self.first(inputs)))
            values = functional.leaky_relu(self.a(functional.dropout(values, training=self.training)))
            outputs: Tensor = self.last(torch.relu(self.b(values.abs())))
            return outputs

    found = find_layers(Functional(lambda net, x: x), torch.randn(2, 4))
    assert set(found.by_name) == {"b"} and "abs" in found.refused["a"]
