"""Published rows: their parameters and MACs are counted again from networks of the printed widths."""

import pytest
import torch
from torch import nn

from bayesprune.experiments.papers.parsimonious.published import LENET5, MLP, PUBLISHED
from bayesprune.experiments.papers.published import Published


def perceptron(widths: list[int]) -> list[tuple[nn.Module, torch.Size]]:
    """Layers with the shapes of their inputs."""
    sizes = [*widths, 10]
    return [(nn.Linear(a, b), torch.Size([1, a])) for a, b in zip(sizes, sizes[1:], strict=False)]


def convolutional(widths: list[int]) -> list[tuple[nn.Module, torch.Size]]:
    """Layers of LeNet-5-Caffe on 28x28, with as many inputs to the first linear layer as are printed."""
    first, second, inputs, units = widths
    return [
        (nn.Conv2d(1, first, 5), torch.Size([1, 1, 28, 28])),
        (nn.Conv2d(first, second, 5), torch.Size([1, first, 12, 12])),
        *perceptron([inputs, units]),
    ]


def counted(layers: list[tuple[nn.Module, torch.Size]]) -> tuple[int, int]:
    """Parameters, and MACs of one sample: every weight once for each place of the output it is used at."""
    params = macs = 0
    for layer, shape in layers:
        places = layer(torch.zeros(shape)).shape[2:].numel()
        params += sum(value.numel() for value in layer.parameters())
        macs += layer.weight.numel() * places  # type: ignore[operator]  # layers have tensors
    return params, macs


@pytest.mark.parametrize("row", [row for row in MLP if row.macs is not None], ids=lambda row: row.method)
def test_perceptrons(row: Published) -> None:
    assert (row.params, row.macs) == counted(perceptron([int(width) for width in row.architecture.split("-")]))


@pytest.mark.parametrize("row", LENET5, ids=lambda row: row.method)
def test_convolutional_networks(row: Published) -> None:
    assert (row.params, row.macs) == counted(convolutional([int(width) for width in row.architecture.split("-")]))


def test_the_count_itself_on_the_dense_networks() -> None:
    assert counted(perceptron([784, 300, 100])) == (266_610, 266_200)
    assert counted(convolutional([20, 50, 800, 500])) == (431_080, 2_293_000)


def test_what_was_not_read_again_says_so() -> None:
    remembered = {row.method for row in MLP if row.remembered}
    assert remembered == {"BC-GNJ", "BC-GHS", "L0, one lambda", "Sparse VD"}
    assert all(("remembered, not re-read" in row.said) >= row.remembered for rows in PUBLISHED.values() for row in rows)
    assert all(row.source and 0.5 < row.error < 2.0 for rows in PUBLISHED.values() for row in rows)
