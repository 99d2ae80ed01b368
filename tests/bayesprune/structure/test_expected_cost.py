"""Expected cost in closed form: the compacted network's at 0 and 1, the average over gates in between."""

from itertools import product
from typing import Any

import pytest
import torch
from torch import nn

from bayesprune.models.networks import LeNet5, LeNet300
from bayesprune.structure import ExpectedCost, compact, fed_outputs, find, layer_costs
from benchmarks._zoo import SHAPES


def expected_cost(case: Any) -> ExpectedCost:
    positions = {layer.name: layer.positions for layer in layer_costs(case.network, case.example)}
    return ExpectedCost(case.network, case.structure, positions)


def counted(network: nn.Module, example: torch.Tensor) -> tuple[int, int]:
    macs = sum(layer.macs for layer in layer_costs(network, example))
    return macs, sum(parameter.numel() for parameter in network.parameters())


def test_at_zero_and_one_it_is_the_compact_network(case: Any) -> None:
    cost = expected_cost(case)
    for seed in range(6):
        gates = case.gates(seed)
        small = case.copy()
        compact(small, case.structure, gates)
        macs, params = cost(gates.double())
        assert (macs.item(), params.item()) == counted(small, case.example)


def test_after_a_compaction(case: Any) -> None:
    network = case.copy()
    middle = compact(network, case.structure, case.gates(3))
    positions = {layer.name: layer.positions for layer in layer_costs(network, case.example)}
    cost = ExpectedCost(network, middle, positions)
    assert tuple(part.item() for part in cost(torch.ones(middle.gate_count).double())) == counted(network, case.example)
    gates = case.gates(4, middle)
    compact(network, middle, gates)
    assert tuple(part.item() for part in cost(gates.double())) == counted(network, case.example)


def test_positions_taken_before_a_selector_moved_a_layer() -> None:
    network, images = LeNet300((5, 4), (1, 2, 3), 3), torch.randn(2, 1, 2, 3)
    structure = find(network, images)
    positions = {layer.name: layer.positions for layer in layer_costs(network, images)}
    gates = torch.ones(15, dtype=torch.bool)
    gates[0] = False
    cost = ExpectedCost(network, compact(network, structure, gates), positions)
    assert cost(torch.ones(14).double())[0].item() == 5 * 5 + 5 * 4 + 4 * 3


def test_average_over_random_gates(case: Any) -> None:
    """Independent gates; one that a layer reads and writes at once counts right."""
    cost, count = expected_cost(case), case.structure.gate_count
    generator = torch.Generator().manual_seed(0)
    theta = torch.rand(count, generator=generator).double()
    samples = (torch.rand(200 if count > 200 else 1500, count, generator=generator) < theta).double()
    costs = torch.stack([torch.stack(cost(gates)) for gates in samples])
    mean, error = costs.mean(0), costs.std(0) / len(costs) ** 0.5
    assert ((mean - torch.stack(cost(theta))).abs() <= 4 * error).all()


def test_expectation_by_enumeration(zoo: Any) -> None:
    """All 2^H gates of one group whose layer reads and writes it, the others fixed."""
    case = zoo("residual")
    cost, place = expected_cost(case), case.structure.slices()["blocks.1.conv2"]
    theta = torch.rand(case.structure.gate_count, generator=torch.Generator().manual_seed(1)).double()
    total = torch.zeros(2).double()
    for gates in product((0.0, 1.0), repeat=place.stop - place.start):
        point = theta.clone()
        point[place] = torch.tensor(gates).double()
        probability = torch.where(point[place] == 1, theta[place], 1 - theta[place]).prod()
        total += probability * torch.stack(cost(point))
    torch.testing.assert_close(torch.stack(cost(theta)), total)


