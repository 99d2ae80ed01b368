"""The layer-wise surgeon against least squares, Lagrange multipliers, and unfolded convolutions."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import pad, unfold

from bayesprune.data import Data
from bayesprune.errors import NetworkError, SettingError
from bayesprune.pruners.problem import Problem
from bayesprune.pruners.surgeon import correct, input_moments, layer_obs
from bayesprune.structure import Structure

MakeProblem = Callable[..., Problem]


class Doubles:
    """Examples in float64, all of one class: the surgeon does not read labels."""

    def __init__(self, inputs: Tensor) -> None:
        self.inputs = inputs

    def __len__(self) -> int:
        return len(self.inputs)

    def batches(self, batch_size: int, *, seed: int | None = None, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed or 0))
        for rows in order.split(batch_size)[start:]:
            yield self.inputs[rows], torch.zeros(len(rows), dtype=torch.long)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def problem_of(small_data: Data) -> MakeProblem:
    """A problem in float64; no groups are needed."""

    def make(network: nn.Module, inputs: Tensor, masks: dict[str, Tensor] | None = None) -> Problem:
        data = replace(small_data, train=Doubles(inputs))
        return Problem(network.double(), Structure((), (), ()), data, masks or {})

    return make


def normals(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def test_a_score_is_the_least_growth_of_the_error(problem_of: MakeProblem) -> None:
    layer, inputs = nn.Linear(5, 3), normals(60, 5)
    problem = problem_of(layer, inputs)
    before = layer.weight.detach().clone()
    scores = layer_obs(problem, damping=1e-12)["weight"]
    assert scores.shape == (3, 5)
    for unit in range(3):
        for weight in range(5):
            # Without input q the others do what they can to replace w_q x_q: ordinary least squares.
            others, lost = inputs[:, torch.arange(5) != weight], inputs[:, [weight]] * before[unit, weight]
            residual = lost - others @ torch.linalg.lstsq(others, lost).solution
            assert float(scores[unit, weight]) == pytest.approx(float(residual.square().mean() / 2), rel=1e-8)
            layer.weight.data = before.clone()
            mask = torch.ones(3, 5)
            mask[unit, weight] = 0
            correct(problem, {"weight": mask}, damping=1e-12)
            change = (inputs @ (layer.weight.detach() - before).T).square().sum(1).mean() / 2
            assert float(change) == pytest.approx(float(scores[unit, weight]), rel=1e-8)


def constrained(moment: Tensor, row: Tensor, pruned: Tensor) -> Tensor:
    """The row that minimises d H d / 2 over changes d with w + d = 0 where pruned: a system with multipliers."""
    size, bound = len(row), torch.eye(len(row), dtype=torch.float64)[pruned]
    system = torch.cat(
        [torch.cat([moment, bound.T], 1), torch.cat([bound, bound.new_zeros(len(bound), len(bound))], 1)]
    )
    return row + torch.linalg.solve(system, torch.cat([row.new_zeros(size), -row[pruned]]))[:size]


@pytest.mark.parametrize("damping", [1e-6, 0.5])
def test_survivors_are_the_constrained_optimum(problem_of: MakeProblem, damping: float) -> None:
    layer, inputs = nn.Linear(7, 6), 3 * normals(40, 7)
    before, bias = layer.weight.detach().double(), layer.bias.detach().double()
    mask = (torch.rand(6, 7) > 0.5).float()
    mask[1], mask[2], mask[3], mask[4] = mask[0], 0.0, 1.0, mask[0]  # equal rows, all pruned, none pruned
    problem = problem_of(layer, inputs)
    correct(problem, {"weight": mask}, damping=damping)
    moment = inputs.T @ inputs / 40
    moment = moment + damping * moment.diagonal().mean() * torch.eye(7, dtype=torch.float64)
    assert float(moment.diagonal().mean()) > 1
    expected = torch.stack([constrained(moment, row, alive == 0) for row, alive in zip(before, mask, strict=True)])
    torch.testing.assert_close(layer.weight.detach(), expected, rtol=1e-8, atol=1e-10)
    assert bool((layer.weight[mask == 0] == 0).all()) and torch.equal(layer.weight[3], before[3])
    assert torch.equal(layer.bias, bias)


def test_small_inputs_are_damped_by_what_is_given(problem_of: MakeProblem) -> None:
    inputs = 0.1 * normals(30, 4)
    moment = input_moments(problem_of(nn.Linear(4, 2), inputs), damping=0.25)["weight"]
    torch.testing.assert_close(moment, inputs.T @ inputs / 30 + 0.25 * torch.eye(4, dtype=torch.float64))


@settings(max_examples=settings().max_examples // 4)
@given(features=st.integers(1, 9), units=st.integers(1, 6), count=st.integers(2, 30), seed=st.integers(0, 999))
def test_correction_never_makes_the_outputs_worse(
    problem_of: MakeProblem, features: int, units: int, count: int, seed: int
) -> None:
    torch.manual_seed(seed)
    layer, inputs = nn.Linear(features, units).double(), normals(count, features)
    before, mask = layer.weight.detach().clone(), (torch.rand(units, features) > torch.rand(1)).double()
    correct(problem_of(layer, inputs), {"weight": mask})
    corrected, cut = (float((inputs @ (w - before).T).square().mean()) for w in (layer.weight.detach(), before * mask))
    # The optimum is that with a ridge: without it, it can be worse by no more than the ridge's share.
    assert corrected <= cut + 1e-5 * float(before.square().sum())
    assert bool((layer.weight[mask == 0] == 0).all())


def test_each_layer_is_treated_with_the_inputs_it_has_in_evaluation_mode(problem_of: MakeProblem) -> None:
    network = nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.5), nn.Linear(6, 3))
    problem, inputs = problem_of(network, torch.zeros(0)), normals(70, 5)
    assert isinstance(problem.data.train, Doubles)
    problem.data.train.inputs = inputs
    network(inputs)
    state = {name: value.clone() for name, value in network.state_dict().items()}
    moments = input_moments(problem, damping=1e-9)
    hidden = network[:3].eval()(inputs).detach()
    network.train()
    torch.testing.assert_close(moments["0.weight"], inputs.T @ inputs / 70, atol=1e-8, rtol=1e-7)
    torch.testing.assert_close(moments["4.weight"], hidden.T @ hidden / 70, atol=1e-8, rtol=1e-7)
    masks = {name: (torch.rand_like(network.get_parameter(name)) > 0.5).double() for name in moments}
    layer_obs(problem)
    assert network.training and all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    correct(problem, masks, damping=1e-9)  # the second layer for what it got before the first was changed
    for name, inputs_of_layer in (("0.weight", inputs), ("4.weight", hidden)):
        moment = inputs_of_layer.T @ inputs_of_layer / 70 + 1e-9 * torch.eye(inputs_of_layer.shape[1])
        rows = zip(state[name], masks[name], strict=True)
        expected = torch.stack([constrained(moment, row, alive == 0) for row, alive in rows])
        torch.testing.assert_close(network.get_parameter(name).detach(), expected, rtol=1e-6, atol=1e-7)
    for name in ("0.bias", "4.bias", "1.weight", "1.running_mean"):
        assert torch.equal(network.state_dict()[name], state[name])


CONVOLUTIONS: list[dict[str, Any]] = [
    {"kernel_size": 3, "stride": 2, "padding": 1},
    {"kernel_size": (2, 3), "stride": (1, 2), "padding": (0, 2)},
    {"kernel_size": 2, "dilation": 2, "padding": 1},
    {"kernel_size": 3, "padding": "same", "padding_mode": "circular"},
]


@pytest.mark.parametrize("options", CONVOLUTIONS)
def test_a_convolution_is_a_linear_layer_on_its_patches(problem_of: MakeProblem, options: dict[str, Any]) -> None:
    convolution, inputs = nn.Conv2d(2, 4, **options).double(), normals(25, 2, 6, 5)
    if options.get("padding_mode"):
        patches = unfold(pad(inputs, (1, 1, 1, 1), "circular"), 3)
    else:
        patches = unfold(inputs, **options)
    rows = patches.transpose(1, 2).flatten(0, 1)
    linear = nn.Linear(rows.shape[1], 4).double()
    linear.weight.data = convolution.weight.detach().flatten(1)
    linear.bias.data = convolution.get_parameter("bias").detach().clone()
    outputs = convolution(inputs).flatten(2).transpose(1, 2).flatten(0, 1)
    torch.testing.assert_close(outputs, linear(rows))
    ours, theirs = problem_of(convolution, inputs), problem_of(linear, rows)
    count = {"examples": len(rows)}
    one, other = layer_obs(ours, **count)["weight"], layer_obs(theirs, **count)["weight"]
    torch.testing.assert_close(one, other.view_as(one), rtol=1e-6, atol=0)
    mask = (torch.rand_like(one) > 0.6).double()
    correct(ours, {"weight": mask}, **count)
    correct(theirs, {"weight": mask.flatten(1)}, **count)
    torch.testing.assert_close(convolution.weight.flatten(1), linear.weight, rtol=1e-6, atol=1e-9)
    assert bool((convolution.weight[mask == 0] == 0).all())


@pytest.mark.parametrize("layer", [nn.Conv1d(2, 3, 3, stride=2, padding=1), nn.Conv3d(2, 3, 2, dilation=(1, 2, 1))])
def test_convolutions_of_other_dimensions(problem_of: MakeProblem, layer: nn.Module) -> None:
    layer, shape = layer.double(), (10, 2, 7) if isinstance(layer, nn.Conv1d) else (10, 2, 3, 4, 3)
    inputs, weight = normals(*shape), layer.get_parameter("weight").detach()
    moment = input_moments(problem_of(layer, inputs), damping=1e-12)["weight"]
    # The mean square of an output without bias is w H w.
    outputs = (layer(inputs) - layer.get_parameter("bias").view(-1, *[1] * (inputs.dim() - 2))).movedim(1, 0)
    for row, values in zip(weight.flatten(1), outputs.detach(), strict=True):
        assert float(row @ moment @ row) == pytest.approx(float(values.square().mean()), rel=1e-9)


def test_a_weight_that_two_layers_share_has_the_inputs_of_both(problem_of: MakeProblem) -> None:
    network = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4)).double()
    network[2].weight = network[0].weight
    inputs = normals(30, 4)
    moments = input_moments(problem_of(network, inputs), damping=1e-12)
    both = torch.cat([inputs, network[:2](inputs).detach()])
    assert list(moments) == ["0.weight"]
    torch.testing.assert_close(moments["0.weight"], both.T @ both / 60)


@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_inputs_that_say_nothing_are_no_trouble(problem_of: MakeProblem, scale: float) -> None:
    inputs = scale * normals(30, 6)
    inputs[:, 0], inputs[:, 1] = 0.0, inputs[:, 2]
    layer = nn.Linear(6, 3)
    scores = layer_obs(problem_of(layer, inputs))["weight"]
    assert bool(torch.isfinite(scores).all()) and float(scores.min()) > 0
    # A constant 0 and one of two equal inputs cost next to nothing.
    assert float(scores[:, :3].max()) < 1e-3 * float(scores[:, 3:].min())


def nearly_equal(noise: float) -> Tensor:
    """Inputs [200, 6]: the second is the first but for noise, the fourth a tiny one, the fifth the sum of two."""
    inputs = normals(200, 6)
    inputs[:, 1] = inputs[:, 0] + noise * inputs[:, 1]
    inputs[:, 3] *= 1e-3
    inputs[:, 4] = inputs[:, 2] + inputs[:, 5] + noise * inputs[:, 4]
    return inputs


@pytest.mark.parametrize(("noise", "damping"), [(1e-2, 1e-15), (1e-5, 1e-13), (0.0, 3e-12), (1e-9, 1e-9), (0.0, 1e-6)])
def test_nearly_dependent_inputs_give_the_ridge_solution(problem_of: MakeProblem, noise: float, damping: float) -> None:
    """Against a QR solution of the stacked system, whose condition is the square root of that of H."""
    layer, inputs = nn.Linear(6, 4), nearly_equal(noise)
    before, mask = layer.weight.detach().double(), torch.ones(4, 6)
    mask[0, 0] = mask[1, [1, 2]] = mask[2, 3] = mask[3, [0, 4]] = 0
    problem = problem_of(layer, inputs)
    assert bool(torch.isfinite(layer_obs(problem, damping=damping)["weight"]).all())
    correct(problem, {"weight": mask}, damping=damping)
    ridge = (damping * max(1.0, float(inputs.square().mean()))) ** 0.5
    stacked = torch.cat([inputs / 200**0.5, ridge * torch.eye(6, dtype=torch.float64)])
    for found, row, alive in zip(layer.weight.detach(), before, mask != 0, strict=True):
        target = stacked[:, ~alive] @ row[~alive].unsqueeze(1)
        change = torch.linalg.lstsq(stacked[:, alive], target, driver="gelsd").solution.squeeze(1)
        torch.testing.assert_close(found[alive], row[alive] + change, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(("noise", "damping"), [(0.0, 1e-30), (0.0, 1e-16), (0.0, 1e-14), (1e-8, 1e-30), (1e-7, 1e-16)])
def test_inputs_that_depend_but_for_rounding_are_refused(problem_of: MakeProblem, noise: float, damping: float) -> None:
    """Whatever a factorization makes of them; the damping that the message names is enough."""
    problem = problem_of(nn.Linear(6, 4), nearly_equal(noise))
    mask = {"weight": torch.tensor([[1.0, 1, 1, 1, 1, 0]]).expand(4, 6)}
    refusal = "layer 'weight' depend on each other: give a larger damping, such as 1e-6"
    with pytest.raises(SettingError, match=refusal):
        layer_obs(problem, damping=damping)
    with pytest.raises(SettingError, match=refusal):
        correct(problem, mask, damping=damping)
    correct(problem, mask, damping=1e-6)
    assert float(problem.weights()["weight"].detach().abs().max()) < 3


def test_weights_that_are_dead_score_zero_and_stay_dead(problem_of: MakeProblem) -> None:
    layer = nn.Linear(5, 3)
    mask = torch.ones(3, 5)
    mask[:, 1] = 0
    layer.weight.data *= mask
    problem = problem_of(layer, normals(30, 5), {"weight": mask})
    assert bool((layer_obs(problem)["weight"][:, 1] == 0).all())
    mask[0, 0] = 0
    rest = layer.weight.detach()[1:].clone()
    correct(problem, {"weight": mask})
    assert bool((layer.weight[mask == 0] == 0).all())
    assert torch.equal(layer.weight[1:], rest)  # nothing new was removed there


class Forked(nn.Module):
    """A layer that is never called."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.spare = nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.used(inputs)
        return outputs


