"""Draws of gates from p(z | w, data), their inclusion probabilities, and how well the chains agree."""

import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from bayesprune.errors import SettingError
from bayesprune.run.datatree import for_arviz, import_arviz
from bayesprune.run.predictive import Predictive
from bayesprune.structure import Structure

if TYPE_CHECKING:
    import pandas
    import xarray

NOTE = (
    "Gibbs draws of the gates at fixed weights, p(z | w, data): they say nothing of networks that are trained anew. "
    "Settings under which a layer passes nothing are left out."
)

FEWEST = 4
"""Draws a chain that R-hat and effective sample sizes need at least."""


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
    """

    draws: Tensor
    groups: tuple[str, ...]
    indices: Tensor
    log_odds: Tensor
    examples: int
    size: int

    @classmethod
    def of(cls, draws: Tensor, structure: Structure, log_odds: Tensor, examples: int, size: int) -> "GibbsDraws":
        """Those of the gates of a structure."""
        names = tuple(group.name for group in structure.groups for _ in range(len(group.kept)))
        return cls(draws, names, torch.cat([group.kept for group in structure.groups]), log_odds, examples, size)

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
        places = moves.nonzero().flatten()
        if draws < FEWEST or not len(places):
            return r_hat, effective
        import xarray

        chosen = xarray.DataTree.from_dict(
            {"posterior": xarray.Dataset({"z": (("chain", "draw", "gate"), self.draws[..., places].numpy())})}
        )
        arviz = import_arviz()
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            table = arviz.summary(for_arviz(chosen), round_to="none", kind="diagnostics")
        if chains > 1:
            r_hat[places] = torch.from_numpy(table["r_hat"].to_numpy(dtype=float).copy())
        effective[places] = torch.from_numpy(table["ess_bulk"].to_numpy(dtype=float).copy())
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

    def to_datatree(self, predicted: Predictive | None = None) -> "xarray.DataTree":
        """The draws as a DataTree that ArviZ reads, laid out as `bayesprune.run.datatree.to_datatree` does.

        Groups: `posterior` with `z` [chain, draw, gate] and `open_gates` [chain, draw, group]; `constant_data` with
        `group_of_gate`, `index_in_group` and `prior_log_odds` [gate].

        Args:
            predicted: what `pruned.predictive(draws.draws)` gave: adds `log_likelihood` [chain, draw, example], which
                `arviz.loo` takes, `observed_data`, and `posterior_predictive` where targets were drawn.
        """
        import xarray

        names = list(dict.fromkeys(self.groups))
        z = self.draws.numpy()
        counts = np.stack([z[..., np.array(self.groups) == name].sum(-1, dtype=np.int64) for name in names], -1)
        chain, draw = np.arange(z.shape[0]), np.arange(z.shape[1])
        posterior = xarray.Dataset(
            {"z": (("chain", "draw", "gate"), z), "open_gates": (("chain", "draw", "group"), counts)},
            coords={"chain": chain, "draw": draw, "gate": self.names, "group": names},
            attrs={"note": NOTE},
        )
        constants = xarray.Dataset(
            {
                "group_of_gate": ("gate", list(self.groups)),
                "index_in_group": ("gate", self.indices.numpy()),
                "prior_log_odds": ("gate", self.log_odds.numpy()),
            },
            coords={"gate": self.names},
        )
        groups = {"posterior": posterior, "constant_data": constants}
        if predicted is not None:
            if predicted.log_likelihood.shape[:2] != self.draws.shape[:2]:
                found, own = list(predicted.log_likelihood.shape[:2]), list(self.draws.shape[:2])
                raise SettingError(f"the predictions are of {found} chains and draws, and these are {own}")
            groups |= {
                name: one.assign_coords({axis: posterior[axis] for axis in ("chain", "draw") if axis in one.dims})
                for name, one in predicted.groups().items()
            }
        tree = xarray.DataTree.from_dict(groups)
        tree.attrs.update({"note": NOTE, "inference_library": "bayesprune"})
        return tree

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
