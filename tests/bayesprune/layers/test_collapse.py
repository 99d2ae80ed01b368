"""Collapsing inactive layers leaves the function as it is: networks of every supported kind, against themselves."""

from collections.abc import Callable
from copy import deepcopy
from itertools import product

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from bayesprune.errors import NetworkError
from bayesprune.layers import Layers, LinearChain, active_layers, collapse, find_layers, inactive, replay
from bayesprune.layers.collapse import best_parts
from bayesprune.layers.deciding import Collapse, collapse_inactive
from bayesprune.layers.linear import Nothing, Passed, factors_of, why_not_one
from bayesprune.models import MLP, Conv4, LeNet5

CLOSE = 2e-5
"""Between outputs in float32 before and after, relative to the largest."""


class Residual(nn.Module):
    """Blocks relu(x + W x + b), the last of which a plain layer reads."""

    def __init__(self, width: int = 6, blocks: int = 2) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(5, width), nn.Linear(width, 3)
        self.blocks = nn.ModuleList(nn.Linear(width, width) for _ in range(blocks))

    def forward(self, inputs: Tensor) -> Tensor:
        values = self.first(inputs).relu()
        for block in self.blocks:
            values = functional.relu(values + block(values))
        outputs: Tensor = self.last(values)
        return outputs


class Bottleneck(nn.Module):
    """A residual block of two convolutions with batch normalisation, as in a ResNet."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.conv1, self.conv2 = nn.Conv2d(2, 4, 3), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 3, padding=1)
        self.norm1, self.norm2, self.head = nn.BatchNorm2d(4), nn.BatchNorm2d(4), nn.Conv2d(4, 3, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        values = self.stem(inputs).relu()
        out = self.norm1(self.conv1(values)).relu()
        out = self.norm2(self.conv2(out))
        out += values
        outputs: Tensor = self.head(out.relu()).mean((2, 3))
        return outputs


def mlp() -> nn.Module:
    return MLP((7, 9, 5, 8), (1, 3, 3), 3)


def perceptron_in_place() -> nn.Module:
    return nn.Sequential(
        nn.Linear(9, 6), nn.ReLU(inplace=True), nn.Linear(6, 6), nn.ReLU(inplace=True), nn.Linear(6, 3)
    )


def mixed_activations() -> nn.Module:
    return nn.Sequential(
        nn.Linear(9, 6), nn.Softplus(), nn.Linear(6, 7), nn.LeakyReLU(), nn.Dropout(), nn.Linear(7, 4, bias=False),
        nn.PReLU(), nn.Linear(4, 3),
    )  # fmt: skip


def strided() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3, stride=2, padding=2), nn.ReLU(),
        nn.Conv2d(5, 3, (2, 3), stride=(2, 1)), nn.ReLU(), nn.Conv2d(3, 3, 1),
    )  # fmt: skip


def pooled() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 1), nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(4, 3, 3)
    )  # fmt: skip


def normalised() -> nn.Module:
    return nn.Sequential(
        nn.Conv1d(2, 4, 3), nn.BatchNorm1d(4), nn.ReLU(), nn.Conv1d(4, 5, 3, padding=1, bias=False), nn.BatchNorm1d(5),
        nn.ReLU(), nn.Conv1d(5, 3, 2), nn.BatchNorm1d(3),
    )  # fmt: skip


def grouped() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3, groups=2), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 3, 3)
    )


def volumes() -> nn.Module:
    return nn.Sequential(
        nn.Conv3d(2, 3, 2), nn.ReLU(), nn.Conv3d(3, 4, 2, dilation=2), nn.ReLU(), nn.Conv3d(4, 2, 2, dilation=(1, 2, 1))
    )


def reflecting() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"), nn.BatchNorm2d(4),
        nn.ReLU(), nn.Conv2d(4, 3, 3, padding=1),
    )  # fmt: skip


CASES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], int]] = {
    # How many layers go when all candidates have no negative weights.
    "mlp": (mlp, (1, 3, 3), 3),
    "in place": (perceptron_in_place, (9,), 1),
    "mixed activations": (mixed_activations, (9,), 1),  # what follows a leaky rectifier is no candidate at first
    "sequences": (perceptron_in_place, (4, 9), 1),
    "conv4": (lambda: Conv4((3, 4, 3, 4, 6, 5), (2, 8, 8), 3), (2, 8, 8), 3),
    "lenet5": (lambda: LeNet5((3, 4, 6, 7), (2, 16, 16), 3), (2, 16, 16), 2),
    "strided": (strided, (2, 13, 12), 2),
    "pooled": (pooled, (2, 12, 11), 1),
    "normalised": (normalised, (2, 15), 1),
    "grouped": (grouped, (2, 9, 9), 1),
    "volumes": (volumes, (2, 7, 8, 7), 1),
    "reflecting": (reflecting, (2, 9, 9), 1),
    "residual": (Residual, (5,), 2),
    "bottleneck": (Bottleneck, (2, 8, 8), 1),
}


@torch.no_grad()
def without_negative(network: nn.Module, layers: Layers) -> None:
    """Random statistics and weights; the candidates' have no negative values, whatever sign their scales have."""
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.normal_()
            module.running_var.uniform_(0.3, 2)
            module.weight.normal_()
            module.bias.normal_()
    for module in network.modules():
        if isinstance(module, Residual):
            for tensor in module.blocks.parameters():
                tensor.abs_()
    for one in layers.candidates:
        layer = network.get_submodule(one.layer)
        for tensor in layer.parameters():
            tensor.abs_()
        if one.norm:
            norm = network.get_submodule(one.norm)
            assert isinstance(norm, nn.modules.batchnorm._BatchNorm) and norm.running_mean is not None
            layer.get_parameter("weight").mul_(
                norm.weight.sign().reshape(-1, *[1] * (layer.get_parameter("weight").dim() - 1))
            )
            norm.bias.abs_().add_(10 * norm.running_mean.abs() + 10)


