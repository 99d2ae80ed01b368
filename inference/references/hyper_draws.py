"""Prior probabilities of gates drawn from the flattening hyper-prior."""

import torch
from torch import Tensor

from bayesprune.inference.references.log_priors import prior_log_odds
from bayesprune.models.priors.flattening import FlatteningHyperPrior


def hyper_prior_draws(price: Tensor, draws: int, seed: int) -> tuple[Tensor, Tensor]:
    """Draw pi ~ FlatteningHyperPrior(ln gamma = price) for every gate, by inversion.

    Args:
        price: nats [R, J] in float64; NaN where there is none.
        draws: D.
        seed: of the draws.

    Returns:
        Log odds [R, J] of an open gate with pi summed out, and pi [R, D, J]; NaN where the price is.
    """
    unknown = price.isnan()
    known = price.masked_fill(unknown, 0.0)
    shape = (len(price), draws, price.shape[1])
    uniform = torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    pi = FlatteningHyperPrior(log_gamma=known[:, None]).icdf(uniform)
    odds = prior_log_odds(known, "marginal")
    return odds.masked_fill(unknown, torch.nan), pi.masked_fill(unknown[:, None], torch.nan)
