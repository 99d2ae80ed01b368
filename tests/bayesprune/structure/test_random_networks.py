"""Networks drawn at random: what is found is exact, and next to nothing is refused."""

import random
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bayesprune.errors import UnsupportedLayerError
from bayesprune.structure import ExpectedCost, Gating, Structure, compact, find, layer_costs


class Drawn(nn.Module):
    """A random graph of convolutions, normalisations, sums and concatenations; two linear layers at the end.

    `steps` lists what is done, each with the numbers of the feature maps it is done to; map 0 is the input.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._random = random.Random(seed)
        self.layers = nn.ModuleDict()
        self.steps: list[tuple[str, list[int]]] = []
        self.channels = [self._random.randint(1, 3)]
        for _ in range(self._random.randint(3, 9)):
            self._draw(self._random.randrange(len(self.channels)))
        last = len(self.channels) - 1
        self.ends = [last, self._random.randrange(last + 1)] if self._random.random() < 0.4 else [last]
        self.pooled, self.flatten_first = (self._random.random() < 0.3 for _ in range(2))
        self._drop_unused()
        width = sum(self.channels[end] for end in self.ends) * (1 if self.pooled else 25)
        self.hidden, self.head = nn.Linear(width, 5), nn.Linear(5, 3)

    def _draw(self, source: int) -> None:
        """Add one step on a feature map."""
        reads, writes = self.channels[source], self._random.randint(2, 6)
        made: dict[str, tuple[nn.Module, int]] = {
            "pointwise": (nn.Conv2d(reads, writes, 1, bias=False), writes),
            "padded": (nn.Conv2d(reads, writes, 3, padding=1), writes),
            "transposed": (nn.ConvTranspose2d(reads, writes, 1), writes),
            "depthwise": (nn.Conv2d(reads, reads, 3, padding=1, groups=reads), reads),
            "norm": (nn.BatchNorm2d(reads), reads),
            "slopes": (nn.PReLU(reads), reads),
            "slope": (nn.PReLU(), reads),
            "sigmoid": (nn.Sigmoid(), reads),
            "relu": (nn.ReLU(inplace=False), reads),
            "pool": (nn.AvgPool2d(3, 1, 1), reads),
        }
        kind = self._random.choice([*made, "sum", "cat", "cat"])
        other = self._random.randrange(len(self.channels))
        if kind in made:
            name = f"{kind}{len(self.steps)}"
            self.layers[name] = made[kind][0]
            self.steps.append((name, [source]))
            self.channels.append(made[kind][1])
        elif kind == "cat" or self.channels[other] == reads:
            self.steps.append((kind, [source, other]))
            self.channels.append(reads if kind == "sum" else reads + self.channels[other])

    def _drop_unused(self) -> None:
        """Leave out steps without an effect: they would run, though no gradient tells what they read."""
        used = set(self.ends)
        for number in range(len(self.steps), 0, -1):
            name, sources = self.steps[number - 1]
            if number in used:
                used.update(sources)
            else:
                self.steps[number - 1] = ("nothing", [])
                if name in self.layers:
                    del self.layers[name]

    def forward(self, images: Tensor) -> Tensor:
        maps = [images]
        for name, sources in self.steps:
            parts = [maps[source] for source in sources]
            if name == "nothing":
                maps.append(images)
            elif name == "cat":
                maps.append(torch.cat(parts, 1))
            else:
                maps.append(parts[0] + parts[1] if name == "sum" else self.layers[name](parts[0]))
        ends = [maps[end].mean((2, 3)) if self.pooled else maps[end] for end in self.ends]
        rows = torch.cat([end.flatten(1) for end in ends], 1) if self.flatten_first else torch.cat(ends, 1).flatten(1)
        logits: Tensor = self.head(self.hidden(rows).relu())
        return logits


def drawn(seed: int, randomise: Any) -> tuple[Drawn, Tensor, Structure | None]:
    """A random network, an example, and what was found (None where it was refused)."""
    torch.manual_seed(seed)
    network = Drawn(seed)
    randomise(network)
    example = torch.randn(3, network.channels[0], 5, 5)
    try:
        options: Any = {"flatten_inputs": seed % 2 == 0, "inputs": "all" if seed % 3 == 0 else "auto"}
        return network, example, find(network, example, **options)
    except UnsupportedLayerError:
        return network, example, None


@torch.no_grad()
def check(network: nn.Module, example: Tensor, structure: Structure) -> None:
    """Gated, compacted, cost: all the same, for three draws of gates."""
    positions = {layer.name: layer.positions for layer in layer_costs(network, example)}
    cost = ExpectedCost(network, structure, positions)
    for density in (0.2, 0.5, 0.8):
        scores = torch.rand(structure.gate_count)
        gates = structure.protect(scores < density, scores)
        small = deepcopy(network)
        gating = Gating(network, structure)
        with gating.applied(gates.float()):
            expected = network(example)
        gating.remove()
        useful = structure.consistent(gates)
        compact(small, structure, useful)
        assert float((small(example) - expected).abs().max() / expected.abs().max()) <= 1e-5
        macs = sum(layer.macs for layer in layer_costs(small, example))
        params = sum(parameter.numel() for parameter in small.parameters())
        assert [part.item() for part in cost(useful.double())] == [macs, params]


@pytest.mark.parametrize("seed", range(12))
def test_a_random_network(seed: int, randomise: Any) -> None:
    network, example, structure = drawn(seed, randomise)
    assert structure is not None
    check(network, example, structure)


@pytest.mark.long
def test_many_random_networks(randomise: Any) -> None:
    refused = []
    for seed in range(100, 500):
        network, example, structure = drawn(seed, randomise)
        if structure is None:
            refused.append(seed)
        else:
            check(network, example, structure)
    assert len(refused) <= 4, refused
