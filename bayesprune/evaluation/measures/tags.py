"""Measures of yes-or-no answers: one tag (binary), or several tags an example (multi-label).

A tag is answered yes where its logit is above 0, that is where its probability is above 0.5. A share whose
denominator is 0 counts as 0, as scikit-learn has it with `zero_division=0`.
"""

import torch
from torch import Tensor

from bayesprune.evaluation.measures.values import mean, to_float64


def subset_accuracy(logits: Tensor, targets: Tensor) -> float:
    """Share of examples of which every tag is right, in [0, 1]; arguments and errors as in `hamming_accuracy`.

    Source: scikit-learn's `accuracy_score` of multi-label targets.
    """
    return mean((_yes(logits) == _true(targets)).all(dim=1))


def hamming_accuracy(logits: Tensor, targets: Tensor) -> float:
    """Share of right tags among all tags of all examples, in [0, 1]: 1 minus the Hamming loss.

    Args:
        logits: [N, K], one logit a tag.
        targets: [N, K], 0 or 1.

    Raises:
        DataError: there are no examples.

    Source: Schapire and Singer (2000), "BoosTexter", the Hamming loss.
    """
    return mean(_yes(logits) == _true(targets))


def macro_f1(logits: Tensor, targets: Tensor) -> float:
    """Mean over tags of the F1 score, in [0, 1]; arguments and errors as in `hamming_accuracy`.

    A tag that is neither true nor answered anywhere counts 0.

    Source: scikit-learn's `f1_score(average="macro", zero_division=0)`.
    """
    hits, answered, true = _counts(logits, targets)
    return mean(_share(2.0 * hits, answered + true))


def f1(logits: Tensor, targets: Tensor) -> float:
    """Harmonic mean of precision and recall of one tag, in [0, 1]; 0 where both are 0.

    Args:
        logits: [N].
        targets: [N], 0 or 1.

    Source: van Rijsbergen (1979), "Information Retrieval", with equal weights.
    """
    hits, answered, true = _counts(logits, targets)
    return float(_share(2.0 * hits, answered + true))


def precision(logits: Tensor, targets: Tensor) -> float:
    """Share of the examples answered yes that are true, in [0, 1]; 0 without a yes. Arguments as in `f1`."""
    hits, answered, _ = _counts(logits, targets)
    return float(_share(hits, answered))


def recall(logits: Tensor, targets: Tensor) -> float:
    """Share of the true examples that are answered yes, in [0, 1]; 0 without a true one. Arguments as in `f1`."""
    hits, _, true = _counts(logits, targets)
    return float(_share(hits, true))


def average_precision(scores: Tensor, targets: Tensor) -> float | None:
    """Mean over tags of the average precision, in [0, 1]: sum over thresholds of (gain in recall) x precision.

    A tag without a true example is left out. Examples of equal score enter together.

    Args:
        scores: [N, K], logits or probabilities; only their order within a tag counts.
        targets: [N, K], 0 or 1.

    Returns:
        None where no tag has a true example.

    Source: scikit-learn's `average_precision_score`, tag by tag (no interpolation between thresholds).
    """
    columns = zip(to_float64(scores).T, _true(targets).T, strict=True)
    found = [_average_precision(column, true) for column, true in columns if true.any()]
    return sum(found) / len(found) if found else None


def roc_auc(scores: Tensor, targets: Tensor) -> float | None:
    """Probability that a true example of one tag scores higher than a false one; a tie counts half.

    Args:
        scores: [N], logits or probabilities; only their order counts.
        targets: [N], 0 or 1.

    Returns:
        The area under the ROC curve, in [0, 1]; None where the targets are all 0 or all 1.

    Source: Hanley and McNeil (1982), "The Meaning and Use of the Area under a ROC Curve".
    """
    true, false = _by_falling_score(to_float64(scores), _true(targets))
    pairs = float(true.sum() * false.sum())
    lower = false.sum() - false.cumsum(0)
    return float((true * (lower + 0.5 * false)).sum()) / pairs if pairs else None


def _yes(logits: Tensor) -> Tensor:
    return to_float64(logits) > 0.0


def _true(targets: Tensor) -> Tensor:
    return to_float64(targets) > 0.5


def _counts(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Examples of each tag that are answered yes and true, answered yes, and true; float64."""
    yes, true = _yes(logits), _true(targets)
    return (yes & true).sum(dim=0).double(), yes.sum(dim=0).double(), true.sum(dim=0).double()


def _share(part: Tensor, whole: Tensor) -> Tensor:
    """The part of the whole; 0 of nothing."""
    return part / whole.clamp_min(1.0)


def _average_precision(scores: Tensor, true: Tensor) -> float:
    gained, false = _by_falling_score(scores, true)
    hits = gained.cumsum(0)
    return float((gained * hits / (hits + false.cumsum(0))).sum() / gained.sum())


def _by_falling_score(scores: Tensor, true: Tensor) -> tuple[Tensor, Tensor]:
    """True and false examples of each distinct score, the highest score first; float64."""
    distinct, place = scores.unique(return_inverse=True)
    counts = [torch.bincount(place[kind], minlength=len(distinct)).double().flip(0) for kind in (true, ~true)]
    return counts[0], counts[1]
