"""Filters near the geometric median: distances by hand and by plain loops."""

from collections.abc import Callable
from math import dist

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bayesprune.errors import NetworkError
from bayesprune.pruners.channels import geometric_median
from bayesprune.pruners.problem import Problem

MakeProblem = Callable[..., Problem]
Networks = dict[str, Callable[[], nn.Module]]


def sums(vectors: list[list[float]]) -> list[float]:
    """For each vector the sum of its distances to all, one by one."""
    return [sum(dist(one, other) for other in vectors) for one in vectors]


def rows_of(*weights: Tensor) -> list[list[float]]:
    """Filters of several layers, concatenated."""
    return torch.cat([weight.detach().flatten(1) for weight in weights], 1).tolist()


def perceptron(rows: list[list[float]]) -> nn.Module:
    network = nn.Sequential(nn.Flatten(), nn.Linear(len(rows[0]), len(rows)), nn.ReLU(), nn.Linear(len(rows), 3))
    network[1].weight.data = torch.tensor(rows)
    return network


def test_distances_by_hand(problem_of: MakeProblem) -> None:
    # Units at (0,0,0,0), (3,4,0,0), (0,8,0,0): distances 5, 8 and 5.
    problem = problem_of(perceptron([[0.0, 0, 0, 0], [3, 4, 0, 0], [0, 8, 0, 0]]), 2)
    places, distances = problem.structure.slices(), geometric_median(problem)
    assert distances[places["1"]].tolist() == pytest.approx([13, 10, 13])
    # Inputs by the weights that read them: (0,3,0), (0,4,8), 0, 0.
    one, two, apart = 3.0, 80**0.5, 65**0.5
    expected = [apart + 2 * one, apart + 2 * two, one + two, one + two]
    assert distances[places["inputs"]].tolist() == pytest.approx(expected)


def test_filters_of_layers_that_are_added_up_are_concatenated(problem_of: MakeProblem, networks: Networks) -> None:
    problem = problem_of(networks["residual"](), flatten_inputs=True, inputs="all")
    weight, places = problem.network.get_parameter, problem.structure.slices()
    distances = geometric_median(problem)
    expected = {
        "stem": rows_of(weight("stem.weight"), weight("second.weight")),
        "first": rows_of(weight("first.weight")),
        "plain": rows_of(weight("plain.weight")),
        "last.inputs": rows_of(weight("last.weight").T),
        "inputs": rows_of(weight("stem.weight").movedim(1, 0)),
    }
    assert set(places) == set(expected)
    for name, vectors in expected.items():
        assert distances[places[name]].tolist() == pytest.approx(sums(vectors), rel=1e-9), name


def test_a_layer_that_writes_a_part_of_the_group_counts_as_zero_elsewhere(
    problem_of: MakeProblem, networks: Networks
) -> None:
    problem = problem_of(networks["concatenating"]())
    left, right, whole = (
        problem.network.get_parameter(f"{name}.weight").flatten().tolist() for name in ("left", "right", "whole")
    )
    vectors = [[left[0], 0, whole[0]], [left[1], 0, whole[1]], [0, right[0], whole[2]], [0, right[1], whole[3]]]
    (place,) = problem.structure.slices().values()
    assert geometric_median(problem)[place].tolist() == pytest.approx(sums(vectors), rel=1e-9)


def test_large_groups_are_done_in_parts_and_equal_filters_stay_equal(problem_of: MakeProblem) -> None:
    weights = np.random.default_rng(0).normal(size=(5, 400)).astype(np.float32)
    weights[:, 399] = weights[:, 7]
    problem = problem_of(perceptron(weights.tolist()), 20)
    distances = geometric_median(problem)[problem.structure.slices()["inputs"]].numpy()
    columns = weights.T.astype(np.float64)
    expected = np.sqrt(((columns[:, None] - columns[None]) ** 2).sum(2)).sum(1)
    np.testing.assert_allclose(distances, expected, rtol=1e-7)
    # Far from the origin, in float32, differences are lost where squares are subtracted.
    problem.network.float().get_parameter("1.weight").data += 100
    columns = problem.network.get_parameter("1.weight").detach().numpy().T.astype(np.float64)
    expected = np.sqrt(((columns[:, None] - columns[None]) ** 2).sum(2)).sum(1)
    distances = geometric_median(problem)[problem.structure.slices()["inputs"]].numpy()
    np.testing.assert_allclose(distances, expected, rtol=1e-6)


def test_weights_that_are_no_numbers_are_refused_by_name(problem_of: MakeProblem, networks: Networks) -> None:
    problem = problem_of(networks["residual"]())
    problem.network.get_parameter("first.weight").data[0, 0, 0, 0] = torch.nan
    with pytest.raises(NetworkError, match="weights of layer 'first' hold NaN"):
        geometric_median(problem)
