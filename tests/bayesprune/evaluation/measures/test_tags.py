"""Measures of tags against scikit-learn and counts by hand."""

import math

import pytest
import torch
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    f1_score,
    hamming_loss,
    precision_score,
    recall_score,
    roc_auc_score,
)
from torch import Tensor

from bayesprune.errors import DataError
from bayesprune.evaluation.measures.tags import (
    average_precision,
    f1,
    hamming_accuracy,
    macro_f1,
    precision,
    recall,
    roc_auc,
    subset_accuracy,
)


def drawn(seed: int, samples: int, tags: int, levels: int | None = None) -> tuple[Tensor, Tensor]:
    """Logits that know something of the targets; with `levels`, only so many different ones, so that many tie."""
    generator = torch.Generator().manual_seed(seed)
    targets = (torch.rand(samples, tags, generator=generator) < 0.4).long()
    logits = torch.randn(samples, tags, generator=generator) + targets
    return (logits if levels is None else (logits * levels / 4).round()), targets


SAMPLES = [(0, 200, 5, None), (1, 150, 3, 6), (2, 300, 2, 2), (3, 12, 8, 3)]


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_measures_of_several_tags_are_those_of_scikit_learn(sample: tuple[int, int, int, int | None]) -> None:
    logits, targets = drawn(*sample)
    answers = (logits > 0).long()
    assert targets.any(dim=0).all(), "every tag has a true example"
    assert subset_accuracy(logits, targets) == pytest.approx(accuracy_score(targets, answers), abs=1e-12)
    assert hamming_accuracy(logits, targets) == pytest.approx(1.0 - hamming_loss(targets, answers), abs=1e-12)
    expected = f1_score(targets, answers, average="macro", zero_division=0)
    assert macro_f1(logits, targets) == pytest.approx(expected, abs=1e-12)
    expected = average_precision_score(targets, logits, average="macro")
    assert average_precision(logits, targets) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_measures_of_one_tag_are_those_of_scikit_learn(sample: tuple[int, int, int, int | None]) -> None:
    for logits, targets in zip(*(values.T for values in drawn(*sample)), strict=True):
        answers = (logits > 0).long()
        assert roc_auc(logits, targets) == pytest.approx(roc_auc_score(targets, logits), abs=1e-12)
        for measure, oracle in ((f1, f1_score), (precision, precision_score), (recall, recall_score)):
            assert measure(logits, targets) == pytest.approx(oracle(targets, answers, zero_division=0), abs=1e-12)


def test_tags_that_are_never_true_count_0_in_f1_and_not_in_average_precision() -> None:
    logits, targets = drawn(4, 60, 4)
    targets[:, [0, 2]] = 0
    logits[:, 2] = -1.0  # nor answered
    answers = (logits > 0).long()
    expected = f1_score(targets, answers, average="macro", zero_division=0)
    assert macro_f1(logits, targets) == pytest.approx(expected, abs=1e-12)
    each = [average_precision_score(targets[:, tag], logits[:, tag]) for tag in (1, 3)]
    assert average_precision(logits, targets) == pytest.approx(sum(each) / 2, abs=1e-12)


def test_no_true_example_at_all() -> None:
    logits, nothing = torch.tensor([[1.0], [-1.0]]), torch.zeros(2, 1)
    assert average_precision(logits, nothing) is None
    assert macro_f1(logits, nothing) == f1(logits[:, 0], nothing[:, 0]) == 0.0
    assert precision(logits[:, 0], nothing[:, 0]) == recall(logits[:, 0], nothing[:, 0]) == 0.0
    assert precision(-logits.abs()[:, 0], torch.ones(2)) == 0.0, "nothing is answered yes"


@pytest.mark.parametrize("target", [0, 1])
def test_roc_auc_needs_both_answers(target: int) -> None:
    assert roc_auc(torch.tensor([0.1, 0.2, 0.2]), torch.full((3,), target)) is None
    assert roc_auc(torch.tensor([0.1]), torch.tensor([target])) is None


def test_ties_by_hand() -> None:
    scores, targets = torch.tensor([2.0, 2.0, 1.0, 1.0]), torch.tensor([True, False, True, False])
    # Of the 4 pairs of a true and a false example, 1 is in order, 2 are tied, 1 is in the wrong order.
    assert roc_auc(scores, targets) == pytest.approx((1 + 2 * 0.5) / 4, abs=1e-12)
    # Both thresholds gain half of the recall at precision 1/2.
    assert average_precision(scores[:, None], targets[:, None]) == pytest.approx(0.5, abs=1e-12)
    assert roc_auc(torch.zeros(4), targets) == pytest.approx(0.5, abs=1e-12)


def test_perfect_and_reversed_order() -> None:
    scores, targets = torch.tensor([-math.inf, -1.0, 1.0, math.inf]), torch.tensor([0, 0, 1, 1])
    assert roc_auc(scores, targets) == 1.0
    assert roc_auc(-scores, targets) == 0.0
    assert average_precision(scores[:, None], targets[:, None]) == 1.0
    assert average_precision(-scores[:, None], targets[:, None]) == pytest.approx((1 / 3 + 2 / 4) / 2, abs=1e-12)


def test_scores_that_differ_only_beyond_float32_are_no_tie() -> None:
    scores = torch.tensor([0.5, 0.5 + 1e-12], dtype=torch.float64)
    assert roc_auc(scores, torch.tensor([0, 1])) == 1.0


def test_a_logit_of_0_is_a_no_and_one_just_above_a_yes() -> None:
    # The sigmoid of 1e-20 is 0.5 exactly, in float64 too: the logit itself decides.
    logits, targets = torch.tensor([[0.0, 1e-20, -1e-20]]), torch.tensor([[0, 1, 0]])
    assert subset_accuracy(logits, targets) == hamming_accuracy(logits, targets) == 1.0
    assert subset_accuracy(logits, 1 - targets) == hamming_accuracy(logits, 1 - targets) == 0.0


def test_no_examples_are_refused() -> None:
    for measure in (subset_accuracy, hamming_accuracy):
        with pytest.raises(DataError, match="at least 1 example"):
            measure(torch.zeros(0, 2), torch.zeros(0, 2))
