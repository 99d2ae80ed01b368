"""The exact posterior of a few gates at fixed weights, over all their settings."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bayesprune.run.settings import check_integer
from bayesprune.structure import Structure

if TYPE_CHECKING:
    import pandas

SHOWN = 5
"""Structures in a table."""


def settings_of(rows: Tensor, gates: int) -> Tensor:
    """The settings [K, J] (float64, 0 or 1) of these numbers [K]: the first gate is the highest binary digit."""
    return ((rows[:, None] >> torch.arange(gates - 1, -1, -1)) & 1).double()


@dataclass(frozen=True, eq=False, repr=False)
class ExactGates:
    """p(z | w, data) for every one of the 2^J settings of J gates.

    Attributes:
        nats: negative log-likelihood [2^J] of all N training examples; infinite where a layer passes nothing.
        log_prior: [2^J], normalised over the settings under which every layer passes something.
        groups: the group [J] of every gate.
        indices: its original index [J] in that group.
        log_odds: prior log odds [J] of an open gate, all others open.
        examples: on which the likelihood was taken.
        size: training examples N for which they stand.
    """

    nats: Tensor
    log_prior: Tensor
    groups: tuple[str, ...]
    indices: Tensor
    log_odds: Tensor
    examples: int
    size: int

    @classmethod
    def of(
        cls, nats: Tensor, log_prior: Tensor, structure: Structure, log_odds: Tensor, examples: int, size: int
    ) -> "ExactGates":
        """Those of the gates of a structure; the log prior [2^J] may lack its constant."""
        supported = log_prior.masked_fill(nats.isinf(), -torch.inf)
        names = tuple(group.name for group in structure.groups for _ in range(len(group.kept)))
        return cls(
            nats, supported - supported.logsumexp(0), names, torch.cat([group.kept for group in structure.groups]),
            log_odds, examples, size,
        )  # fmt: skip

    @property
    def names(self) -> list[str]:
        """The gates as they are called elsewhere: `fc1[12]`."""
        return [f"{group}[{index}]" for group, index in zip(self.groups, self.indices.tolist(), strict=True)]

    @cached_property
    def log_evidence(self) -> float:
        """Log probability of the data at these weights, with the gates summed out: ln sum_z p(z) p(data | z, w)."""
        return float((self.log_prior - self.nats.nan_to_num(posinf=0.0)).logsumexp(0))

    @cached_property
    def log_posterior(self) -> Tensor:
        """Log probability [2^J] of every setting; minus infinity where a layer passes nothing."""
        joint = self.log_prior - self.nats.nan_to_num(posinf=0.0)  # the prior is minus infinity there
        return joint - self.log_evidence

    @cached_property
    def probability(self) -> Tensor:
        """Probability [2^J] of every setting, in the order of `settings_of`."""
        return self.log_posterior.exp()

    @cached_property
    def inclusion(self) -> Tensor:
        """Inclusion probabilities [J]."""
        cube, gates = self._cube, range(len(self.groups))
        return torch.stack([cube.select(gate, 1).sum() for gate in gates])

    @cached_property
    def correlations(self) -> Tensor:
        """Correlations [J, J] of gates; NaN for a gate that is open, or closed, with probability 1."""
        cube, gates = self._cube, len(self.groups)
        both = torch.diag(self.inclusion)
        for one in range(gates):
            for other in range(one + 1, gates):
                both[one, other] = both[other, one] = cube.select(other, 1).select(one, 1).sum()
        covariance = both - self.inclusion[:, None] * self.inclusion
        variance = torch.where(self._varies, covariance.diagonal(), torch.nan)
        return covariance / (variance[:, None] * variance).sqrt()

    @property
    def entropy(self) -> float:
        """Of the posterior, nats."""
        return float(torch.special.entr(self.probability).sum())

    def most_probable(self, count: int = SHOWN) -> list[tuple[Tensor, float]]:
        """So many settings [J] (bool, true where a gate is open) with their probabilities, the most probable first.

        Raises:
            SettingError: `count` is no integer >= 1.
        """
        check_integer("count", count, 1)
        best = self.log_posterior.topk(min(count, int(self.log_posterior.isfinite().sum()))).indices
        settings = settings_of(best, len(self.groups)) > 0
        return list(zip(settings, self.probability[best].tolist(), strict=True))

    def sample(self, draws: int = 1000, seed: int = 0) -> Tensor:
        """Independent draws [1, D, J] (uint8), as `Pruned.predictive` takes them.

        Raises:
            SettingError: `draws` is no integer >= 1, or the seed none >= 0.
        """
        check_integer("draws", draws, 1)
        check_integer("seed", seed, 0)
        uniform = torch.rand(draws, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        cumulative = self.probability.cumsum(0)
        last = int(self.probability.nonzero().max())  # rounding may leave the sum a little below a draw
        rows = torch.searchsorted(cumulative, uniform * cumulative[-1], right=True).clamp_max(last)
        return settings_of(rows, len(self.groups)).to(torch.uint8)[None]

    def __repr__(self) -> str:
        return self.table()

    def table(self) -> str:
        """The most probable structures as text, and what they are of."""
        gates, supported = len(self.groups), int(self.nats.isfinite().sum())
        head = (
            f"all {len(self.nats):,} settings of {gates} gates at fixed weights ({supported:,} pass something on), "
            f"{self.examples:,} of {self.size:,} examples"
        )
        places = {name: [place for place, own in enumerate(self.groups) if own == name] for name in self.groups}
        lines = [f"log evidence {self.log_evidence:,.2f} nats, entropy {self.entropy:.3f} nats; most probable:"]
        for setting, probability in self.most_probable():
            parts = [f"{name} {self._indices_of(own, setting)}" for name, own in places.items()]
            lines.append(f"{100 * probability:6.2f} %  {'; '.join(parts)}")
        return "\n".join([head, *lines])

    def to_frame(self) -> "pandas.DataFrame":
        """A pandas table with a row a gate."""
        import pandas

        best = self.most_probable(1)[0][0]
        return pandas.DataFrame(
            {
                "group": list(self.groups),
                "index": self.indices.tolist(),
                "inclusion": self.inclusion.tolist(),
                "prior_log_odds": self.log_odds.tolist(),
                "most_probable": best.int().tolist(),
            },
            index=self.names,
        )

    @property
    def _cube(self) -> Tensor:
        """Probabilities with an axis of two for each gate."""
        return self.probability.reshape([2] * len(self.groups))

    @property
    def _varies(self) -> Tensor:
        """Whether each gate [J] is open in some settings that have any probability and closed in others."""
        cube, gates = self._cube, range(len(self.groups))
        return torch.tensor([all(bool((cube.select(gate, way) > 0).any()) for way in (0, 1)) for gate in gates])

    def _indices_of(self, places: list[int], setting: Tensor) -> str:
        """The original indices of the open gates among these places."""
        opened = [str(int(self.indices[place])) for place in places if setting[place]]
        return " ".join(opened) if len(opened) <= 12 else f"{len(opened)} open"
