"""Balanced accuracy and recalls against scikit-learn and counts by hand."""

import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, recall_score
from torch import Tensor

from bayesprune.errors import DataError
from bayesprune.evaluation.measures.classes import balanced_accuracy, recalls


def drawn(seed: int, samples: int, classes: int) -> tuple[Tensor, Tensor]:
    """Answers that are often right, and labels of which low classes are frequent."""
    generator = torch.Generator().manual_seed(seed)
    labels = (classes * torch.rand(samples, generator=generator).square()).long()
    other = torch.randint(classes, (samples,), generator=generator)
    return torch.where(torch.rand(samples, generator=generator) < 0.6, labels, other), labels


@pytest.mark.parametrize(("seed", "samples", "classes"), [(0, 200, 2), (1, 300, 10), (2, 50, 5), (3, 1000, 30)])
def test_both_are_those_of_scikit_learn(seed: int, samples: int, classes: int) -> None:
    answers, labels = drawn(seed, samples, classes)
    assert len(labels.unique()) == classes, "every class occurs"
    expected = recall_score(labels, answers, average=None, labels=list(range(classes)))
    assert recalls(answers, labels, classes) == pytest.approx(list(expected), abs=1e-12)
    found = balanced_accuracy(answers, labels, classes)
    assert found == pytest.approx(balanced_accuracy_score(labels, answers), abs=1e-12)
    assert abs(found - float((answers == labels).double().mean())) > 1e-3, "it is not the plain accuracy"


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
@pytest.mark.parametrize("absent", [0, 2, 4])
def test_a_class_without_labels_has_no_recall_and_does_not_count(absent: int) -> None:
    answers, labels = drawn(5, 400, 5)
    answers, labels = answers[labels != absent], labels[labels != absent]
    assert (answers == absent).any(), "it is answered, though"
    found = recalls(answers, labels, 5)
    assert [number for number, one in enumerate(found) if one is None] == [absent]
    expected = balanced_accuracy_score(labels, answers)
    assert balanced_accuracy(answers, labels, 5) == pytest.approx(expected, abs=1e-12)


def test_one_example_by_hand() -> None:
    for answer, expected in ((1, 1.0), (0, 0.0)):
        assert recalls(torch.tensor([answer]), torch.tensor([1]), 3) == [None, expected, None]
        assert balanced_accuracy(torch.tensor([answer]), torch.tensor([1]), 3) == expected


def test_three_classes_by_hand() -> None:
    answers, labels = torch.tensor([0, 0, 0, 1, 2, 0], dtype=torch.int32), torch.tensor([0, 0, 0, 1, 1, 2])
    assert recalls(answers, labels, 4) == [1.0, 0.5, 0.0, None]
    assert balanced_accuracy(answers, labels, 4) == pytest.approx(0.5, abs=1e-12)


def test_no_examples_are_refused() -> None:
    nothing = torch.zeros(0, dtype=torch.long)
    assert recalls(nothing, nothing, 2) == [None, None]
    with pytest.raises(DataError, match="at least 1 example"):
        balanced_accuracy(nothing, nothing, 2)
