"""Tiny problems in double precision, and derivatives found without the code under test."""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, hessian
from torch.nn.functional import cross_entropy

from bayesprune.data import Data, from_tensors
from bayesprune.pruners.problem import Batch, Problem
from bayesprune.structure import Structure

Loss = Callable[[dict[str, Tensor]], Tensor]


class PlainSplit:
    """Training examples of any precision and any labels."""

    def __init__(self, inputs: Tensor, labels: Tensor) -> None:
        self.inputs, self.labels = inputs, labels

    def __len__(self) -> int:
        return len(self.labels)

    def batches(self, batch_size: int, *, seed: int | None = None, start: int = 0) -> Iterator[Batch]:
        order = torch.arange(len(self))
        if seed is not None:
            order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
        for places in order[start * batch_size :].split(batch_size):
            yield self.inputs[places], self.labels[places]


class Lab:
    """What the tests here share."""

    @staticmethod
    def data(shape: tuple[int, ...], labels: Tensor | int = 24, precision: torch.dtype = torch.float64) -> Data:
        """Gaussian inputs; so many examples of three classes in turn, or examples with these labels."""
        targets = torch.arange(labels) % 3 if isinstance(labels, int) else labels
        inputs, few = torch.randn(len(targets), *shape, dtype=precision), torch.arange(3)
        others = (inputs[:3].float(), few)
        data = from_tensors(*others, validation=others, test=others, classes=3)
        return replace(data, train=PlainSplit(inputs, targets))

    @staticmethod
    def problem(network: nn.Module, data: Data, masks: dict[str, Tensor] | None = None) -> Problem:
        """A problem; the scores here do not look at its structure."""
        return Problem(network, Structure((), (), ()), data, masks or {})

    @staticmethod
    def batch(data: Data) -> Batch:
        """All training examples, in the order in which they lie."""
        return next(iter(data.train.batches(len(data.train))))

    @staticmethod
    def loss(network: nn.Module, data: Data, temperature: float = 1.0) -> Loss:
        """The mean cross-entropy of all training examples as a function of some of the parameters."""
        inputs, labels = Lab.batch(data)
        return lambda some: cross_entropy(functional_call(network, some, (inputs,)) / temperature, labels)

    @staticmethod
    def values(network: nn.Module, *names: str) -> dict[str, Tensor]:
        """Copies of these parameters."""
        return {name: network.get_parameter(name).detach().clone() for name in names}

    @staticmethod
    def mask_slopes(function: Loss, weights: dict[str, Tensor], step: float = 1e-5) -> dict[str, Tensor]:
        """Central differences in a mask that multiplies the weights, at a mask of ones."""
        slopes = {name: torch.zeros_like(weight) for name, weight in weights.items()}
        for name, weight in weights.items():
            for place in range(weight.numel()):
                sides = []
                for change in (step, -step):
                    mask = torch.ones_like(weight)
                    mask.view(-1)[place] += change
                    with torch.no_grad():
                        sides.append(float(function(weights | {name: weight * mask})))
                slopes[name].view(-1)[place] = (sides[0] - sides[1]) / (2 * step)
        return slopes

    @staticmethod
    def flat(function: Loss, weights: dict[str, Tensor]) -> tuple[Callable[[Tensor], Tensor], Tensor]:
        """The same function of all weights as one vector, and that vector."""
        vector = torch.cat([weight.flatten() for weight in weights.values()])
        return (lambda changed: function(Lab.unflat(changed, weights))), vector

    @staticmethod
    def unflat(vector: Tensor, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """A vector cut into tensors shaped like the weights."""
        parts = vector.split([weight.numel() for weight in weights.values()])
        return {name: part.view_as(weights[name]) for name, part in zip(weights, parts, strict=True)}

    @staticmethod
    def hessian(function: Callable[[Tensor], Tensor], vector: Tensor) -> Tensor:
        """All second derivatives of a function of a vector."""
        with warnings.catch_warnings():  # on first use torch scripts decompositions, and warns that scripting ends
            warnings.simplefilter("ignore", DeprecationWarning)
            second: Tensor = hessian(function)(vector).detach()
        return second

    @staticmethod
    def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor], rtol: float, atol: float = 0.0) -> None:
        """The same names in the same order, and equal numbers but for rounding."""
        assert list(found) == list(expected)
        for name, tensor in expected.items():
            torch.testing.assert_close(found[name], tensor, rtol=rtol, atol=atol)


class RootOfZero(nn.Module):
    """The identity, with a derivative that is infinite times zero."""

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs + (0 * inputs).sqrt()


@pytest.fixture
def lab() -> Lab:
    torch.manual_seed(0)
    return Lab()


@pytest.fixture
def torn(lab: Lab) -> Problem:
    """A network whose first layer's gradients are no numbers."""
    network = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 3), RootOfZero(), nn.Linear(3, 3)).double()
    return lab.problem(network, lab.data((4,)))
