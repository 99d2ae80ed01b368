"""The benchmark's brute force against the enumeration of all gates, and its table's numbers by hand."""

import pytest
import torch

from bayesprune.inference.guides import GateGuide
from bayesprune.inference.references.oracle import expected_loss
from bayesprune.models import LeNet300
from bayesprune.models.gated import GatedModel
from bayesprune.models.priors.gates import FlatteningGatePrior
from bayesprune.structure import compact, find
from benchmarks.estimators import Frozen, Measured, row, single_flips


@pytest.mark.parametrize("compacted", [False, True])
def test_single_flips_are_the_oracle_s_gradient(compacted: bool) -> None:
    """Decided gates leave nothing to chance: each flip is exactly dC/dtheta; also behind a selector."""
    torch.manual_seed(0)
    network, inputs, labels = LeNet300((3, 3), (5,), 3), torch.randn(20, 5), torch.randint(3, (20,))
    structure = find(network, inputs, inputs="all")
    if compacted:
        structure = compact(network, structure, torch.tensor([1, 0, 1, 1, 0, 1, 1, 1, 1, 1, 0]).bool())
    theta = torch.bernoulli(torch.full((structure.gate_count,), 0.6))
    model = GatedModel(network, structure, FlatteningGatePrior(torch.ones_like(theta)), 20)
    _, slopes = expected_loss(model, GateGuide(model, theta), inputs, labels)
    model.close()
    flips = single_flips(Frozen(network, structure, theta, 0.1), inputs, labels)
    torch.testing.assert_close(flips, slopes, rtol=1e-5, atol=1e-6)


def test_a_row_by_hand() -> None:
    """Price 0.1. Means off by 0.3, 0.3 in the first group, by nothing in the second; deviations 0.2, 0.1, 0.4.

    Of the gates that are undecided the second group has none, and the third one, which is right.
    """
    network = LeNet300((2, 2), (2,), 3)
    structure = find(network, torch.randn(2, 2), inputs="all")
    theta = torch.tensor([0.5, 0.5, 1.0, 1.0, 0.5, 0.0])
    truth = torch.tensor([-0.3, 0.0, -0.2, -0.2, 0.0, 0.0])
    mean = truth + torch.tensor([0.3, -0.3, 0.0, 0.0, 0.0, -0.2])
    variance = torch.tensor([0.04, 0.04, 0.01, 0.09, 0.16, 0.16])
    measured = Measured(mean, variance, 10_000, 0.004)
    line = row("x", measured, truth, torch.zeros(6), Frozen(network, structure, theta, 0.1), False, 0.002)
    assert line == "| x | 3.0 / 0 / 1.4 | 2 / 2 / 4 | .00 / 1.00 / .50 | 2.0 |"
    undecided = row("x", measured, truth, torch.zeros(6), Frozen(network, structure, theta, 0.1), True, 0.002)
    assert undecided == "| x | 3.0 / - / 0 | 2 / - / 4 | .00 / - / 1.00 | 2.0 |"
