"""Draws of a small network's weights with its gates summed out, and how well the chains agree."""

import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from bayesprune.run.arviz_view import for_arviz, import_arviz

if TYPE_CHECKING:
    import pandas

FEWEST = 4
"""Draws a chain that R-hat and effective sample sizes need at least."""


def diagnostics(values: Tensor) -> tuple[Tensor, Tensor]:
    """R-hat and effective sample size (ArviZ, bulk) of each of V quantities [R, D, V]: [V] each.

    NaN for what never changes, and where there are fewer than 4 draws a chain; R-hat also with one chain.
    """
    chains, draws, quantities = values.shape
    r_hat, effective = torch.full((2, quantities), torch.nan, dtype=torch.float64)
    places = (values != values[:1, :1]).any(1).any(0).nonzero().flatten()
    if draws < FEWEST or not len(places):
        return r_hat, effective
    import xarray

    found = xarray.Dataset({"v": (("chain", "draw", "quantity"), values[..., places].double().numpy())})
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        tree = for_arviz(xarray.DataTree.from_dict({"posterior": found}))
        table = import_arviz().summary(tree, round_to="none", kind="diagnostics")
    if chains > 1:
        r_hat[places] = torch.from_numpy(table["r_hat"].to_numpy(dtype=float).copy())
    effective[places] = torch.from_numpy(table["ess_bulk"].to_numpy(dtype=float).copy())
    return r_hat, effective


@dataclass(frozen=True, eq=False, repr=False)
class NutsDraws:
    """R chains of D draws of weights from p(w | data), with the J gates summed out, and p(z | w, data) at each.

    Attributes:
        weights: by parameter name, [R, D, ...] in float64.
        settings: of the gates under which every layer passes something [S, J], 0 or 1.
        probability: of each setting given the weights of each draw [R, D, S].
        log_likelihood: of the data at each draw with the gates summed out [R, D], nats.
        groups: the group [J] of every gate.
        indices: its original index [J] in that group.
        log_odds: prior log odds [J] of an open gate, all others open.
        slab: standard deviation of the weights' prior.
        divergences: of each chain [R], after the warm-up.
        moved: share of the draws of each chain [R] in which the weights moved.
        examples: on which the likelihood was taken.
        size: training examples N for which they stand.
    """

    weights: dict[str, Tensor]
    settings: Tensor
    probability: Tensor
    log_likelihood: Tensor
    groups: tuple[str, ...]
    indices: Tensor
    log_odds: Tensor
    slab: float
    divergences: tuple[int, ...]
    moved: tuple[float, ...]
    examples: int
    size: int

    @property
    def names(self) -> list[str]:
        """The gates as they are called elsewhere: `fc1[12]`."""
        return [f"{group}[{index}]" for group, index in zip(self.groups, self.indices.tolist(), strict=True)]

    @property
    def inclusion_draws(self) -> Tensor:
        """Inclusion probabilities given the weights of each draw [R, D, J]."""
        return self.probability @ self.settings.double()

    @property
    def inclusion(self) -> Tensor:
        """Inclusion probabilities [J], weights and gates together."""
        return self.inclusion_draws.mean((0, 1))

    @property
    def r_hat(self) -> Tensor:
        """R-hat [J + 1] of the inclusion probabilities and, last, of the log-likelihood.

        Hidden units can change places without any change of the function, so that R-hat of single weights says nothing.
        """
        return self._diagnostics[0]

    @property
    def effective_draws(self) -> Tensor:
        """Effective sample sizes [J + 1] of the same, of all chains together."""
        return self._diagnostics[1]

    @property
    def error(self) -> Tensor:
        """Monte Carlo standard errors [J] of the inclusion probabilities; 0 for what never changes."""
        spread = self.inclusion_draws.flatten(0, 1).std(0)
        return (spread / self.effective_draws[:-1].sqrt()).nan_to_num(0.0)

    @cached_property
    def _diagnostics(self) -> tuple[Tensor, Tensor]:
        return diagnostics(torch.cat([self.inclusion_draws, self.log_likelihood[..., None]], -1))

    def __repr__(self) -> str:
        return self.table()

    def table(self) -> str:
        """A row a gate as text; divergences, and how the chains agree."""
        chains, draws, _ = self.probability.shape
        head = (
            f"{chains} chains of {draws:,} draws of the weights, gates summed out, {self.examples:,} of {self.size:,} "
            f"examples; {sum(self.divergences):,} divergences, moved in {100 * min(self.moved):.0f} % of the draws"
        )
        rows = [["gate", "inclusion", "error", "R-hat", "effective draws"]]
        columns = zip(self.names, self.inclusion, self.error, self.r_hat, self.effective_draws, strict=False)
        rows += [[name, f"{p:.3f}", f"{e:.3f}", f"{r:.3f}", f"{n:,.0f}"] for name, p, e, r, n in columns]
        last = ["log-likelihood", f"{self.log_likelihood.mean():.1f}", "", f"{self.r_hat[-1]:.3f}"]
        rows.append([*last, f"{self.effective_draws[-1]:,.0f}"])
        widths = [max(len(row[column]) for row in rows) for column in range(5)]
        lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]
        return "\n".join([head, *lines])

    def to_frame(self) -> "pandas.DataFrame":
        """A pandas table with a row a gate."""
        import pandas

        return pandas.DataFrame(
            {
                "group": list(self.groups),
                "index": self.indices.tolist(),
                "inclusion": self.inclusion.tolist(),
                "error": self.error.tolist(),
                "prior_log_odds": self.log_odds.tolist(),
                "r_hat": self.r_hat[:-1].tolist(),
                "effective_draws": self.effective_draws[:-1].tolist(),
            },
            index=self.names,
        )
