"""Published rows: their parameters and MACs are counted again from networks of the printed widths."""

from math import exp, log1p

import pytest
import torch

from bayesprune.experiments.papers.published import Published
from bayesprune.experiments.papers.spike_slab import runs
from bayesprune.experiments.papers.spike_slab.published import PUBLISHED, TRAJECTORY
from bayesprune.models import MLP, LeNet5
from tests.experiments.papers.parsimonious.test_published import counted, perceptron

PERCEPTRONS = [row for name in ("mnist-mlp", "fashion-mlp") for row in PUBLISHED[name] if row.macs is not None]
LENETS = [row for name in ("mnist-lenet", "fashion-lenet") for row in PUBLISHED[name]]


def widths(row: Published) -> list[int]:
    """The numbers of an architecture."""
    return [int(width) for width in row.architecture.split("-")]


@pytest.mark.parametrize("row", PERCEPTRONS, ids=lambda row: f"{row.method} {row.architecture}")
def test_perceptrons(row: Published) -> None:
    assert (row.params, row.macs) == counted(perceptron(widths(row)))


@pytest.mark.parametrize("row", LENETS, ids=lambda row: f"{row.method} {row.architecture}")
def test_convolutional_networks(row: Published) -> None:
    first, second, inputs, *units = widths(row)
    layers = [
        (torch.nn.Conv2d(1, first, 5), torch.Size([1, 1, 28, 28])),
        (torch.nn.Conv2d(first, second, 5), torch.Size([1, first, 12, 12])),
        *perceptron([inputs, *units]),
    ]
    assert (row.params, row.macs) == counted(layers) and inputs == 16 * second


def test_the_logs_count_biases_in_flops() -> None:
    ours = PUBLISHED["mnist-mlp"][0]
    assert pytest.approx(TRAJECTORY[1199][0], abs=0.05) == 100 * 56_550 / 478_410 and ours.params == 56_550


def test_what_bmrs_leaves_in_parameters() -> None:
    dense = sum(one.numel() for one in LeNet5((6, 16, 120, 84), (1, 32, 32), 10).parameters())
    rows = {row.method: row for row in PUBLISHED["bmrs-lenet5"]}
    assert dense == rows["dense"].params == 61_706
    assert rows["BMRS_N"].params == round(0.131 * dense) and rows["BMRS_U-4"].params == round(0.124 * dense)
    assert rows["BMRS_U-4"].params == runs.BMRS_PARAMS
    perceptron_ = sum(one.numel() for one in MLP((100,) * 7).parameters())
    assert round(0.511 * perceptron_) == runs.BMRS_MLP_PARAMS


def test_the_recipe_is_that_of_the_public_code() -> None:
    assert runs.RECIPE_OPTIONS["deviation"] == pytest.approx(log1p(exp(-6)), rel=1e-4)
