"""SynFlow against a walk along every path, and its conservation laws."""

from itertools import product
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, nn

from bayesprune.errors import NetworkError
from bayesprune.pruners.saliency import synflow

if TYPE_CHECKING:
    from tests.bayesprune.pruners.saliency.conftest import Lab


def perceptron(*widths: int, bias: bool = False) -> nn.Sequential:
    """Linear layers with rectifiers, called "0", "2", ..."""
    layers: list[nn.Module] = []
    for read, written in zip(widths, widths[1:], strict=False):
        layers += [nn.Linear(read, written, bias=bias), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def test_score_sums_the_paths_through_a_weight(lab: "Lab") -> None:
    widths = (3, 4, 2, 3)
    network = perceptron(*widths)
    weights = {name: weight.detach() for name, weight in network.named_parameters()}
    expected = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    for path in product(*map(range, widths)):
        steps = [(path[depth + 1], path[depth]) for depth in range(3)]
        strength = 1.0
        for weight, step in zip(weights.values(), steps, strict=True):
            strength *= abs(float(weight[step]))
        for name, step in zip(expected, steps, strict=True):
            expected[name][step] += strength
    lab.assert_same(synflow(lab.problem(network, lab.data((3,)))), expected, rtol=1e-5)


def test_layers_have_the_same_sum(lab: "Lab") -> None:
    network = perceptron(5, 12, 3, 7, 3)
    sums = [float(score.sum()) for score in synflow(lab.problem(network, lab.data((5,)))).values()]
    absolute = [weight.detach().abs() for weight in network.parameters()]
    flow = absolute[3] @ absolute[2] @ absolute[1] @ absolute[0] @ torch.ones(5)
    assert sums == pytest.approx([float(flow.sum())] * 4, rel=1e-5)


def test_units_conserve_what_flows_through_them(lab: "Lab") -> None:
    scores = synflow(lab.problem(perceptron(5, 6, 3), lab.data((5,))))
    torch.testing.assert_close(scores["0.weight"].sum(1), scores["2.weight"].sum(0), rtol=1e-5, atol=0.0)


def test_biases_are_absolute_too(lab: "Lab") -> None:
    network = perceptron(2, 3, 3, bias=True)
    first, _, second = network
    assert isinstance(first, nn.Linear) and isinstance(second, nn.Linear)
    carried = second.weight.detach().abs().sum(0)  # [3], what a hidden unit is worth
    hidden = first.weight.detach().abs().sum(1) + first.bias.detach().abs()
    expected = {
        "0.weight": first.weight.detach().abs() * carried[:, None],
        "2.weight": second.weight.detach().abs() * hidden,
    }
    lab.assert_same(synflow(lab.problem(network, lab.data((2,)))), expected, rtol=1e-5)


def test_convolution_and_batchnorm_in_evaluation_mode(lab: "Lab") -> None:
    network = nn.Sequential(
        nn.Conv2d(1, 2, 2, bias=False), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3, bias=False)
    )
    norm = network[1]
    assert isinstance(norm, nn.BatchNorm2d) and norm.running_var is not None and norm.running_mean is not None
    with torch.no_grad():
        norm.running_mean.copy_(torch.tensor([-0.25, 0.125]))
        norm.running_var.copy_(torch.tensor([4.0, 9.0]))
        norm.weight.copy_(torch.tensor([-2.0, 6.0]))
    kernel, matrix = (network.get_parameter(name).detach().abs() for name in ("0.weight", "3.weight"))
    scale = torch.tensor([1.0, 2.0])  # 2 / sqrt(4), 6 / sqrt(9)
    carried = matrix.sum(0).view(2, 4).sum(1) * scale
    hidden = ((kernel.sum((1, 2, 3)) - torch.tensor([0.25, 0.125])) * scale).repeat_interleave(4)
    expected = {"0.weight": kernel * carried.view(2, 1, 1, 1), "3.weight": matrix * hidden}
    found = synflow(lab.problem(network.train(), lab.data((1, 3, 3))))
    lab.assert_same(found, expected, rtol=1e-4)


def test_labels_and_inputs_play_no_part(lab: "Lab") -> None:
    network = perceptron(3, 4, 3)
    expected = synflow(lab.problem(network, lab.data((3,))))
    others = lab.data((3,), torch.zeros(5, dtype=torch.int64))
    state = torch.get_rng_state()
    lab.assert_same(synflow(lab.problem(network, others)), expected, rtol=0.0)
    assert torch.equal(torch.get_rng_state(), state)


def deep(scale: float) -> nn.Sequential:
    """Forty layers; each multiplies the flow by about 4 times the scale."""
    network = perceptron(*[8] * 40, 3)
    with torch.no_grad():
        for weight in network.parameters():
            weight.copy_(torch.rand_like(weight) * scale)
    return network


def test_deep_networks_do_not_overflow(lab: "Lab") -> None:
    """Scores in proportion to those of the same network with all weights a thirty-second."""
    torch.manual_seed(1)
    large = synflow(lab.problem(deep(8.0), lab.data((8,))))
    torch.manual_seed(1)
    small = synflow(lab.problem(deep(0.25), lab.data((8,))))
    assert float(sum(score.sum() for score in small.values())) < 1e6
    ratio = large["0.weight"].max() / small["0.weight"].max()
    lab.assert_same(large, {name: score * ratio for name, score in small.items()}, rtol=1e-4)
    assert max(float(score.max()) for score in large.values()) == pytest.approx(1e30, rel=1e-5)


def test_double_precision_stays(lab: "Lab") -> None:
    network = perceptron(3, 4, 3).double()
    assert {score.dtype for score in synflow(lab.problem(network, lab.data((3,)))).values()} == {torch.float64}


def test_a_network_without_flow_scores_zero(lab: "Lab") -> None:
    network = perceptron(3, 4, 3)
    with torch.no_grad():
        network.get_parameter("2.weight").zero_()
    found = synflow(lab.problem(network, lab.data((3,))))
    assert not any(bool(score.any()) for score in found.values())


class Exponential(nn.Module):
    """Overflows even double precision."""

    def forward(self, inputs: Tensor) -> Tensor:
        return (inputs.square() * 1e6).exp()


def test_scores_that_are_no_numbers_are_named_by_layer(lab: "Lab") -> None:
    network = nn.Sequential(nn.Linear(3, 4), Exponential(), nn.Linear(4, 3))
    with pytest.raises(NetworkError, match="of layer '0' hold NaN or infinite values"):
        synflow(lab.problem(network, lab.data((3,))))
