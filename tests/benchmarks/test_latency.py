"""What the benchmark of latency compares: networks of the size that it says."""

import pytest
import torch
from torch import nn

from bayesprune.models import ResNet32
from benchmarks.latency import MULTIPLE, SHARE, Case, macs_of, rows, uniformly_cut, without_half_its_blocks

SHAPE = (1, 12, 12)


def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 24, 3), nn.ReLU(), nn.Conv2d(24, 40, 3), nn.ReLU(), nn.Flatten(), nn.Linear(40 * 64, 10)
    )


@pytest.mark.parametrize("multiple", [1, MULTIPLE])
def test_a_uniform_cut_leaves_the_share(multiple: int) -> None:
    network = small()
    smaller = uniformly_cut(network, SHAPE, multiple)
    share = macs_of(smaller, SHAPE) / macs_of(network, SHAPE)
    widths = [layer.out_channels for layer in smaller.children() if isinstance(layer, nn.Conv2d)]
    assert 0.5 * SHARE < share <= SHARE
    assert all(width % multiple == 0 for width in widths)
    assert multiple > 1 or abs(widths[0] / 24 - widths[1] / 40) < 1 / 20
    assert smaller(torch.zeros(2, *SHAPE)).shape == (2, 10)


def test_half_of_the_blocks_are_gone() -> None:
    network = ResNet32((4, 8, 16))
    smaller = without_half_its_blocks(network)
    blocks = [[*one.stage1, *one.stage2, *one.stage3] for one in (network, smaller)]
    gone = [sum(isinstance(block, nn.Identity) for block in each) for each in blocks]
    assert gone == [0, 7]  # of 13 that keep the shape
    assert smaller(torch.zeros(2, 3, 16, 16)).shape == (2, 10)


def test_rows_say_what_is_realised() -> None:
    network = small()
    case = Case("VGG-16", SHAPE, network, {"same": small()})
    (line,) = rows(case, 64, 2)
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[:3] == ["VGG-16", "64", "same"] and cells[5] == "1.000" and cells[8].startswith(">= 0.6")
    assert float(cells[7]) == pytest.approx(1 / float(cells[6]), rel=0.05, abs=0.006)  # of printed digits
    (line,) = rows(case, 1, 2)
    assert line.endswith("|  |")
