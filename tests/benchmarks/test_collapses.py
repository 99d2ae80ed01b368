"""No run destroys a network: twenty cases with seeds that no default was chosen with."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import bayesprune as bp
from bayesprune.errors import PruningWarning
from benchmarks.collapses import CASES, Case, cases, judged


@pytest.mark.long
@pytest.mark.parametrize("case", list(cases(len(CASES))), ids=lambda case: f"{case.network}-{case.epochs}-{case.seed}")
def test_a_run_never_destroys_a_network(case: Case) -> None:
    found = judged(case)
    assert not found.collapsed, f"{found.accuracy:.1f} % of {found.dense:.1f} %: {found.why}"


def test_a_network_that_was_destroyed_would_be_found() -> None:
    """The judge itself: a price that leaves one unit a layer is no collapse, since larger networks cost more."""
    found = judged(Case("residual", 1, {"price": 1e6}, seed=1))
    assert not found.collapsed


def few_images(seed: int) -> bp.data.Data:
    """240 noisy images of four patterns to train on, and 400 to test."""
    generator = torch.Generator().manual_seed(seed)
    patterns, labels = torch.randn(4, 1, 12, 12, generator=generator), torch.arange(680) % 4
    images = patterns[labels] + 0.7 * torch.randn(680, 1, 12, 12, generator=generator)
    parts = [(images[part], labels[part]) for part in (slice(240), slice(240, 280), slice(280, 680))]
    return bp.data.from_tensors(*parts[0], validation=parts[1], test=parts[2])


def small_network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 12, 3), nn.ReLU(),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(48, 4),
    )  # fmt: skip


def test_few_steps_on_few_images_leave_a_network_that_learns() -> None:
    """20 epochs are 60 steps; a price for trained units left 2 of 8 and 5 of 12, and 63 % where dense has 90 %."""
    ours, dense = [], []
    for seed in range(4):
        with pytest.warns(PruningWarning, match="the gates have 30 steps"):
            pruned = bp.prune(small_network, few_images(seed), epochs=20, seed=seed, progress=False)
        ours.append(pruned.evaluation.accuracy)
        plain = bp.prune(small_network, few_images(seed), "dense", epochs=20, seed=seed, progress=False)
        dense.append(plain.evaluation.accuracy)
    assert sum(ours) >= sum(dense) - 4 * 0.03 and min(ours) > 0.75, (ours, dense)
