"""Attention, recurrent layers and normalisations, pruned from beginning to end, saved, loaded and looked at."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import bayesprune as bp
from tests.bayesprune.structure.by_hand import Sequences, SmallViT

EXAMPLES = 90


def tokens() -> tuple[Tensor, Tensor]:
    ids = torch.randint(0, 11, (EXAMPLES, 7))
    return ids, (ids[:, 0] > 5).long() + (ids[:, 3] > 5).long()


def patches() -> tuple[Tensor, Tensor]:
    images = torch.randn(EXAMPLES, 6, 5)
    return images, (images.mean(1)[:, 0] > 0).long() + (images.mean(1)[:, 1] > 0).long()


class Grouped(nn.Module):
    """Two convolutions with a normalisation of groups between them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.second = nn.Conv2d(1, 8, 3), nn.GroupNorm(4, 8), nn.Conv2d(8, 6, 3)
        self.head = nn.Linear(6, 3)

    def forward(self, patches: Tensor) -> Tensor:
        maps = self.second(torch.relu(self.norm(self.first(patches.unsqueeze(1)))))
        said: Tensor = self.head(torch.relu(maps).mean((2, 3)))
        return said


NETWORKS: dict[str, tuple[Callable[[], nn.Module], Callable[[], tuple[Tensor, Tensor]]]] = {
    "transformer": (SmallViT, patches),
    "lstm": (lambda: Sequences(nn.LSTM, num_layers=2, bidirectional=True), tokens),
    "group norm": (Grouped, patches),
}


@pytest.mark.filterwarnings("ignore::bayesprune.errors.PruningWarning")
@pytest.mark.parametrize("method", ["parsimonious", pytest.param("l1-units", marks=pytest.mark.long)])
@pytest.mark.parametrize("name", NETWORKS)
def test_pruned_saved_and_loaded(name: str, method: str, tmp_path: Path) -> None:
    make, examples = NETWORKS[name]
    data = examples()
    budget = "params=60%" if method == "l1-units" else None
    pruned = bp.prune(make(), data, method=method, epochs=2, seed=0, budget=budget)
    sizes = {group.name: len(group.kept) for group in pruned.structure.groups}
    if method == "l1-units":
        params = sum(parameter.numel() for parameter in pruned.network.parameters())
        assert params <= 0.6 * sum(parameter.numel() for parameter in make().parameters())
    pruned.save(tmp_path / "run")
    again = bp.load(tmp_path / "run", factory=make)
    assert {group.name: len(group.kept) for group in again.structure.groups} == sizes
    with torch.no_grad():
        assert torch.equal(again.network(data[0]), pruned.network.eval()(data[0]))
    if method == "parsimonious":
        evidence = pruned.evidence(examples=30)
        assert len(evidence) == pruned.structure.gate_count
        assert evidence.replayed == (name == "group norm")