def made(name: str, seed: int) -> tuple[nn.Module, Tensor, int]:
    make, shape, gone = CASES[name]
    torch.manual_seed(seed)
    network = make().eval()
    inputs = torch.randn(5, *shape)
    without_negative(network, find_layers(network, inputs))
    return network, inputs, gone


def difference(one: Tensor, other: Tensor) -> float:
    return float((one - other).detach().abs().max() / other.detach().abs().max())


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", CASES)
def test_a_collapsed_network_is_the_same_function(name: str, seed: int) -> None:
    network, inputs, expected = made(name, seed)
    before = network(inputs)
    assert bool((before.flatten(1).std(0) > 0).any())
    fresh = deepcopy(network)
    found = collapse_inactive(network, inputs)
    assert len(found.gone) >= expected
    assert difference(network(inputs), before) < CLOSE
    # In float64 it is float error too, so that nothing but rounding differs.
    double = fresh.double()
    exact = double(inputs.double())
    assert collapse_inactive(double, inputs.double()).steps == found.steps
    assert difference(double(inputs.double()), exact) < 1e-12
    # Training goes on, in place activations included.
    network.train()
    network(torch.cat([inputs, inputs])).sum().backward()


@pytest.mark.parametrize("name", CASES)
def test_the_steps_make_the_same_network_of_a_fresh_one(name: str) -> None:
    network, inputs, _ = made(name, 1)
    found = collapse_inactive(network, inputs)
    again = CASES[name][0]().eval()
    replay(again, found.steps)
    again.load_state_dict(network.state_dict())
    assert torch.equal(again(inputs), network(inputs))


def test_it_is_not_the_same_function_with_one_negative_weight() -> None:
    """The test can fail: a layer taken out although one entry is negative changes the outputs."""
    network, inputs, _ = made("mlp", 0)
    layers = find_layers(network, inputs)
    before = network(inputs)
    with torch.no_grad():
        network.get_submodule("fc3").get_parameter("weight")[0] -= 3.0
    assert [one.layer for one in inactive(network, layers)] == ["fc2", "fc4"]
    changed = network(inputs)
    collapse(network, [layers.by_name["fc3"]], layers.sizes)
    assert difference(network(inputs), changed) > 0.01 and difference(changed, before) > 0.01