def test_gradient_against_finite_differences(case: Any) -> None:
    cost, count = expected_cost(case), case.structure.gate_count
    theta = torch.rand(count, generator=torch.Generator().manual_seed(2)).double().requires_grad_(True)
    for part in range(2):
        (gradient,) = torch.autograd.grad(cost(theta)[part], theta)
        with torch.no_grad():
            for gate in range(0, count, 1 + count // 10):
                step = torch.zeros(count).double()
                step[gate] = 0.1  # any step is exact: the cost is multilinear
                difference = (cost(theta + step)[part] - cost(theta - step)[part]) / 0.2
                torch.testing.assert_close(gradient[gate], difference, rtol=1e-8, atol=1e-6)


def test_formula_of_the_methods_note() -> None:
    """E[MAC] = sum_l k^2 H W s_{l-1} s_l, by hand for LeNet-5 with flattened features."""
    network, images = LeNet5((3, 4, 5), (1, 28, 28)), torch.randn(1, 1, 28, 28)
    structure = find(network, images, flatten_inputs=True)
    positions = {layer.name: layer.positions for layer in layer_costs(network, images)}
    theta = torch.rand(structure.gate_count, generator=torch.Generator().manual_seed(0)).double()
    conv1, conv2, fc1, features = (theta[place] for place in structure.slices().values())
    reads = (conv2.repeat_interleave(16) * features).sum()
    macs = 25 * 576 * conv1.sum() + 25 * 64 * conv1.sum() * conv2.sum() + reads * fc1.sum() + 10 * fc1.sum()
    params = 26 * conv1.sum() + (25 * conv1.sum() + 1) * conv2.sum() + (reads + 1) * fc1.sum() + 10 * fc1.sum() + 10
    got = ExpectedCost(network, structure, positions)(theta)
    torch.testing.assert_close(torch.stack(got), torch.stack([macs, params]))


def test_a_network_without_gates() -> None:
    network, example = nn.Linear(4, 3), torch.randn(2, 4)
    positions = {layer.name: layer.positions for layer in layer_costs(network, example)}
    macs, params = ExpectedCost(network, find(network, example), positions)(torch.zeros(0))
    assert (macs.item(), params.item()) == (12, 15)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_differentiable_and_of_the_same_type(dtype: torch.dtype, zoo: Any) -> None:
    case = zoo("series")
    theta = torch.full((case.structure.gate_count,), 0.5, dtype=dtype, requires_grad=True)
    macs, params = expected_cost(case)(theta)
    assert macs.dtype == params.dtype == dtype
    (macs + params).backward()
    assert theta.grad is not None and bool((theta.grad > 0).all())


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Linear(5, 8), (5,)),
        (nn.Conv2d(4, 8, 3, groups=2), (4, 6, 6)),
        (nn.ConvTranspose2d(4, 8, 2, groups=2), (4, 3, 3)),
        (nn.ConvTranspose1d(4, 8, 2), (4, 5)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_outputs_with_a_weight_are_those_that_depend_on_the_inputs(layer: nn.Module, shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    counts = set()
    with torch.no_grad():
        for _ in range(20):
            weight = layer.get_parameter("weight")
            weight.copy_(torch.randn(weight.shape, generator=generator))
            weight.mul_(torch.rand(weight.shape, generator=generator) < 1.0 / weight[0].numel())
            one, other = layer(torch.randn(2, 30, *shape, generator=generator).flatten(0, 1)).unflatten(0, (2, 30))
            moved = (one != other).movedim(1, 0).flatten(1).any(1)
            assert fed_outputs(layer) == int(moved.sum())
            counts.add(fed_outputs(layer))
    assert len(counts) > 2


class Standardised(nn.Module):
    """A layer whose weight is computed from two parameters, and stays whole, beside one that does not."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head, self.last = nn.Linear(4, 8), nn.Linear(8, 2), nn.Linear(6, 2)
        self.middle = nn.utils.parametrizations.weight_norm(nn.Linear(4, 6))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.last(torch.relu(self.middle(inputs))) + self.head(self.first(inputs).relu())
        return outputs


@pytest.mark.parametrize("name", ["TiedWeights", "TiedStack", "GroupedQueries", "WrittenOutTransformer", "own weight"])
def test_weights_that_are_used_twice_or_are_computed_count_as_in_the_compact_network(name: str) -> None:
    torch.manual_seed(0)
    network, example = (Standardised().eval(), torch.randn(3, 4)) if name == "own weight" else SHAPES[name].build()
    structure = find(network, example, inputs="none")
    cost = ExpectedCost.of(network, structure, layer_costs(network, example))
    assert float(cost(torch.ones(structure.gate_count))[0]) == pytest.approx(counted(network, example)[0])
    random = torch.rand(structure.gate_count, generator=torch.Generator().manual_seed(0))
    gates = structure.protect(random < 0.5, random)
    macs, params = cost(gates.double())
    compact(network, structure, gates)
    assert (float(macs), float(params)) == pytest.approx(counted(network, example))
