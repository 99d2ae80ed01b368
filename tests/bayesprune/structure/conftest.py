"""A zoo of small networks with every way in which channels are coupled, and nothing at its initial value."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bayesprune.models.networks import LeNet5, LeNet300
from bayesprune.structure import Structure, find


class DepthwiseSeparable(nn.Module):
    """Expansion, strided depthwise and projection convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU6(inplace=True))
        self.depthwise = nn.Sequential(nn.Conv2d(6, 6, 3, stride=2, padding=1, groups=6), nn.BatchNorm2d(6), nn.ReLU6())
        self.pointwise = nn.Sequential(nn.Conv2d(6, 8, 1), nn.BatchNorm2d(8), nn.Sigmoid())
        self.head = nn.Linear(8, 4)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.pointwise(self.depthwise(self.stem(images)))
        logits: Tensor = self.head(maps.mean((2, 3)))
        return logits


class Concatenating(nn.Module):
    """A dense block, the network's input among what is concatenated, and a sum with a concatenation."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(5, 5, 3, padding=1)
        self.norm = nn.BatchNorm2d(10)
        self.left, self.right, self.whole = nn.Conv2d(10, 3, 1), nn.Conv2d(10, 4, 1), nn.Conv2d(10, 7, 1)
        self.last = nn.Conv2d(7, 6, 3, stride=2)
        self.head = nn.Linear(6 * 3 * 3, 4)

    def forward(self, images: Tensor) -> Tensor:
        maps = torch.cat([images, self.first(images).relu()], 1)
        maps = self.norm(torch.cat([maps, self.second(maps).relu()], 1))
        maps = self.whole(maps) + torch.cat([self.left(maps), self.right(maps)], 1)
        logits: Tensor = self.head(self.last(maps.tanh()).flatten(1))
        return logits


class _Block(nn.Module):
    def __init__(self, reads: int, writes: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(reads, 5, 3, stride, 1, bias=False), nn.BatchNorm2d(5)
        self.conv2, self.norm2 = nn.Conv2d(5, writes, 3, 1, 1, bias=False), nn.BatchNorm2d(writes)
        plain = reads == writes and stride == 1
        self.bypass = (
            nn.Identity() if plain else nn.Sequential(nn.Conv2d(reads, writes, 1, stride), nn.BatchNorm2d(writes))
        )

    def forward(self, maps: Tensor) -> Tensor:
        inner = self.norm2(self.conv2(self.norm1(self.conv1(maps)).relu()))
        summed: Tensor = (self.bypass(maps) + inner).relu()
        return summed


class Residual(nn.Module):
    """Two residual streams with batch normalisation; one convolution reads and writes the same stream."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.blocks = nn.Sequential(_Block(6, 6, 1), _Block(6, 8, 2), _Block(8, 8, 1))
        self.mixer = nn.Conv2d(8, 8, 1)
        self.head = nn.Linear(8, 4)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.blocks(self.stem(images))
        logits: Tensor = self.head((maps + self.mixer(maps)).amax((2, 3)))
        return logits


class Parametric(nn.Module):
    """PReLU with one slope a channel, and with a single one."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.act1 = nn.Conv2d(1, 5, 3), nn.PReLU(5)
        self.conv2, self.act2 = nn.Conv2d(5, 6, 3), nn.PReLU()
        self.fc1, self.act3, self.fc2 = nn.Linear(6 * 4 * 4, 7), nn.PReLU(7), nn.Linear(7, 4)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.act2(self.conv2(self.act1(self.conv1(images))))
        logits: Tensor = self.fc2(self.act3(self.fc1(maps.flatten(1))))
        return logits


class Transposed(nn.Module):
    """Down and up again."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.norm1 = nn.Conv2d(2, 6, 3, stride=2), nn.InstanceNorm2d(6)
        self.up, self.norm2 = nn.ConvTranspose2d(6, 5, 3, stride=2), nn.BatchNorm2d(5)
        self.out = nn.Conv2d(5, 2, 1)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.norm2(self.up(self.norm1(self.down(images)).relu())).relu()
        painted: Tensor = self.out(maps)
        return painted


