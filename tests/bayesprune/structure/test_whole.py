"""Every layer that keeps its channels is listed with the reason."""

import re

import torch
from torch import Tensor, nn

from bayesprune.structure import compact, find

IMAGES = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(0))


class Spatial(nn.Module):
    """A map of one channel scales all others; two layers have no part in it."""

    def __init__(self) -> None:
        super().__init__()
        self.wide, self.map, self.next = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 1, 1), nn.Conv2d(8, 4, 1)
        self.kept, self.head, self.never = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 2, 1), nn.Linear(3, 3)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.wide(images).relu()
        outputs: Tensor = self.head(self.kept(self.next(maps * self.map(maps).sigmoid()).relu()).relu())
        return outputs


def test_layers_left_whole_are_listed_with_the_reason() -> None:
    structure = find(Spatial(), IMAGES, keep=["kept"])
    assert structure.slices() == {"wide": slice(0, 8), "next": slice(8, 12)}
    assert list(structure.whole) == ["map", "kept", "head", "never"]
    assert structure.whole["kept"] == "named in keep" and structure.whole["never"] == "it is never run"
    assert structure.whole["head"] == "its channels are outputs of the network"
    assert re.fullmatch(r"its one channel acts on several others \(at test_whole.py:\d+\)", structure.whole["map"])


def test_the_list_stays_when_the_network_shrinks() -> None:
    network = Spatial()
    structure = find(network, IMAGES)
    smaller = compact(network, structure, torch.arange(structure.gate_count) % 2 == 0)
    assert smaller.whole == structure.whole
