"""Draws of gates from p(z | w, data), their inclusion probabilities, and how well the chains agree."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from bayesprune.run.arviz_view import FEWEST, summary
from bayesprune.run.predictive import Predictive
from bayesprune.run.tree.chains import Chains
from bayesprune.structure import Structure

if TYPE_CHECKING:
    import pandas
    import xarray

    from bayesprune.run.pruned import Pruned

NOTE = (
    "Gibbs draws of the gates at fixed weights, p(z | w, data): they say nothing of networks that are trained anew. "
    "Settings under which a layer passes nothing are left out."
)


@dataclass(frozen=True, eq=False, repr=False)
class GibbsDraws:
    """Draws of the J gates of a compact network, R chains of D draws.

    Attributes:
        draws: uint8 [R, D, J].
        groups: the group [J] of every gate.
        indices: its original index [J] in that group.
        log_odds: prior log odds [J] of an open gate.
        examples: on which the likelihood was taken.
        size: training examples N for which they stand.
        pruned: the result whose gates they are; None where it is not at hand.
    """

    draws: Tensor
    groups: tuple[str, ...]
    indices: Tensor
    log_odds: Tensor
    examples: int
    size: int
    pruned: "Pruned | None" = None

    @classmethod
    def of(
        cls,
        draws: Tensor,
        structure: Structure,
        log_odds: Tensor,
        examples: int,
        size: int,
        pruned: "Pruned | None" = None,
    ) -> "GibbsDraws":
        """Those of the gates of a structure."""
        names = tuple(group.name for group in structure.groups for _ in range(len(group.kept)))
        indices = torch.cat([group.kept for group in structure.groups])
        return cls(draws, names, indices, log_odds, examples, size, pruned)

    @property
    def names(self) -> list[str]:
        """The gates as they are called elsewhere: `fc1[12]`."""
        return [f"{group}[{index}]" for group, index in zip(self.groups, self.indices.tolist(), strict=True)]

    @property
    def inclusion(self) -> Tensor:
        """Inclusion probabilities [J]: the share of all draws in which a gate is open."""
        return self.draws.double().mean((0, 1))

    @property
    def r_hat(self) -> Tensor:
        """R-hat [J] (ArviZ, by ranks): NaN for gates that never change, infinite where chains stay apart."""
        return self._diagnostics[0]

    @property
    def effective_draws(self) -> Tensor:
        """Effective sample sizes [J] (ArviZ, bulk) of all chains together; NaN for gates that change in no chain."""
        return self._diagnostics[1]

    @cached_property
    def _diagnostics(self) -> tuple[Tensor, Tensor]:
        chains, draws, gates = self.draws.shape
        r_hat, effective = torch.full((2, gates), torch.nan, dtype=torch.float64)
        moves = (self.draws != self.draws[:, :1]).any(1).any(0)
        differs = (self.draws[:, 0] != self.draws[0, 0]).any(0)
        r_hat[differs & ~moves] = torch.inf
        if draws < FEWEST or not bool(moves.any()):
            return r_hat, effective
        names = [name for name, does in zip(self.names, moves.tolist(), strict=True) if does]
        table = summary(self.to_datatree(), "z", names, kind="diagnostics")
        if chains > 1:
            r_hat[moves] = torch.from_numpy(table["r_hat"].to_numpy(dtype=float).copy())
        effective[moves] = torch.from_numpy(table["ess_bulk"].to_numpy(dtype=float).copy())
        return r_hat, effective

    def __repr__(self) -> str:
        return self.table()

    def table(self) -> str:
        """A row a group as text: gates that are open in nearly all draws, in few, and between; and how chains agree."""
        chains, draws, _ = self.draws.shape
        head = f"{chains} chains of {draws:,} draws at fixed weights, {self.examples:,} of {self.size:,} examples"
        rows = [["group", "gates", "open", "closed", "between", "largest R-hat", "fewest effective draws"]]
        rows += [self._row(group) for group in dict.fromkeys(self.groups)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = [
            "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
            for row in rows
        ]
        return "\n".join([head, *lines, "open, closed: in at least 99 % and at most 1 % of the draws"])

    def to_frame(self) -> "pandas.DataFrame":
        """A pandas table with a row a gate; R-hat and effective draws are NaN where a gate never changes."""
        import pandas

        return pandas.DataFrame(
            {
                "group": list(self.groups),
                "index": self.indices.tolist(),
                "inclusion": self.inclusion.tolist(),
                "prior_log_odds": self.log_odds.tolist(),
                "r_hat": self.r_hat.tolist(),
                "effective_draws": self.effective_draws.tolist(),
            },
            index=self.names,
        )

    def chains(self) -> Chains:
        """What `bayesprune.to_datatree` builds a tree from."""
        count, gates = self.draws.shape[0], self.draws.shape[2]
        names = dict.fromkeys(self.groups)
        sizes = {name: self.groups.count(name) for name in names}
        if self.pruned is not None:
            sizes = {group.name: group.size for group in self.pruned.groups if group.name in names}
        return Chains(
            z=self.draws.numpy(),
            group_of=self.groups,
            index=self.indices.numpy(),
            sizes=sizes,
            left=np.ones((count, gates), dtype=bool),
            networks=(self.pruned,) * count,
            log_odds=self.log_odds.double().numpy()[None].repeat(count, 0),
            note=NOTE,
        )

    def to_datatree(self, predicted: Predictive | None = None, **settings: Any) -> "xarray.DataTree":
        """The draws as a DataTree that ArviZ reads; see `bayesprune.to_datatree`.

        `constant_data` has `prior_log_odds` [gate] besides.

        Args:
            predicted: what `pruned.predictive(draws.draws)` gave: adds `log_likelihood` [chain, draw, example], which
                `arviz.loo` takes, `observed_data`, and `posterior_predictive` where targets were drawn.
            settings: as there: seed, data, split, examples, evidence, prior, weights.
        """
        from bayesprune.run.datatree import to_datatree

        return to_datatree(self, predicted=predicted, **settings)

    def _row(self, group: str) -> list[str]:
        """The row of a group; "-" where nothing ever changes."""
        own = torch.tensor([name == group for name in self.groups])
        share = self.inclusion[own]
        ends = int((share >= 0.99).sum()), int((share <= 0.01).sum())
        worst, fewest = self.r_hat[own], self.effective_draws[own]
        worst, fewest = worst[~worst.isnan()], fewest[~fewest.isnan()]
        return [
            group,
            *(f"{number:,}" for number in (len(share), *ends, len(share) - sum(ends))),
            f"{float(worst.max()):.2f}" if len(worst) else "-",
            f"{float(fewest.min()):,.0f}" if len(fewest) else "-",
        ]
