"""The exact posterior of a random graph and of the generator that made it, over all of both."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bayesprune.errors import SettingError
from bayesprune.graphs import connected_graphs
from bayesprune.graphs.laws import pairs
from bayesprune.models.priors.graph_prior import GeneratorSetting, GraphPrior, check_flags
from bayesprune.run.settings import check_integer

if TYPE_CHECKING:
    import pandas

SHOWN = 6
"""Generators in a table."""

LogLikelihood = Callable[[Tensor], Tensor]
"""From graphs [S, n (n - 1) / 2] to the log-likelihood [S] of data, nats."""


@dataclass(frozen=True, eq=False, repr=False)
class ExactGraphs:
    """p(generator, graph | data) for C generators and S graphs.

    Attributes:
        vertices: n.
        settings: the generators with their parameters and prior probabilities [C].
        graphs: [S, n (n - 1) / 2], 0 or 1; those that were observed, or all connected ones.
        log_joint: log p(generator, graph, data) [C, S], nats; of observed graphs [C, 1], all of them together.
    """

    vertices: int
    settings: tuple[GeneratorSetting, ...]
    graphs: Tensor
    log_joint: Tensor

    @property
    def log_evidence(self) -> float:
        """log p(data), nats; of observed graphs their log probability with generators summed out."""
        return float(self.log_joint.logsumexp((0, 1)))

    @cached_property
    def probability(self) -> Tensor:
        """Posterior of generators and graphs together [C, S], or [C, 1] where graphs were observed."""
        return (self.log_joint - self.log_joint.logsumexp((0, 1))).exp()

    @property
    def of_settings(self) -> Tensor:
        """Posterior of the generators with their parameters [C]."""
        return self.probability.sum(1)

    @property
    def of_graphs(self) -> Tensor:
        """Posterior of the graphs [S].

        Raises:
            SettingError: they were observed.
        """
        if self.log_joint.shape[1] != len(self.graphs):
            raise SettingError("the graphs were observed: there is no posterior of them")
        return self.probability.sum(0)

    @property
    def edges(self) -> Tensor:
        """Posterior probability of each edge [n (n - 1) / 2], and so of each weight's being there."""
        return self.of_graphs @ self.graphs.double()

    def marginal(self, name: str) -> dict[str | float, float]:
        """Posterior of "family" or of a parameter, value by value; of a parameter given the families that have it.

        Raises:
            SettingError: no family has such a parameter.
        """
        found: dict[str | float, float] = {}
        for setting, share in zip(self.settings, self.of_settings.tolist(), strict=True):
            value = setting.family if name == "family" else setting.parameters.get(name)
            if value is not None:
                found[value] = found.get(value, 0.0) + share
        total = sum(found.values())
        if not found:
            known = dict.fromkeys(one for setting in self.settings for one in setting.parameters)
            raise SettingError(f"there is no parameter {name!r}: take family, {', '.join(known)}")
        return {value: share / total if total else float("nan") for value, share in sorted(found.items(), key=_order)}

    def sample(self, draws: int, seed: int = 0) -> tuple[Tensor, Tensor]:
        """Independent draws: numbers of settings [D] and graphs [D, n (n - 1) / 2]; of observed graphs none."""
        check_integer("draws", draws, 1)
        random = torch.Generator().manual_seed(seed)
        rows = torch.multinomial(self.probability.flatten(), draws, replacement=True, generator=random)
        columns = self.log_joint.shape[1]
        graphs = self.graphs[rows % columns] if columns == len(self.graphs) else self.graphs[:0]
        return rows // columns, graphs

    def __repr__(self) -> str:
        return self.table()

    def table(self) -> str:
        """The most probable generators as text."""
        what = f"all {len(self.graphs):,} connected graphs" if self._latent else f"{len(self.graphs):,} observed graphs"
        lines = [
            f"{what} of {self.vertices} vertices under {len(self.settings):,} generators: log evidence "
            f"{self.log_evidence:,.2f} nats",
            f"{'generator':44} {'prior':>8} {'posterior':>10}",
        ]
        for row in self.of_settings.argsort(descending=True)[:SHOWN].tolist():
            setting = self.settings[row]
            lines.append(f"{setting!s:44} {setting.probability:8.4f} {float(self.of_settings[row]):10.4f}")
        return "\n".join(lines)

    def to_frame(self) -> "pandas.DataFrame":
        """A pandas table with a row a generator; parameters that it does not have are NaN."""
        import pandas

        rows = [{"family": one.family} | dict(one.parameters) | {"prior": one.probability} for one in self.settings]
        return pandas.DataFrame(rows).assign(posterior=self.of_settings.tolist())

    @property
    def _latent(self) -> bool:
        return self.log_joint.shape[1] == len(self.graphs) != 1


def exact_graphs(
    prior: GraphPrior, log_likelihood: LogLikelihood | None = None, *, observed: Tensor | None = None
) -> ExactGraphs:
    """The exact posterior of generators and graphs, by summing over all of them.

    Every law of the prior must be a `OneOf`. Probabilities of labelled graphs are exact
    (`bayesprune.graphs.log_probability`).

    Args:
        prior: of the graph.
        log_likelihood: of data, from all S connected graphs [S, n (n - 1) / 2] to nats [S]; up to 6 vertices.
        observed: or graphs [G, n (n - 1) / 2] that one generator made, and no other data; up to 20 vertices.

    Raises:
        SettingError: neither or both are given, another shape, NaN, a law that is no `OneOf`, or nothing that is
            observed is possible.
        GraphError: too many vertices to sum over.
    """
    if (log_likelihood is None) == (observed is None):
        raise SettingError("give either a log_likelihood of graphs, or observed graphs")
    settings = tuple(prior.settings())
    graphs = torch.from_numpy(connected_graphs(prior.vertices)).double() if observed is None else observed
    check_flags(graphs, prior.vertices, 2)
    own = torch.tensor([[one.probability] for one in settings], dtype=torch.float64).log()
    each = torch.stack([prior.log_probability(one, graphs) for one in settings])
    if log_likelihood is None:
        joint = own + each.sum(1, keepdim=True)
    else:
        joint = own + each + check_likelihood(log_likelihood(graphs), len(graphs))
    if not bool(joint.isfinite().any()):
        raise SettingError("no generator of the prior can have made what was observed: widen its laws or families")
    return ExactGraphs(prior.vertices, settings, graphs, joint)


def check_likelihood(nats: Tensor, count: int) -> Tensor:
    """Refuse what is no log-likelihood of so many graphs.

    Raises:
        SettingError: another shape, NaN, or infinite.
    """
    if nats.shape != (count,) or bool((nats.isnan() | (nats == torch.inf)).any()):
        raise SettingError(
            f"log_likelihood gave {list(nats.shape)}: it must give {count} numbers, none of them NaN or infinite"
        )
    return nats.detach().double()


def edge_names(vertices: int) -> list[str]:
    """The pairs of vertices as they are called in tables and trees: `0-1`."""
    return [f"{low}-{high}" for low, high in pairs(vertices)]


def _order(item: tuple[str | float, float]) -> tuple[str, float]:
    value = item[0]
    return (value, 0.0) if isinstance(value, str) else ("", float(value))
