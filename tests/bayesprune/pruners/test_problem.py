"""What scores get to see, and what bad input gets."""

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from bayesprune.data import Data, from_loaders, from_tensors
from bayesprune.errors import DataError, NetworkError
from bayesprune.models import LeNet300
from bayesprune.pruners.problem import Problem, check_finite
from bayesprune.structure import find, weights_of


def problem_of(data: Data, network: nn.Module | None = None) -> Problem:
    network = network or LeNet300((12, 8), (1, 6, 6), 3)
    return Problem(network, find(network, torch.zeros(2, *data.input_shape)), data, {})


def test_examples_are_drawn_without_replacement(small_data: Data) -> None:
    problem = problem_of(small_data)
    torch.manual_seed(0)
    inputs, labels = problem.examples(50)
    assert inputs.shape == (50, 1, 6, 6) and labels.shape == (50,)
    assert len(inputs.flatten(1).unique(dim=0)) == 50
    other, _ = problem.examples(50)
    assert not torch.equal(inputs, other)
    torch.manual_seed(0)
    assert torch.equal(problem.examples(50)[0], inputs)
    every, _ = problem.examples(10**6)
    assert len(every) == len(small_data.train)


def test_one_class_tells_a_score_nothing() -> None:
    # 30 of 32 training examples have class 0.
    labels = torch.zeros(40, dtype=torch.long)
    labels[:3] = 1
    data = from_tensors(torch.randn(40, 1, 6, 6), labels, validation=4, test=4)
    network = LeNet300((12, 8), (1, 6, 6), 2)
    problem = problem_of(data, network)
    assert len(problem.labelled(40)[0]) == len(data.train)
    assert len(problem.examples(1)[1]) == 1
    with pytest.raises(DataError, match=r"all 1 examples of the scoring batch have class \d, .*larger batch"):
        problem.labelled(1)


def test_weights_are_those_of_linear_and_convolution_layers() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.PReLU(2), nn.Flatten(), nn.Linear(32, 3))
    assert list(weights_of(network)) == ["0.weight", "4.weight"]
    assert list(weights_of(nn.Linear(2, 2))) == ["weight"]
    assert list(weights_of(nn.Sequential(nn.Flatten(), nn.ReLU()))) == []


def test_a_weight_that_an_embedding_holds_first_is_found() -> None:
    network = nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 5))
    network[1].weight = network[0].weight
    assert list(weights_of(network)) == ["0.weight"]


def test_a_loader_has_batches_of_its_own_size(small_data: Data) -> None:
    def loader(size: int) -> DataLoader[tuple[torch.Tensor, ...]]:
        inputs, labels = next(iter(small_data.train.batches(200)))
        return DataLoader(TensorDataset(inputs, labels), batch_size=size, shuffle=True)

    problem = problem_of(from_loaders(loader(16), loader(16), loader(16), classes=3))
    for count in (5, 40):
        inputs, labels = problem.examples(count)
        assert len(inputs) == len(labels) == count and len(inputs.flatten(1).unique(dim=0)) == count


def test_a_weight_that_is_computed_is_left_out() -> None:
    network = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)), nn.Linear(4, 2))
    assert list(weights_of(network)) == ["1.weight"]


def test_a_shared_weight_is_there_once() -> None:
    network = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    network[2].weight = network[0].weight
    assert list(weights_of(network)) == ["0.weight"]


def test_what_is_no_number_is_named_by_its_layer() -> None:
    check_finite("scores", {"a": torch.ones(2)})
    for bad in (float("nan"), float("inf")):
        with pytest.raises(NetworkError, match="the gradients of layer 'fc2' hold NaN or infinite values: train with"):
            check_finite("gradients", {"fc1.weight": torch.ones(2), "fc2.weight": torch.tensor([1.0, bad])})