def test_the_active_layers_are_counted() -> None:
    network, inputs, _ = made("mlp", 0)
    layers = find_layers(network, inputs)
    assert active_layers(network, layers) == ("fc1",)
    with torch.no_grad():
        network.get_submodule("fc3").get_parameter("weight")[0, 0] = -1e-3
        network.get_submodule("fc3").get_parameter("weight")[0, 1:] = 0.0
        network.get_submodule("fc3").get_parameter("bias")[0] = 0.0
    assert active_layers(network, layers) == ("fc1", "fc3")
    assert active_layers(network, layers, tol=1e-2) == ("fc1",)
    found = collapse_inactive(network, inputs)
    assert found.gone == ("fc2", "fc4") and found.active == ("fc1", "fc3")
    assert found.active == active_layers(network, find_layers(network, inputs))


def test_a_tolerance_sets_small_negative_values_to_zero() -> None:
    network, inputs, _ = made("mlp", 0)
    with torch.no_grad():
        network.get_submodule("fc3").get_parameter("weight")[0, 0] = -1e-3
    clamped = deepcopy(network)
    with torch.no_grad():
        clamped.get_submodule("fc3").get_parameter("weight")[0, 0] = 0.0
    expected = clamped(inputs)
    assert len(collapse_inactive(network, inputs, tol=2e-3).gone) == 3
    assert difference(network(inputs), expected) < CLOSE


def test_equal_widths_halve_and_a_bottleneck_stays_in_factors() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 10), nn.ReLU(), nn.Linear(10, 10), nn.ReLU(), nn.Linear(10, 10))
    with torch.no_grad():
        network[2].get_parameter("weight").abs_()
        network[2].get_parameter("bias").abs_()
    collapse_inactive(network, torch.randn(2, 4))
    assert (
        isinstance(network[2], Passed)
        and type(network[4]) is nn.Linear
        and network[4].get_parameter("weight").shape == (10, 10)
    )
    # 10-2-10: the product has 100 weights, the factors 40.
    network = nn.Sequential(nn.Linear(4, 10), nn.ReLU(), nn.Linear(10, 2), nn.ReLU(), nn.Linear(2, 10))
    with torch.no_grad():
        network[2].get_parameter("weight").abs_()
        network[2].get_parameter("bias").abs_()
    inputs = torch.randn(6, 4)
    before, parameters = network(inputs), sum(p.numel() for p in network.parameters())
    found = collapse_inactive(network, inputs)
    assert isinstance(network[4], LinearChain) and found.steps[-1] == {"chain": "4", "parts": [1, 1]}
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert difference(network(inputs), before) < CLOSE
    # No activation is left between the factors: the chain stays linear whatever the refit makes of it.
    with torch.no_grad():
        factors_of(network[4])[0].get_parameter("weight").normal_()
    h = network[:2](inputs)
    assert torch.allclose(network[4](2 * h) - network[4](h), network[4](h) - network[4](0 * h), atol=1e-5)


