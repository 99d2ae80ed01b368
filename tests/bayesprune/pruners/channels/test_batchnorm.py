"""Channels by the scale of their normalisation."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from bayesprune.errors import NetworkError
from bayesprune.pruners.channels import batchnorm_scale
from bayesprune.pruners.problem import Problem

MakeProblem = Callable[..., Problem]
Networks = dict[str, Callable[[], nn.Module]]


def set_scales(problem: Problem, **scales: list[float]) -> None:
    for layer, values in scales.items():
        problem.network.get_parameter(f"{layer}.weight").data = torch.tensor(values, dtype=torch.float64)


def parts(problem: Problem) -> dict[str, list[float]]:
    scores = batchnorm_scale(problem)
    return {name: scores[place].tolist() for name, place in problem.structure.slices().items()}


def test_scales_are_summed_over_the_layers_that_write_a_channel(problem_of: MakeProblem, networks: Networks) -> None:
    problem = problem_of(networks["residual"](), flatten_inputs=True, inputs="all")
    set_scales(problem, norm0=[-2.0, 0.5, 1.0, 0.0], norm2=[0.5, -0.25, 0.0, 0.0], norm1=[0.125, -1.0, 2.25])
    # What has no normalisation stays longest: all of it at the largest score plus 1.
    assert parts(problem) == {
        "stem": [2.5, 0.75, 1.0, 0.0],
        "first": [0.125, 1.0, 2.25],
        "plain": [3.5] * 5,
        "last.inputs": [3.5] * 20,
        "inputs": [3.5],
    }


def test_channels_without_a_gate_have_no_part_in_it(problem_of: MakeProblem, networks: Networks) -> None:
    problem = problem_of(networks["concatenating"]())
    set_scales(problem, norm=[9.0, 1.0, -2.0, 3.0, 4.0])  # the first is the network's input
    assert list(parts(problem).values()) == [[1.0, 2.0, 3.0, 4.0]]


class Plain(nn.Module):
    """A normalisation without scales, or one whose channels stay."""

    def __init__(self, affine: bool) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3, affine=affine)
        self.hidden, self.last = nn.Linear(3, 4), nn.Linear(4, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.last(self.hidden(self.norm(self.conv(inputs)).mean((2, 3))).relu())
        return outputs


@pytest.mark.parametrize(("affine", "keep"), [(False, []), (True, ["conv", "norm"])])
def test_a_network_without_scales_is_refused(problem_of: MakeProblem, affine: bool, keep: list[str]) -> None:
    problem = problem_of(Plain(affine), keep=keep)
    with pytest.raises(NetworkError, match="none to prune by: use another score"):
        batchnorm_scale(problem)


def test_scales_that_are_no_numbers_are_refused_by_name(problem_of: MakeProblem, networks: Networks) -> None:
    problem = problem_of(networks["residual"]())
    set_scales(problem, norm1=[1.0, float("nan"), 1.0])
    with pytest.raises(NetworkError, match="scales of layer 'norm1' hold NaN"):
        batchnorm_scale(problem)
