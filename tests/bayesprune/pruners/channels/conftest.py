"""Small networks in which channels are coupled in several ways, and problems over them in float64."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bayesprune.data import Data
from bayesprune.pruners.problem import Problem
from bayesprune.structure import find


class Doubles:
    """A split in float64, so that derivatives have digits to compare."""

    def __init__(self, inputs: Tensor, labels: Tensor) -> None:
        self.inputs, self.labels = inputs.double(), labels

    def __len__(self) -> int:
        return len(self.labels)

    def batches(self, batch_size: int, *, seed: int | None = None, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed or 0))
        for rows in order.split(batch_size)[start:]:
            yield self.inputs[rows], self.labels[rows]


class Residual(nn.Module):
    """A residual block: stem and second write the same channels, and so do their normalisations."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm0 = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.first, self.norm1 = nn.Conv2d(4, 3, 3), nn.BatchNorm2d(3)
        self.second, self.norm2 = nn.Conv2d(3, 4, 3, padding=2), nn.BatchNorm2d(4)
        self.plain, self.last = nn.Conv2d(4, 5, 3), nn.Linear(5 * 4, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        maps = self.norm0(self.stem(inputs))
        maps = (maps + self.norm2(self.second(self.norm1(self.first(maps)).relu()))).relu()
        outputs: Tensor = self.last(self.plain(maps).tanh().flatten(1))
        return outputs


class Concatenating(nn.Module):
    """Two layers that write a half each of what a third writes whole; a normalisation that reads the input as well."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.whole = nn.Conv2d(1, 2, 1), nn.Conv2d(1, 2, 1), nn.Conv2d(1, 4, 1)
        self.norm, self.last = nn.BatchNorm2d(5), nn.Linear(5, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        maps = torch.cat([self.left(inputs), self.right(inputs)], 1) + self.whole(inputs)
        outputs: Tensor = self.last(self.norm(torch.cat([inputs, maps], 1)).relu().mean((2, 3)))
        return outputs


@pytest.fixture
def networks() -> dict[str, Callable[[], nn.Module]]:
    """How to make each network, with random scales."""

    def randomised(make: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
        def made() -> nn.Module:
            network = make()
            for module in network.modules():
                if isinstance(module, nn.BatchNorm2d):
                    nn.init.uniform_(module.weight, -1.5, 1.5)
            return network

        return made

    return {"residual": randomised(Residual), "concatenating": randomised(Concatenating)}


MakeProblem = Callable[..., Problem]


@pytest.fixture
def problem_of(small_data: Data) -> MakeProblem:
    """Makes a problem in float64 over 40 examples of 1 x `size` x `size`, with the groups found."""

    def make(network: nn.Module, size: int = 4, *, labels: Tensor | None = None, **settings: Any) -> Problem:
        torch.manual_seed(5)
        network = network.double()
        inputs = torch.randn(40, 1, size, size, dtype=torch.float64)
        labels = torch.arange(40) % 3 if labels is None else labels
        data = replace(small_data, train=Doubles(inputs, labels))
        return Problem(network, find(network, inputs[:2], **settings), data, {})

    return make