def test_parts_cost_least_of_all_ways_to_multiply() -> None:
    """Against every way to cut a chain of matrices."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        sizes = torch.randint(1, 12, (6,), generator=generator).tolist()
        chain = [nn.Linear(a, b, bias=False) for a, b in zip(sizes, sizes[1:], strict=False)]
        cost = {}
        for cuts in product([False, True], repeat=4):
            ends = [0, *(place for place, cut in enumerate(cuts, 1) if cut), 5]
            parts = [b - a for a, b in zip(ends, ends[1:], strict=False)]
            spent = [sizes[a] * sizes[b] for a, b in zip(ends, ends[1:], strict=False)]
            own = [sum(sizes[i] * sizes[i + 1] for i in range(a, b)) for a, b in zip(ends, ends[1:], strict=False)]
            if all(one <= other for one, other in zip(spent, own, strict=True)):
                cost[tuple(parts)] = sum(spent)
        assert cost[tuple(best_parts(chain, ()))] == min(cost.values())


def test_what_cannot_be_one_convolution_stays_in_factors_and_is_exact() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Conv2d(3, 3, 1), nn.ReLU(), nn.Conv2d(3, 2, 3, padding=1))
    with torch.no_grad():
        network[2].get_parameter("weight").abs_()
        network[2].get_parameter("bias").abs_()
    inputs = torch.randn(2, 1, 7, 7)
    before = network(inputs)
    assert "write its bias" in why_not_one(network[2], network[4], (5, 5))
    assert collapse_inactive(network, inputs).gone == ("2",)
    assert isinstance(network[4], LinearChain) and difference(network(inputs), before) < CLOSE
    with torch.no_grad():
        factors_of(network[4])[0].get_parameter("bias").zero_()
    assert why_not_one(factors_of(network[4])[0], factors_of(network[4])[1], (5, 5)) == ""


def test_a_residual_block_becomes_an_identity_in_the_product() -> None:
    torch.manual_seed(0)
    network = Residual(6, 1)
    with torch.no_grad():
        network.blocks[0].get_parameter("weight").abs_()
        network.blocks[0].get_parameter("weight").diagonal().sub_(0.9)  # W + 1 is what must not be negative
        network.blocks[0].get_parameter("bias").abs_()
        expected = network.last.weight @ (network.blocks[0].get_parameter("weight") + torch.eye(6))
    inputs = torch.randn(4, 5)
    before = network(inputs)
    collapse_inactive(network, inputs)
    assert isinstance(network.blocks[0], Nothing) and torch.allclose(network.last.weight, expected, atol=1e-6)
    assert difference(network(inputs), before) < CLOSE


def test_both_layers_of_a_residual_block_go_one_after_the_other() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.inner, self.outer = nn.Linear(5, 6), nn.Linear(6, 6), nn.Linear(6, 6)
            self.last = nn.Linear(6, 3)

        def forward(self, inputs: Tensor) -> Tensor:
            values = self.first(inputs).relu()
            outputs: Tensor = self.last((self.outer(self.inner(values).relu()) + values).relu())
            return outputs

    torch.manual_seed(0)
    network = Block()
    with torch.no_grad():
        for layer in (network.inner, network.outer):
            layer.weight.abs_()
            layer.bias.abs_()
    inputs = torch.randn(4, 5)
    before = network(inputs)
    found = collapse_inactive(network, inputs)
    assert found.gone == ("inner", "outer") and found.active == ("first",)
    assert difference(network(inputs), before) < CLOSE


def test_data_decide_where_signs_are_too_strict() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))
    inputs = torch.randn(200, 4)
    with torch.no_grad():
        hidden = network[:2](inputs)
        negative = network[2](hidden) < 0
    share = float(negative.double().mean())
    assert 0 < share < 1
    strict = collapse_inactive(deepcopy(network), inputs, eps=share - 1e-9, calibration=inputs)
    assert strict.gone == () and strict.shares == {"2": pytest.approx(share)}
    before = network(inputs)
    with torch.no_grad():
        linear = network[4](network[2](hidden))
    loose: Collapse = collapse_inactive(network, inputs, eps=share, calibration=inputs)
    assert loose.gone == ("2",) and difference(network(inputs), linear) < CLOSE
    assert difference(network(inputs), before) > 0.01


@pytest.mark.parametrize(
    "steps",
    [
        [{"layer": "fc9", "into": "fc2", "norm": "", "pool": "", "skip": False}],
        [{"chain": "fc2", "parts": [2]}],
        [{"chain": "fc2", "parts": ["x"]}],
        [{"layer": "fc2"}],
        [{"unknown": 1}],
        [{"layer": "fc2", "into": "relu2", "norm": "", "pool": "", "skip": False}, {"chain": "relu2", "parts": [2]}],
    ],
    ids=str,
)
def test_steps_of_another_network_are_refused(steps: list[dict[str, object]]) -> None:
    with pytest.raises(NetworkError, match="layers cannot go as step"):
        replay(mlp(), steps)
