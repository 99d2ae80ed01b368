"""GraphML, which other programs read: graphs out and in."""

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import networkx as nx

from bayesprune.errors import GraphError, StoreError
from bayesprune.graphs.checks import DiGraph, Graph
from bayesprune.graphs.layered import LayeredGraph

_PLAIN = (bool, int, float, str)


def write_graphml(graph: Graph | DiGraph | LayeredGraph, path: str | Path) -> Path:
    """Write a graph with the attributes of its vertices and edges; those of a layered graph get their layer.

    Attributes that are no numbers, texts or truth values are written as text.

    Raises:
        StoreError: the file cannot be written.
    """
    if isinstance(graph, LayeredGraph):
        plain: Graph = graph.graph.copy()
        nx.set_node_attributes(plain, graph.layer_of, "layer")
    else:
        plain = graph.copy()
    for attributes in (plain.graph, *(a for _, a in plain.nodes(data=True)), *(a for *_, a in plain.edges(data=True))):
        attributes.update(_as_plain(attributes))
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            nx.write_graphml_xml(plain, file, named_key_ids=True)
    except OSError as error:
        raise StoreError(f"{path} cannot be written ({error.strerror or error}): name another file") from error
    return path


def read_graphml(path: str | Path) -> Graph | DiGraph:
    """Read a graph; vertices are numbered where all names are whole numbers, and keep their names otherwise.

    Raises:
        GraphError: the file holds no GraphML, or parallel edges.
        StoreError: it cannot be read.
    """
    path = Path(path)
    try:
        text = path.read_bytes()
    except OSError as error:
        raise StoreError(f"{path} cannot be read ({error.strerror or error})") from error
    if b"<!DOCTYPE" in text or b"<!ENTITY" in text:
        raise GraphError(f"{path} declares XML entities, which are not read: write it anew without")
    try:
        graph: Any = nx.parse_graphml(text.decode("utf-8"))
    except (nx.NetworkXError, ElementTree.ParseError, KeyError, ValueError) as error:
        shown = " ".join(str(error).split())
        raise GraphError(f"{path} holds no GraphML ({shown}): write it with networkx.write_graphml") from error
    if graph.is_multigraph():
        raise GraphError(f"{path} has parallel edges: join them first")
    names = [str(vertex) for vertex in graph.nodes]
    if names and all(name.isdecimal() and str(int(name)) == name for name in names):
        graph = nx.relabel_nodes(graph, {vertex: int(vertex) for vertex in graph.nodes})
    return graph  # type: ignore[no-any-return]  # NetworkX types this as any of four classes


def _as_plain(attributes: dict[str, Any]) -> dict[str, Any]:
    return {key: value if isinstance(value, _PLAIN) else str(value) for key, value in attributes.items()}
