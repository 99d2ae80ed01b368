"""What the benchmark of tangent kernels compares is the same step on all sides."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from bayesprune.models import LeNet5, LeNet300
from bayesprune.tangent import kernels
from bayesprune.tangent.capture import forward
from benchmarks.tangent_kernels import (
    WAYS,
    Problem,
    batched_slopes,
    by_factors,
    factorised,
    memory,
    of_teacher,
    plain_sides,
    rounding,
    tried,
    verdict,
    with_kernel,
)

NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "lenet300": partial(LeNet300, (12, 8)),
    "lenet5": partial(LeNet5, (4, 3, 16)),
}


@pytest.fixture(params=sorted(NETWORKS))
def problem(request: pytest.FixtureRequest) -> Problem:
    """A small student in float64."""
    torch.manual_seed(0)
    return Problem.of(NETWORKS[request.param](), 6).in_float64()


def gradients(problem: Problem, step: Callable[[], object]) -> dict[str, Tensor]:
    """What a step leaves in the network."""
    step()
    return {name: value.grad.clone() for name, value in problem.network.named_parameters() if value.grad is not None}


def test_all_ways_make_the_same_step(problem: Problem) -> None:
    usual = gradients(problem, partial(factorised, problem))
    assert len(usual) == len(list(problem.network.parameters()))
    others = {name: partial(way, problem) for name, way in WAYS.items()}
    others["kept"] = partial(with_kernel, problem, by_factors, of_teacher(problem, by_factors))
    for step in others.values():
        torch.testing.assert_close(gradients(problem, step), usual, rtol=1e-9, atol=1e-12)


def test_one_pass_for_all_logits_gives_their_gradients(problem: Problem) -> None:
    given = dict(problem.network.named_parameters())
    layers = {name: module for name, module in problem.network.named_modules() if isinstance(module, nn.Linear)}
    outputs, calls = forward(problem.network, given, problem.inputs, layers)
    at = [call.outputs for call in calls]
    torch.testing.assert_close(
        batched_slopes(outputs, at, create_graph=False), kernels.output_slopes(outputs, at, create_graph=False)
    )


def test_the_network_has_three_percent_of_its_weights(problem: Problem) -> None:
    whole = sum(mask.numel() for mask in problem.masks.values())
    kept = sum(int(mask.count_nonzero()) for mask in problem.masks.values())
    assert 0.02 * whole < kept <= 0.03 * whole
    assert sum(len(half) for half in problem.halves()) == 6


def test_what_is_tried_differs_in_what_its_name_says() -> None:
    torch.manual_seed(0)
    problem = Problem.of(NETWORKS["lenet5"](), 6)
    assert list(tried(problem)) == [
        "one batched backward pass for all logits", "teacher's kernels kept from before", "float64", "channels last",
    ]  # fmt: skip
    moved = problem.channels_last()
    tensors = [moved.inputs, moved.teacher["conv2.weight"], moved.network.get_parameter("conv2.weight")]
    assert all(tensor.is_contiguous(memory_format=torch.channels_last) for tensor in tensors)
    usual, other = (gradients(one, partial(factorised, one)) for one in (problem, moved))
    torch.testing.assert_close(other, usual, rtol=1e-3, atol=1e-5)
    assert problem.inputs.is_contiguous() and problem.inputs.dtype == torch.float32
    assert 0 < rounding(problem) < 1e-5


def test_both_steps_of_a_perceptron_learn() -> None:
    torch.manual_seed(0)
    problem = Problem.of(NETWORKS["lenet300"](), 6)
    before = {name: value.clone() for name, value in problem.teacher.items()}
    ours: Tensor = problem.network.get_parameter("fc1.weight")
    plain, transfer = plain_sides(problem)
    plain()
    assert torch.equal(ours, before["fc1.weight"])  # the other side has a network of its own
    transfer()
    moved = ours != before["fc1.weight"]
    assert bool(moved.any()) and not bool((moved & (problem.masks["fc1.weight"] == 0)).any())
    assert all(torch.equal(problem.teacher[name], value) for name, value in before.items())


@pytest.mark.parametrize(("share", "says"), [(0.25, "<= 0.25x: reached"), (0.26, "<= 0.25x: MISSED")])
def test_verdicts(share: float, says: str) -> None:
    assert verdict(share, 0.25) == says


@pytest.mark.long
def test_contraction_needs_more_memory() -> None:
    """For 8 images its two Jacobians alone hold 8 x 10 x 431,080 numbers of 4 bytes: 132 MiB."""
    assert memory("contraction", 8) > 132
    assert 5 < memory("factorised", 8) < 100
