"""Random graphs by name: "watts-strogatz:3", or "watts-strogatz:3:vertices=20:neighbours=4:rewire=0.5"."""

from collections.abc import Callable, Mapping
from typing import Any

from bayesprune.errors import GraphError, UnknownNameError
from bayesprune.graphs.checks import Graph
from bayesprune.graphs.random import FAMILIES, barabasi_albert, erdos_renyi, study_graph, watts_strogatz

PARAMETERS: Mapping[str, Mapping[str, type]] = {
    "barabasi-albert": {"vertices": int, "edges": int},
    "watts-strogatz": {"vertices": int, "neighbours": int, "rewire": float},
    "erdos-renyi": {"vertices": int, "probability": float},
}
"""The numbers that each generator takes, and of what kind they are."""

MOST_VERTICES = 10_000
"""Of a graph by name."""

_MAKERS: Mapping[str, Callable[..., Graph]] = {
    "barabasi-albert": barabasi_albert,
    "watts-strogatz": watts_strogatz,
    "erdos-renyi": erdos_renyi,
}


def named_graph(name: str) -> Graph:
    """The random graph that a name stands for.

    Args:
        name: "FAMILY:SEED" for a graph of the study (`study_graph`), or "FAMILY:SEED:NUMBER=VALUE:..." with all numbers
            of the family's generator.

    Raises:
        GraphError: the name cannot be read, numbers are missing, or there is no such graph.
        UnknownNameError: there is no such family, or it takes no such number.
    """
    family, _, rest = name.partition(":")
    seed, *pairs = rest.split(":")
    if not seed.isdecimal():
        raise GraphError(f"graph {name!r}: write a family and a seed, as in watts-strogatz:3")
    if not pairs:
        return study_graph(family, int(seed))
    if family not in PARAMETERS:
        raise UnknownNameError("family of random graphs", family, FAMILIES)
    kinds, given = PARAMETERS[family], {}
    for pair in pairs:
        key, _, value = pair.partition("=")
        if key not in kinds:
            raise UnknownNameError(f"number of {family}", key, kinds)
        try:
            given[key] = kinds[key](value)
        except ValueError:
            raise GraphError(f"graph {name!r}: {key} is {value!r}, where a number is needed") from None
    if given.get("vertices", 0) > MOST_VERTICES:
        raise GraphError(f"graph {name!r}: at most {MOST_VERTICES:,} vertices")
    missing = [key for key in kinds if key not in given]
    if missing:
        raise GraphError(f"graph {name!r} lacks {', '.join(missing)}")
    return _MAKERS[family](seed=int(seed), **given)


def graph_name(family: str, seed: int, numbers: Mapping[str, Any]) -> str:
    """The name of a random graph; the other way round than `named_graph`."""
    return ":".join([family, str(seed), *(f"{key}={numbers[key]}" for key in PARAMETERS[family])])
