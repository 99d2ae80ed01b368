"""A prior over graphs, and so over the masks of networks: which generator, its parameters, and the graph it makes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

from bayesprune.errors import GraphError, SettingError, UnknownNameError
from bayesprune.graphs import FAMILIES
from bayesprune.graphs.laws import check_vertices, graph_from_edges
from bayesprune.graphs.layered import LayeredGraph, layered
from bayesprune.models.priors.one_of import OneOf
from bayesprune.models.priors.random_graph import PARAMETERS, RandomGraph


@dataclass(frozen=True)
class GeneratorSetting:
    """One generator with its parameters.

    Attributes:
        family: its name.
        parameters: its parameters by name.
        probability: prior probability.
    """

    family: str
    parameters: Mapping[str, float]
    probability: float

    def __str__(self) -> str:
        return f"{self.family} {' '.join(f'{name}={value:g}' for name, value in self.parameters.items())}"


class GraphPrior:
    """A program of Pyro's that draws a generator, its parameters and a graph of n vertices.

    Sites, all global:

        family ~ Categorical,  edges, neighbours, rewire, probability ~ laws of their own,
        graph | family, parameters ~ RandomGraph, conditioned on connected graphs.

    There is a site for every parameter of the families that are named, and "family" where there are several. Those of
    other families than the one that is drawn keep their prior. The graph, with edges from low to high vertices, is the
    layered graph of which networks are made, and so their mask.

    Args:
        vertices: n, 3 to 20; to sum over all graphs 3 to 6.
        families: names of generators, equally probable, or weights by name.
        edges: law of m of Barabasi-Albert; None for `OneOf` with equal weights on 1 to n // 2.
        neighbours: law of k of Watts-Strogatz; None for `OneOf` on the even numbers below n, equally probable.
        rewire: law of the rewiring probability; None for `OneOf` on 0, 1/4, 1/2, 3/4, 1; Beta is possible too.
        probability: law of an edge's probability of Erdos-Renyi; None for `OneOf` on 0.1, 0.3, 0.5, 0.7, 0.9.

    Raises:
        UnknownNameError: there is no such family.
        SettingError: no families, weights that are no probabilities, or the law of a parameter that no family has.
        GraphError: too few or too many vertices, or numbers for which a generator has no graph.
    """

    def __init__(
        self,
        vertices: int,
        families: Sequence[str] | Mapping[str, float] = FAMILIES,
        *,
        edges: Any = None,
        neighbours: Any = None,
        rewire: Any = None,
        probability: Any = None,
    ) -> None:
        check_vertices(vertices)
        if vertices == 2:
            raise GraphError("2 vertices have one connected graph: take 3 or more")
        weights = dict(families) if isinstance(families, Mapping) else dict.fromkeys(families, 1.0)
        for name in weights:
            if name not in PARAMETERS:
                raise UnknownNameError("family of random graphs", name, FAMILIES)
        if not weights or min(weights.values()) < 0 or not sum(weights.values()) > 0:
            raise SettingError(f"families with the weights {weights}: name one or more, with weights of 0 or more")
        self.vertices, self.families = vertices, tuple(weights)
        self.weights = torch.tensor(list(weights.values()), dtype=torch.float64) / sum(weights.values())
        given = {"edges": edges, "neighbours": neighbours, "rewire": rewire, "probability": probability}
        needed = [one for name in self.families for one in PARAMETERS[name]]
        if unused := [name for name, law in given.items() if law is not None and name not in needed]:
            raise SettingError(f"{unused[0]} is no parameter of {' and '.join(self.families)}: leave its law out")
        usual = {
            "edges": lambda: OneOf(range(1, max(1, vertices // 2) + 1)),
            "neighbours": lambda: OneOf(range(2, vertices, 2)),
            "rewire": lambda: OneOf([0.0, 0.25, 0.5, 0.75, 1.0]),
            "probability": lambda: OneOf([0.1, 0.3, 0.5, 0.7, 0.9]),
        }
        self.laws = {name: usual[name]() if given[name] is None else given[name] for name in needed}
        for name, law in self.laws.items():
            _check_law(name, law, vertices)

    def __call__(self, observed: Tensor | None = None) -> Tensor:
        """Sample the sites.

        Args:
            observed: graphs [G, n (n - 1) / 2] that one generator made, in the plate "graphs" (dim -1); None to draw
                one.

        Returns:
            The graph [n (n - 1) / 2], or those that were observed.

        Raises:
            SettingError: graphs of another size.
        """
        family = None
        if len(self.families) > 1:
            family = pyro.sample("family", dist.Categorical(self.weights.to(torch.get_default_dtype())))
        parameters = {name: pyro.sample(name, law) for name, law in self.laws.items()}
        law = RandomGraph(self.vertices, self.families, family, **parameters)
        if observed is None:
            graph: Tensor = pyro.sample("graph", law)
            return graph
        check_flags(observed, self.vertices, 2)
        with pyro.plate("graphs", len(observed), dim=-1):
            seen: Tensor = pyro.sample("graph", law, obs=observed)
        return seen

    def settings(self) -> list[GeneratorSetting]:
        """The generators with their parameters and prior probabilities, where every law is a `OneOf`.

        Raises:
            SettingError: a parameter has another law.
        """
        found = []
        for family, weight in zip(self.families, self.weights.tolist(), strict=True):
            names = PARAMETERS[family]
            grids = [self._grid(name) for name in names]
            for chosen in product(*grids):
                probability = weight
                for _, share in chosen:
                    probability *= share
                told = {name: value for name, (value, _) in zip(names, chosen, strict=True)}
                found.append(GeneratorSetting(family, told, probability))
        return found

    def log_probability(self, setting: GeneratorSetting, graphs: Tensor) -> Tensor:
        """Log probability (nats, float64) of graphs [..., n (n - 1) / 2] under one generator."""
        law = RandomGraph(
            self.vertices, [setting.family],
            **{name: torch.tensor(value, dtype=torch.float64) for name, value in setting.parameters.items()},
        )  # fmt: skip
        return law.wide_log_prob(graphs)

    def _grid(self, name: str) -> list[tuple[float, float]]:
        law = self.laws[name]
        if not isinstance(law, OneOf):
            raise SettingError(
                f"the law of {name} is a {type(law).__name__}: to sum over all generators give a OneOf, or use NUTS"
            )
        return list(zip(law.values.tolist(), law.probs.tolist(), strict=True))


def layered_from(graph: Tensor, vertices: int) -> LayeredGraph:
    """The layered graph of one value [n (n - 1) / 2] of the site "graph"."""
    check_flags(graph, vertices, 1)
    return layered(graph_from_edges(graph.bool().tolist(), vertices))


def check_flags(graphs: Tensor, vertices: int, axes: int | None = None) -> None:
    """Refuse what are no flags of the pairs of n vertices.

    Raises:
        SettingError: another shape, or other numbers than 0 and 1.
    """
    size = vertices * (vertices - 1) // 2
    wrong = graphs.dim() < 1 or graphs.shape[-1] != size or (axes is not None and graphs.dim() != axes)
    if wrong or not bool(((graphs == 0) | (graphs == 1)).all()):
        lead = "..., " if axes is None else "G, " * (axes - 1)
        raise SettingError(
            f"graphs {list(graphs.shape)}: give [{lead}{size}] of 0 and 1, a number for each pair of the {vertices} "
            "vertices"
        )


def _check_law(name: str, law: Any, vertices: int) -> None:
    """Refuse what is no law, and a `OneOf` with numbers for which there are no graphs."""
    if not isinstance(law, dist.TorchDistribution | torch.distributions.Distribution):
        raise SettingError(f"{name} is {law!r} and no distribution: for one number give OneOf([{law}])")
    if not isinstance(law, OneOf):
        return
    whole = name in ("edges", "neighbours")
    low, high = (2 if name == "neighbours" else 1, vertices - 1) if whole else (0, 1)
    for value in law.values.tolist():
        fits = low <= value <= high and (not whole or value == int(value))
        if not fits or (name == "probability" and value == 0):
            kind = {"edges": "whole numbers", "neighbours": "whole numbers", "probability": "numbers above 0"}
            raise GraphError(
                f"{name} can be {value:g}, for which there is no graph of {vertices} vertices: give "
                f"{kind.get(name, 'numbers')} from {low} to {high}"
            )
