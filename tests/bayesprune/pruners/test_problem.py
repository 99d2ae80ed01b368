"""What scores get to see, and what bad input gets."""

from contextlib import suppress

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


def test_scoring_puts_back_all_that_it_changed(small_data: Data) -> None:
    """Frozen weights get gradients meanwhile and are frozen again; so are modes, gradients and running statistics."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(36, 8), nn.BatchNorm1d(8), nn.Dropout(), nn.Linear(8, 3))
    network[1].requires_grad_(False)
    network[2].eval()
    kept = network.get_parameter("4.weight")
    kept.grad = torch.ones_like(kept)
    modes = [module.training for module in network.modules()]
    buffers = {name: value.clone() for name, value in network.named_buffers()}
    problem = Problem(network, find(nn.Linear(36, 3), torch.zeros(2, 36)), small_data, {})
    with suppress(ZeroDivisionError), problem.scoring() as scored:
        assert scored.training and all(parameter.requires_grad for parameter in scored.parameters())
        scored(torch.randn(9, 1, 6, 6)).sum().backward()
        assert network[1].weight.grad is not None
        raise ZeroDivisionError
    frozen = [name for name, parameter in network.named_parameters() if not parameter.requires_grad]
    assert frozen == ["1.weight", "1.bias"] and network[1].weight.grad is None
    assert torch.equal(torch.as_tensor(kept.grad), torch.ones_like(kept))
    assert [module.training for module in network.modules()] == modes
    assert all(torch.equal(value, buffers[name]) for name, value in network.named_buffers())


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
