"""The variational posterior of the regression of accuracy, of all sets of training rows at once."""

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

LOG_NORMAL = ("shrinkage", "slab", "freedom")
NORMAL = ("level", "log_noise")
SITES = (*LOG_NORMAL, *NORMAL, "local", "plain", "trend")


class AccuracyGuide(nn.Module):
    """Weights jointly normal with a full covariance matrix; the other parameters normal and independent.

    Properties of graphs are strongly correlated, and so are their weights. Positive parameters are log-normal.

    Args:
        sets: sets of training rows, F.
        count: properties, K.
        shrinkage: where the global shrinkage begins.
    """

    def __init__(self, sets: int, count: int, shrinkage: float) -> None:
        super().__init__()
        begin = {"shrinkage": shrinkage, "slab": 4.0, "freedom": 10.0}
        starts = {name: torch.full((sets,), begin[name]).log() for name in LOG_NORMAL}
        starts |= {"level": torch.zeros(sets), "log_noise": torch.full((sets,), 0.5).log()}
        starts |= {"local": torch.zeros(sets, count), "trend": torch.zeros(sets, count)}
        self.means = nn.ParameterDict({**starts, "plain": torch.zeros(sets, count)})
        self.log_widths = nn.ParameterDict({name: torch.full_like(value, -1.5) for name, value in starts.items()})
        self.factor = nn.Parameter(-2.0 * torch.eye(count).expand(sets, count, count).clone())

    def __call__(self, *_: Tensor) -> None:
        """Pyro's guide."""
        with pyro.plate("set", len(self.means["level"]), dim=-1):
            for name, law in self.laws().items():
                pyro.sample(name, law)

    def laws(self) -> dict[str, dist.TorchDistribution]:
        """The law of each site."""
        pairs = {name: (self.means[name], width.exp()) for name, width in self.log_widths.items()}
        found: dict[str, dist.TorchDistribution] = {name: dist.LogNormal(*pairs[name]) for name in LOG_NORMAL}
        found |= {name: dist.Normal(*pairs[name]) for name in NORMAL}
        found["local"] = dist.LogNormal(*pairs["local"]).to_event(1)
        found["trend"] = dist.Normal(*pairs["trend"]).to_event(1)
        lower = self.factor.tril(-1) + self.factor.diagonal(dim1=-2, dim2=-1).exp().diag_embed()
        found["plain"] = dist.MultivariateNormal(self.means["plain"], scale_tril=lower)
        return found
