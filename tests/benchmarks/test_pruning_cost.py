"""What the benchmark of pruning compares is the same work on both sides."""

import pytest
import torch
from torch import Tensor

from bayesprune.data import from_tensors
from benchmarks.pruning_cost import VGG16, cut_sides, row, score_sides, step_sides, vgg16_weights

DATA = from_tensors(torch.randn(300, 1, 28, 28), torch.arange(300) % 10)


def test_the_cut_keeps_what_topk_finds() -> None:
    torch.manual_seed(0)
    weights = {"a": torch.randn(40, 30), "b": torch.randn(25, 40)}
    plain, ours = cut_sides(weights)
    (values, _), masks = plain(), ours()
    kept = torch.cat([weights[name].abs()[mask == 1] for name, mask in masks.items()])
    assert torch.equal(kept.sort(descending=True).values, values)


def test_vgg16_has_its_weights() -> None:
    # 13 convolutions: 14,710,464 weights; 512 x 512 and 512 x 10 more.
    sizes = [weight.numel() for weight in vgg16_weights().values()]
    assert len(VGG16) == 14 and sum(sizes) == 14_710_464 + 262_144 + 5_120


def test_both_steps_learn_and_one_is_masked() -> None:
    for masked, side in zip((False, True), step_sides(DATA), strict=True):
        state = side.args[0]  # type: ignore[attr-defined]  # a partial
        before: Tensor = state.network.fc1.weight.detach().clone()
        side()
        weight = state.network.fc1.weight
        assert not torch.equal(weight, before)
        assert (int(weight.count_nonzero()) < 0.2 * weight.numel()) is masked


def test_the_score_is_that_of_every_weight() -> None:
    plain, ours = score_sides(DATA)
    plain()
    scores = ours()
    assert isinstance(scores, dict) and list(scores) == [f"{n}.weight" for n in ("conv1", "conv2", "fc1", "fc2")]


@pytest.mark.parametrize(("target", "verdict"), [(1e9, "reached"), (1e-9, "MISSED")])
def test_verdicts(target: float, verdict: str) -> None:
    assert row("x", (lambda: None, lambda: None), 3, target).endswith(f"x: {verdict} |")
