"""Layers that run in training only belong to their groups, and the compact network trains."""

from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from bayesprune.structure import compact, find

IMAGES = torch.randn(3, 2, 6, 6, generator=torch.Generator().manual_seed(0))


class Auxiliary(nn.Module):
    """A second head reads the first feature map in training; its output is added or given back beside the logits."""

    def __init__(self, *, beside: bool, middle: nn.Module | None = None) -> None:
        super().__init__()
        self.beside, self.middle = beside, middle or nn.Identity()
        self.first, self.second = nn.Conv2d(2, 6, 3, padding=1), nn.Conv2d(6, 5, 3, padding=1)
        self.head, self.extra = nn.Linear(5, 3), nn.Conv2d(6, 3, 1)

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        maps = self.first(images).relu()
        logits: Tensor = self.head(nn.functional.dropout(self.second(maps).relu(), 0.5, self.training).mean((2, 3)))
        if not self.training:
            return logits
        extra: Tensor = self.extra(self.middle(maps)).mean((2, 3))
        return (logits, extra) if self.beside else logits + extra


@pytest.mark.parametrize("beside", [True, False])
def test_a_head_of_training_reads_its_group(beside: bool) -> None:
    torch.manual_seed(0)
    network = Auxiliary(beside=beside)
    structure = find(network, IMAGES)
    first = next(group for group in structure.groups if group.name == "first")
    assert first.consumers == ("second", "extra") and structure.whole.keys() == {"head", "extra"}
    # Removing channels whose filters are zero leaves what the network says in training as it is.
    closed = torch.ones(structure.gate_count, dtype=torch.bool)
    closed[[1, 4]] = False
    with torch.no_grad():
        for tensor in (network.first.weight, network.first.bias):
            assert tensor is not None
            tensor[[1, 4]] = 0.0
    small = deepcopy(network)
    compact(small, structure, closed)
    assert small.extra.weight.shape == (3, 4, 1, 1)
    outputs = []
    for each in (network, small):
        torch.manual_seed(5)
        outputs.append(each(IMAGES))
    for one, other in zip(*(each if isinstance(each, tuple) else (each,) for each in outputs), strict=True):
        torch.testing.assert_close(one, other)


class Unused(nn.Module):
    """A head that runs in both modes and has an effect in training only."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head, self.extra = nn.Linear(4, 6), nn.Linear(6, 3), nn.Linear(6, 3)

    def forward(self, rows: Tensor) -> Tensor:
        hidden = self.body(rows).relu()
        logits, extra = self.head(hidden), self.extra(hidden)
        return logits + extra if self.training else logits


def test_a_head_without_an_effect_in_evaluation_mode_is_seen() -> None:
    body = find(Unused(), torch.randn(2, 4, generator=torch.Generator().manual_seed(0))).groups[1]
    assert body.name == "body" and body.consumers == ("head", "extra")


def test_what_a_head_of_training_does_to_channels_counts() -> None:
    grouped = find(Auxiliary(beside=True, middle=nn.GroupNorm(2, 6)), IMAGES)
    assert {group.name: group.size for group in grouped.groups} == {"first": 2, "second": 5}
    mixed = find(Auxiliary(beside=False, middle=nn.Softmax(1)), IMAGES)
    assert mixed.slices() == {"second": slice(0, 5)} and "'softmax' mixes its channels" in mixed.whole["first"]
