"""Draws of graphs and generators from their posterior, and how well the chains agree."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from bayesprune.inference.references.exact_graphs import edge_names
from bayesprune.inference.references.nuts_draws import diagnostics
from bayesprune.models.priors.graph_prior import GeneratorSetting

if TYPE_CHECKING:
    import xarray

NOTE = (
    "Draws of graphs by Metropolis' method with generators summed out, and of a generator given each graph. Parameters "
    "that the drawn generator does not have are NaN."
)


@dataclass(frozen=True, eq=False, repr=False)
class GraphDraws:
    """R chains of D draws from p(generator, graph | data).

    Attributes:
        vertices: n.
        settings: the generators with their parameters and prior probabilities [C].
        graphs: [R, D, n (n - 1) / 2], uint8.
        setting: number of the generator of each draw [R, D].
        of_settings: posterior of the generators given the graph of each draw [R, D, C].
        log_p: log prior plus log-likelihood of each graph [R, D], nats, up to a constant.
        accepted: share of the proposals of each kind that were taken: "flip", "move", "fresh".
    """

    vertices: int
    settings: tuple[GeneratorSetting, ...]
    graphs: Tensor
    setting: Tensor
    of_settings: Tensor
    log_p: Tensor
    accepted: dict[str, float]

    @property
    def settings_probability(self) -> Tensor:
        """Posterior of the generators [C]: the mean over draws of that given the graph."""
        return self.of_settings.mean((0, 1))

    @property
    def edges(self) -> Tensor:
        """Posterior probability of each edge [n (n - 1) / 2]."""
        return self.graphs.double().mean((0, 1))

    @property
    def r_hat(self) -> Tensor:
        """R-hat [n (n - 1) / 2 + 1] (ArviZ) of the edges and, last, of `log_p`; NaN for what never changes."""
        return self._diagnostics[0]

    @property
    def effective_draws(self) -> Tensor:
        """Effective sample sizes of the same, of all chains together."""
        return self._diagnostics[1]

    @cached_property
    def _diagnostics(self) -> tuple[Tensor, Tensor]:
        return diagnostics(torch.cat([self.graphs.double(), self.log_p[..., None]], -1))

    def __repr__(self) -> str:
        return self.table()

    def table(self) -> str:
        """The most probable generators as text, and how the chains agree."""
        chains, draws, _ = self.graphs.shape
        taken = ", ".join(f"{kind} {100 * share:.0f} %" for kind, share in self.accepted.items())
        lines = [
            f"{chains} chains of {draws:,} graphs of {self.vertices} vertices; proposals taken: {taken}",
            f"log posterior: R-hat {float(self.r_hat[-1]):.3f}, {float(self.effective_draws[-1]):,.0f} effective draws",
            f"{'generator':44} {'prior':>8} {'posterior':>10}",
        ]
        for row in self.settings_probability.argsort(descending=True)[:6].tolist():
            one = self.settings[row]
            lines.append(f"{one!s:44} {one.probability:8.4f} {float(self.settings_probability[row]):10.4f}")
        return "\n".join(lines)

    def to_datatree(self) -> "xarray.DataTree":
        """The draws as an xarray DataTree that ArviZ reads; ArviZ before 1.0 through `bayesprune.for_arviz`.

        - `posterior`: `graph` [chain, draw, edge], uint8; `edges_there` [chain, draw]; `family` [chain, draw], text;
          the parameters [chain, draw], called `generator_edges` and so on, NaN where the generator has none.
        - `sample_stats`: `lp` [chain, draw], nats up to a constant.
        - `constant_data`: `prior_probability` [setting].
        """
        import xarray

        axes, own = ("chain", "draw"), self.setting.numpy()
        names = dict.fromkeys(name for one in self.settings for name in one.parameters)
        told = {name: np.array([one.parameters.get(name, np.nan) for one in self.settings])[own] for name in names}
        variables: dict[str, Any] = {
            "graph": ((*axes, "edge"), self.graphs.numpy()),
            "edges_there": (axes, self.graphs.sum(-1, dtype=torch.int64).numpy()),
            "family": (axes, np.array([one.family for one in self.settings])[own]),
        } | {f"generator_{name}": (axes, values) for name, values in told.items()}
        places = {axis: np.arange(size) for axis, size in zip(axes, own.shape, strict=True)}
        posterior = xarray.Dataset(variables, coords=places | {"edge": edge_names(self.vertices)})
        stats = xarray.Dataset({"lp": (axes, self.log_p.numpy())}, coords=places)
        prior = [one.probability for one in self.settings]
        constants = xarray.Dataset(
            {"prior_probability": ("setting", prior)}, coords={"setting": [str(one) for one in self.settings]}
        )
        tree = xarray.DataTree.from_dict({"posterior": posterior, "sample_stats": stats, "constant_data": constants})
        tree.attrs.update({"note": NOTE, "inference_library": "bayesprune"})
        return tree
