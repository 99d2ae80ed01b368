"""Networks that torch refuses to copy are copied all the same, and share nothing."""

import threading
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bayesprune.errors import NetworkError
from bayesprune.structure.copying import copied

ROWS = torch.randn(2, 4, generator=torch.Generator().manual_seed(0))


class Keeping(nn.Module):
    """Keeps what it made at its last pass."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.seen = nn.Linear(4, 3), dict[str, list[Tensor]]()

    def forward(self, rows: Tensor) -> Tensor:
        self.seen["hidden"] = [self.layer(rows)]
        return self.seen["hidden"][0]


def test_an_activation_that_is_kept() -> None:
    network = Keeping()
    outputs = network(ROWS)
    copy: Any = copied(network)
    assert torch.equal(copy.seen["hidden"][0], outputs) and copy.seen["hidden"][0].is_leaf
    assert copy.layer.weight is not network.layer.weight and torch.equal(copy(ROWS), outputs)
    assert network.seen["hidden"][0] is outputs


def test_tensors_of_inference_mode_become_plain_ones() -> None:
    with torch.inference_mode():
        network = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
        copy = copied(network)
    assert all(tensor.is_inference() for tensor in network.parameters())
    assert not any(tensor.is_inference() for tensor in (*copy.parameters(), *copy.buffers()))
    copy(ROWS).sum().backward()
    assert all(parameter.grad is not None for parameter in copy.parameters())


def test_shared_parameters_stay_shared() -> None:
    network: Any = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    network[1].weight = network[0].weight
    copy: Any = copied(network)
    assert copy[0].weight is copy[1].weight is not network[0].weight


def test_what_cannot_be_copied_is_refused() -> None:
    network: Any = nn.Linear(4, 3)
    network.lock = threading.Lock()
    with pytest.raises(NetworkError, match="cannot be copied .*lock.*keep open files, locks and generators out"):
        copied(network)
