"""Predictive metrics of a classifier from its logits: accuracy, NLL, Brier score and calibration error."""

from dataclasses import dataclass

import torch
from torch import Tensor

from bayesprune.errors import DataError, NetworkError, SettingError

CALIBRATION_BINS = 15


@dataclass(frozen=True)
class Metrics:
    """The four predictive metrics of one network on one split.

    Attributes:
        accuracy: share of right answers, in [0, 1].
        nll: mean negative log-likelihood of the true class, in nats.
        brier: mean squared distance of the probabilities from the one-hot label, in [0, 2].
        ece: expected calibration error of the answer given, in [0, 1].
    """

    accuracy: float
    nll: float
    brier: float
    ece: float


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """Share of samples whose largest logit is that of the true class; of equal logits the first counts.

    Args:
        logits: [N, K], finite.
        labels: [N], integers in 0..K-1.

    Raises:
        DataError: shapes or labels do not fit.
        NetworkError: a logit is NaN or infinite.
    """
    return _accuracy(*_checked(logits, labels))


def negative_log_likelihood(logits: Tensor, labels: Tensor) -> float:
    """Mean of -log softmax(logits)[true class], in nats; arguments and errors as in `accuracy`."""
    return _negative_log_likelihood(*_checked(logits, labels))


def brier(logits: Tensor, labels: Tensor) -> float:
    """Mean over samples of sum_k (p_k - 1[y = k])^2, in [0, 2]; arguments and errors as in `accuracy`.

    Source: Brier (1950), the original definition, which sums over all classes.
    """
    return _brier(*_checked(logits, labels))


def expected_calibration_error(logits: Tensor, labels: Tensor, bins: int = CALIBRATION_BINS) -> float:
    """Mean distance between confidence and accuracy over equal-width bins of the confidence.

    The confidence is the probability of the class that is answered; bins are open below and closed
    above. Arguments and errors as in `accuracy`.

    Raises:
        SettingError: `bins` is below 1.

    Source: Guo et al. (2017), "On Calibration of Modern Neural Networks", equation 3.
    """
    if bins < 1:
        raise SettingError(f"bins is {bins}: the calibration error needs at least 1 bin")
    return _expected_calibration_error(*_checked(logits, labels), bins)


def measure(logits: Tensor, labels: Tensor) -> Metrics:
    """All metrics of `Metrics` at once; arguments and errors as in `accuracy`."""
    checked = _checked(logits, labels)
    return Metrics(
        accuracy=_accuracy(*checked),
        nll=_negative_log_likelihood(*checked),
        brier=_brier(*checked),
        ece=_expected_calibration_error(*checked, CALIBRATION_BINS),
    )


def _checked(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The log-probabilities [N, K] in float64 and the labels [N] in int64, both on the CPU."""
    if logits.ndim != 2 or logits.shape[0] < 1 or logits.shape[1] < 1:
        raise DataError(f"logits have shape {list(logits.shape)}: they must be [samples, classes], not empty")
    if labels.shape != logits.shape[:1]:
        raise DataError(f"labels have shape {list(labels.shape)}: they must be [{logits.shape[0]}], one a sample")
    if labels.dtype == torch.bool or labels.is_floating_point() or labels.is_complex():
        raise DataError(f"labels are {labels.dtype}: they must be integers, the number of the class")
    # To the CPU first: not every accelerator has float64.
    scores, classes = logits.detach().cpu().double(), labels.detach().cpu().long()
    bad = int((~scores.isfinite()).any(dim=1).sum())
    if bad:
        raise NetworkError(
            f"the network's outputs are NaN or infinite for {bad} of {len(scores)} samples: they cannot be "
            "measured; train again with a smaller learning rate or check the inputs"
        )
    low, high = int(classes.min()), int(classes.max())
    if low < 0 or high >= scores.shape[1]:
        raise DataError(
            f"labels go from {low} to {high}: with {scores.shape[1]} outputs they must lie in "
            f"0..{scores.shape[1] - 1}; give the network more classes or correct the labels"
        )
    return scores.log_softmax(dim=1), classes


def _accuracy(log_probabilities: Tensor, labels: Tensor) -> float:
    return float((log_probabilities.argmax(dim=1) == labels).double().mean())


def _negative_log_likelihood(log_probabilities: Tensor, labels: Tensor) -> float:
    return float(-log_probabilities.gather(1, labels[:, None]).mean())


def _brier(log_probabilities: Tensor, labels: Tensor) -> float:
    distance = log_probabilities.exp()
    distance[torch.arange(len(labels)), labels] -= 1.0
    return float(distance.square().sum(dim=1).mean())


def _expected_calibration_error(log_probabilities: Tensor, labels: Tensor, bins: int) -> float:
    confidence, answer = log_probabilities.exp().max(dim=1)
    inner_edges = torch.linspace(0.0, 1.0, bins + 1, dtype=torch.float64)[1:-1]
    place = torch.bucketize(confidence, inner_edges)
    # Within a bin, |accuracy - confidence| times the bin's share is |sum of the difference| / N.
    difference = (answer == labels).double() - confidence
    return float(torch.bincount(place, difference, minlength=bins).abs().sum() / len(labels))