class OneDimensional(nn.Module):
    """Convolutions over time."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.norm = nn.Conv1d(2, 5, 3), nn.BatchNorm1d(5)
        self.conv2 = nn.Conv1d(5, 6, 3, stride=2, padding=1)
        self.fc1, self.fc2 = nn.Linear(6 * 5, 8), nn.Linear(8, 3)

    def forward(self, series: Tensor) -> Tensor:
        hidden = self.conv2(self.norm(self.conv1(series)).relu()).relu()
        logits: Tensor = self.fc2(self.fc1(hidden.flatten(1)).tanh())
        return logits


class Volumetric(nn.Module):
    """Convolutions over volumes, and a normalisation without statistics or parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(1, 4, 2)
        self.norm = nn.BatchNorm3d(4, affine=False, track_running_stats=False)
        self.conv2, self.head = nn.Conv3d(4, 5, 2), nn.Linear(5, 3)

    def forward(self, volumes: Tensor) -> Tensor:
        logits: Tensor = self.head(self.conv2(self.norm(self.conv1(volumes)).relu()).flatten(2).mean(2))
        return logits


class TokenMixer(nn.Module):
    """Linear layers over the last axis of [B, T, F], one of them used twice; a residual stream of features."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.inner, self.shared = nn.Linear(5, 6), nn.Linear(6, 7), nn.Linear(7, 6)
        self.head = nn.Linear(6, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        stream = self.embed(tokens)
        for _ in range(2):
            stream = stream + self.shared(self.inner(stream).sigmoid())
        logits: Tensor = self.head(stream.mean(1))
        return logits


class SqueezeExcite(nn.Module):
    """Channels multiplied by what a bypass says of them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.squeeze, self.excite = nn.Conv2d(3, 6, 3), nn.Linear(6, 4), nn.Linear(4, 6)
        self.after, self.head = nn.Conv2d(6, 5, 3), nn.Linear(5, 3)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.conv(images).relu()
        factors = self.excite(self.squeeze(maps.mean((2, 3))).relu()).sigmoid()
        logits: Tensor = self.head(self.after(maps * factors[:, :, None, None]).relu().mean((2, 3)))
        return logits


@dataclass
class Case:
    """A network whose tensors are all random, an example, and the structure found."""

    network: nn.Module
    example: Tensor
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.structure: Structure = find(self.network, self.example, **self.options)

    def copy(self) -> nn.Module:
        return deepcopy(self.network)

    def gates(self, seed: int, structure: Structure | None = None) -> Tensor:
        """Random open gates with a random share open, none of the groups empty."""
        structure = structure or self.structure
        generator = torch.Generator().manual_seed(seed)
        density = float(torch.rand(1, generator=generator))
        random = torch.rand(structure.gate_count, generator=generator)
        return structure.protect(random < density, random)


@torch.no_grad()
def randomised(network: nn.Module, seed: int = 0) -> nn.Module:
    """Give normalisations and PReLUs random parameters and statistics, so that nothing hides behind 0 and 1."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, (nn.PReLU, nn.modules.batchnorm._NormBase)):
            for tensor in (*module.parameters(), *module.buffers()):
                if tensor.is_floating_point():
                    tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.3)
    return network.eval()


ZOO: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], dict[str, Any]]] = {
    "lenet300": (LeNet300, (1, 28, 28), {}),
    "lenet5": (LeNet5, (1, 28, 28), {}),
    "lenet5-flatten": (LeNet5, (1, 28, 28), {"flatten_inputs": True}),
    "lenet5-all": (lambda: LeNet5(input_shape=(3, 20, 20)), (3, 20, 20), {"inputs": "all", "flatten_inputs": True}),
    "depthwise": (DepthwiseSeparable, (3, 9, 9), {"inputs": "all"}),
    "concatenating": (Concatenating, (1, 8, 8), {"flatten_inputs": True}),
    "residual": (Residual, (3, 8, 8), {"inputs": "all"}),
    "prelu": (Parametric, (1, 8, 8), {"flatten_inputs": True}),
    "transposed": (Transposed, (2, 9, 9), {}),
    "series": (OneDimensional, (2, 12), {"flatten_inputs": True}),
    "volumes": (Volumetric, (1, 5, 5, 5), {}),
    "tokens": (TokenMixer, (4, 5), {}),
    "squeeze-excite": (SqueezeExcite, (3, 8, 8), {"inputs": "all"}),
}


def make_case(name: str) -> Case:
    make, shape, options = ZOO[name]
    torch.manual_seed(len(name))
    return Case(randomised(make()), torch.randn(3, *shape), options)


@pytest.fixture(scope="session", params=list(ZOO))
def case(request: pytest.FixtureRequest) -> Case:
    """Every network of the zoo; tests work on copies."""
    return make_case(request.param)


@pytest.fixture(scope="session")
def zoo() -> Callable[[str], Case]:
    """One network of the zoo by name."""
    return make_case


@pytest.fixture(scope="session")
def randomise() -> Callable[[nn.Module], nn.Module]:
    """Give normalisations and PReLUs random parameters and statistics."""
    return randomised
