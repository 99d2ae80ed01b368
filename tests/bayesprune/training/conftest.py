"""Small training states, and a loop written by hand to compare with."""

from collections.abc import Callable, Iterator
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn

from bayesprune.data import Data, TensorSplit
from bayesprune.models import LeNet300
from bayesprune.structure import find
from bayesprune.training import NegativeLogLikelihood, Phase, TrainState, adam, cosine

MakeState = Callable[..., TrainState]


@pytest.fixture
def make_state(small_data: Data) -> MakeState:
    """Makes a fresh state of a perceptron 36-12-8-3 (or of another network)."""

    def make(
        network: nn.Module | None = None, *, seed: int = 3, inputs: Literal["auto", "all", "none"] = "none"
    ) -> TrainState:
        if network is None:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                network = LeNet300((12, 8), (1, 6, 6), 3)
        example = next(iter(small_data.test.batches(2)))[0]
        return TrainState(network, find(network, example, inputs=inputs), example)

    return make


@pytest.fixture
def phase() -> Callable[..., Phase]:
    """Makes a plain phase."""

    def make(steps: int, name: str = "train", *, rate: float = 1e-2, noise: float = 0.0, **settings: Any) -> Phase:
        plain: dict[str, Any] = {
            "objective": NegativeLogLikelihood(noise),
            "optimizer": adam(rate, 1e-3),
            "schedule": cosine,
        }
        return Phase(name, steps, **plain | settings)

    return make


@pytest.fixture
def batches(small_data: Data) -> Callable[..., Iterator[tuple[Tensor, Tensor]]]:
    """All batches of all epochs in the documented order: shuffled by (seed, epoch) alone."""

    def walk(batch_size: int, seed: int, epochs: int) -> Iterator[tuple[Tensor, Tensor]]:
        split = small_data.train
        assert isinstance(split, TensorSplit)
        for epoch in range(epochs):
            generator = torch.Generator().manual_seed((seed * 1_000_003 + 1 + epoch) % 2**32)
            order = torch.randperm(len(split), generator=generator)
            for rows in order.split(batch_size):
                yield split.inputs[rows], split.labels[rows]

    return walk