def test_layers_that_cannot_be_treated_are_named(problem_of: MakeProblem) -> None:
    images = normals(10, 2, 5, 5)
    cases = [
        (nn.Sequential(nn.Conv2d(2, 4, 3), nn.Conv2d(4, 4, 3, groups=2)), images, "layer '1', a convolution in 2 gr"),
        (nn.Sequential(nn.ConvTranspose2d(2, 4, 3)), images, "layer '0', a convolution transposed"),
        (Forked(), normals(10, 4), "layer 'spare' is not called"),
    ]
    for network, inputs, message in cases:
        with pytest.raises(NetworkError, match=message):
            layer_obs(problem_of(network, inputs))
        assert not any(module._forward_pre_hooks for module in network.modules())
    # A layer that gets no mask is no trouble for the correction.
    correct(problem_of(cases[0][0], images), {"0.weight": torch.ones(4, 2, 3, 3)})
    with pytest.raises(NetworkError, match="mask 'nowhere.weight' .* fits no weight"):
        correct(problem_of(Forked(), normals(10, 4)), {"nowhere.weight": torch.ones(3, 4)})
    with pytest.raises(NetworkError, match="mask 'used.weight' .* fits no weight"):
        correct(problem_of(Forked(), normals(10, 4)), {"used.weight": torch.ones(3, 3)})


def test_what_is_no_number_is_refused_by_name(problem_of: MakeProblem) -> None:
    network, inputs = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)), normals(10, 4)
    problem = problem_of(network, inputs)
    inputs[3, 1] = torch.nan
    with pytest.raises(NetworkError, match="inputs of layer '0' hold NaN"):
        layer_obs(problem)
    network.get_parameter("1.weight").data[0, 0] = torch.nan
    with pytest.raises(NetworkError, match="weights of layer '1' hold NaN"):
        layer_obs(problem)


def test_settings_that_cannot_be_are_refused(problem_of: MakeProblem) -> None:
    inputs = normals(10, 4)
    inputs[:, 1] = inputs[:, 0]
    problem = problem_of(nn.Linear(4, 3), inputs)
    for wrong in ({"examples": 0}, {"damping": 0.0}, {"damping": float("nan")}):
        with pytest.raises(SettingError, match=next(iter(wrong))):
            layer_obs(problem, **wrong)
    with pytest.raises(SettingError, match="layer 'weight' depend on each other: give a larger damping"):
        layer_obs(problem, damping=1e-30)
