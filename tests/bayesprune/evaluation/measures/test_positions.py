"""Measures of dense prediction against scikit-learn on the positions that count."""

from math import log

import pytest
import torch
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    jaccard_score,
    log_loss,
)
from torch import Tensor

from bayesprune.evaluation.measures import positions
from bayesprune.evaluation.measures.positions import (
    IGNORED,
    accuracy_of,
    balanced_accuracy_of,
    confusion,
    iou_of,
    mean_iou,
    position_accuracy,
    position_nll,
)

SHAPES = [(0, (3, 6, 5), 4, 0.2), (1, (40,), 3, 0.5), (2, (2, 3, 4, 5), 6, 0.0), (3, (5, 20), 12, 0.3)]
Case = tuple[int, tuple[int, ...], int, float]


def drawn(case: Case) -> tuple[Tensor, Tensor]:
    """Log-probabilities [N, K, ...] that know something of the labels, and labels of which a share is ignored."""
    seed, shape, classes, ignored = case
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, shape, generator=generator)
    known = torch.nn.functional.one_hot(labels, classes).movedim(-1, 1)
    logits = torch.randn(known.shape, generator=generator, dtype=torch.float64) + 1.5 * known
    labels[torch.rand(shape, generator=generator) < ignored] = IGNORED
    return logits.log_softmax(dim=1), labels


def counted(log_probabilities: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Probabilities [positions, K] and labels [positions] of the positions that count, for scikit-learn."""
    kept = labels.flatten() != -100
    flat = log_probabilities.movedim(1, -1).flatten(0, -2).exp()
    return flat[kept], labels.flatten()[kept]


@pytest.mark.parametrize("case", SHAPES, ids=str)
def test_all_are_those_of_scikit_learn(case: Case) -> None:
    log_probabilities, labels = drawn(case)
    probabilities, true = counted(log_probabilities, labels)
    answers, names = probabilities.argmax(dim=1), list(range(case[2]))
    matrix = confusion(log_probabilities.argmax(dim=1), labels, case[2])
    assert matrix.dtype == torch.int64
    assert matrix.tolist() == confusion_matrix(true, answers, labels=names).tolist()
    assert not torch.equal(matrix, matrix.T), "rows and columns can be told apart"
    for found in (position_accuracy(log_probabilities, labels), accuracy_of(matrix)):
        assert found == pytest.approx(accuracy_score(true, answers), abs=1e-12)
    for found in (mean_iou(log_probabilities, labels), iou_of(matrix)):
        assert found == pytest.approx(jaccard_score(true, answers, average="macro"), abs=1e-12)
    assert balanced_accuracy_of(matrix) == pytest.approx(balanced_accuracy_score(true, answers), abs=1e-12)
    expected = log_loss(true, probabilities.numpy(), labels=names)
    assert position_nll(log_probabilities, labels) == pytest.approx(expected, abs=1e-10)


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
def test_classes_that_do_not_occur_do_not_count() -> None:
    log_probabilities, labels = drawn((4, (6, 30), 6, 0.3))
    labels[(labels == 2) | (labels == 4)] = IGNORED
    log_probabilities[:, 4] -= 100.0  # neither true nor answered; 2 is answered
    probabilities, true = counted(log_probabilities, labels)
    answers = probabilities.argmax(dim=1)
    assert (answers == 2).any() and not (answers == 4).any()
    expected = jaccard_score(true, answers, average="macro")
    assert mean_iou(log_probabilities, labels) == pytest.approx(expected, abs=1e-12)
    found = balanced_accuracy_of(confusion(log_probabilities.argmax(dim=1), labels, 6))
    assert found == pytest.approx(balanced_accuracy_score(true, answers), abs=1e-12)


@pytest.mark.parametrize("at_once", [1, 7, 90])
def test_parts_and_batches_add_up_to_the_whole(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    log_probabilities, labels = drawn((5, (9, 10), 4, 0.3))
    answers = log_probabilities.argmax(dim=1)
    whole = confusion(answers, labels, 4)
    batches = zip(answers.split(2), labels.split(2), strict=True)
    assert torch.equal(sum((confusion(*batch, 4) for batch in batches), torch.zeros(4, 4)).long(), whole)
    monkeypatch.setattr(positions, "POSITIONS_AT_ONCE", at_once)
    assert torch.equal(confusion(answers, labels, 4), whole)


@pytest.mark.parametrize("shape", [(2, 3, 4), (1,), (0, 5)])
def test_all_are_undefined_where_every_position_is_ignored(shape: tuple[int, ...]) -> None:
    log_probabilities = torch.zeros(shape[0], 3, *shape[1:]).log_softmax(dim=1)
    labels = torch.full(shape, -100)
    for measure in (position_accuracy, position_nll, mean_iou):
        assert measure(log_probabilities, labels) is None
    matrix = confusion(log_probabilities.argmax(dim=1), labels, 3)
    assert matrix.tolist() == [[0] * 3] * 3
    for measure_of in (accuracy_of, balanced_accuracy_of, iou_of):
        assert measure_of(matrix) is None


def test_what_stands_at_ignored_positions_has_no_effect() -> None:
    log_probabilities, labels = drawn((6, (4, 15), 3, 0.4))
    other = log_probabilities.clone()
    other.movedim(1, -1)[labels == IGNORED] = torch.tensor([-torch.inf, torch.nan, 0.0], dtype=torch.float64)
    for measure in (position_accuracy, position_nll, mean_iou):
        assert measure(other, labels) == measure(log_probabilities, labels)


def test_one_position_by_hand() -> None:
    log_probabilities = torch.tensor([[0.25, 0.75]]).log()
    assert position_accuracy(log_probabilities, torch.tensor([0], dtype=torch.int32)) == 0.0
    assert position_nll(log_probabilities, torch.tensor([0], dtype=torch.int32)) == pytest.approx(log(4.0), abs=1e-6)
    assert mean_iou(log_probabilities, torch.tensor([0])) == 0.0
    assert mean_iou(log_probabilities, torch.tensor([1])) == 1.0


def test_iou_by_hand() -> None:
    # Class 0: 3 of 3 + 1 + 2; class 1: 4 of 4 + 2 + 1; class 2 does not occur.
    assert iou_of(torch.tensor([[3, 1, 0], [2, 4, 0], [0, 0, 0]])) == pytest.approx((3 / 6 + 4 / 7) / 2, abs=1e-12)


def test_a_certain_right_answer_costs_0_and_not_minus_0() -> None:
    found = position_nll(torch.tensor([[0.0, -torch.inf]]), torch.tensor([0]))
    assert str(found) == "0.0"


def test_equal_log_probabilities_answer_the_first_class() -> None:
    even = torch.zeros(2, 3, 4)
    assert position_accuracy(even, torch.zeros(2, 4, dtype=torch.long)) == 1.0
    assert position_accuracy(even, torch.ones(2, 4, dtype=torch.long)) == 0.0
