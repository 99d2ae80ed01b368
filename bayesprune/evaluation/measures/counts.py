"""Measures of predicted counts under the Poisson distribution, from the logarithm of its rate."""

import torch
from torch import Tensor

from bayesprune.evaluation.measures.values import mean, to_float64


def poisson_nll(log_rates: Tensor, counts: Tensor) -> float:
    """Mean over examples of the sum over outputs of -log Poisson(count; exp(log_rate)), in nats.

    The log factorial of the count is included.

    Args:
        log_rates: [N, K], natural logarithm of the rate.
        counts: [N, K], whole numbers from 0.

    Raises:
        DataError: there are no examples.
    """
    rates, seen = to_float64(log_rates), to_float64(counts)
    return mean((rates.exp() - seen * rates + torch.lgamma(seen + 1.0)).sum(dim=1))


def poisson_deviance(log_rates: Tensor, counts: Tensor) -> float:
    """Mean over all entries of 2 (y log(y / rate) - y + rate), y the count; at least 0, and 0 if all rates are right.

    Arguments and errors as in `poisson_nll`.

    Source: McCullagh and Nelder (1989), "Generalized Linear Models", section 2.3; scikit-learn's
    `mean_poisson_deviance`.
    """
    return mean(_deviances(to_float64(log_rates), to_float64(counts)))


def d2_poisson(log_rates: Tensor, counts: Tensor) -> float | None:
    """Share of the Poisson deviance that is explained, at most 1.

    It compares with rates that are the mean count of each output. With several outputs the deviances are
    summed over all entries before they are divided, so that an output with constant counts does no harm.
    Arguments as in `poisson_nll`.

    Returns:
        None for fewer than 2 examples, or where the counts of every output are constant.

    Source: Hastie, Tibshirani and Wainwright (2015), "Statistical Learning with Sparsity", equation 3.11;
    scikit-learn's `d2_tweedie_score(power=1)`, which takes one output only.
    """
    seen = to_float64(counts)
    if len(seen) < 2 or bool((seen == seen[0]).all()):
        return None
    constant = seen.mean(dim=0).log().expand_as(seen)
    return 1.0 - mean(_deviances(to_float64(log_rates), seen)) / mean(_deviances(constant, seen))


def _deviances(log_rates: Tensor, counts: Tensor) -> Tensor:
    """The deviance of each entry."""
    # y log y is 0 at y = 0, whatever the rate: also where the rate is 0 and its logarithm infinite.
    surprise = torch.where(counts > 0.0, counts * (counts.log() - log_rates), 0.0)
    return (2.0 * (surprise - counts + log_rates.exp())).clamp_min(0.0)
