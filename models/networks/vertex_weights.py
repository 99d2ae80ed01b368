"""Weights by vertices: one set of numbers of fixed shapes from which the network of every graph takes what it has."""

from collections.abc import Mapping

import torch
from torch import Size, Tensor

from bayesprune.errors import GraphError
from bayesprune.models.networks.graph_mlp import GraphMLP
from bayesprune.models.networks.graph_rnn import GraphRNN
from bayesprune.models.networks.masked import GATES

GraphNetwork = GraphMLP | GraphRNN


def vertex_shapes(network: GraphNetwork) -> dict[str, Size]:
    """The shapes of the weights of n vertices; the same for all graphs of n vertices.

    - `input` [g, n, D]: to each vertex from the inputs (from the embedding), used where it is in the first layer.
    - `edge` [g, n, n]: to a vertex (rows) from another, used where there is an edge.
    - `bias` [g, n]: of each vertex. `head` [K, n] and `head_bias` [K]: from the vertices of the last layer.
    - of recurrent networks `embedding` [V, D], `around` [g, n, n] to a vertex from those of its layer a step before,
      and `bias_around` [g, n].

    g is 1 without time, 1 for tanh and ReLU cells, 3 for GRU, 4 for LSTM.

    Raises:
        GraphError: a network with merge "post", which has weights for pairs of layers; or vertices other than 0 to
            n - 1.
    """
    _check(network)
    n, classes = sum(network.graph.sizes), network.head.out_features
    gates = GATES[network.cell] if isinstance(network, GraphRNN) else 1
    width = network.embedding.embedding_dim if isinstance(network, GraphRNN) else _first(network).shape[1]
    found = {
        "input": Size([gates, n, width]), "edge": Size([gates, n, n]), "bias": Size([gates, n]),
        "head": Size([classes, n]), "head_bias": Size([classes]),
    }  # fmt: skip
    if isinstance(network, GraphRNN):
        tokens = network.embedding.num_embeddings
        found |= {"embedding": Size([tokens, width]), "around": Size([gates, n, n]), "bias_around": Size([gates, n])}
    return found


def network_weights(network: GraphNetwork, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The parameters of a network from the weights of its vertices, for `torch.func.functional_call`.

    Args:
        network: of a graph with the vertices 0 to n - 1, and merge "pre".
        weights: as `vertex_shapes` says.

    Raises:
        GraphError: a weight is missing or has another shape, or as for `vertex_shapes`.
    """
    for name, shape in vertex_shapes(network).items():
        if name not in weights or weights[name].shape != shape:
            given = list(weights[name].shape) if name in weights else "missing"
            raise GraphError(f"weights {name!r} of vertices are {given}: {list(shape)} are needed")
    found = {"head.weight": weights["head"][:, _vertices(network, len(network.graph.layers) - 1)]}
    found["head.bias"] = weights["head_bias"]
    for number, sources in enumerate(network.sources):
        rows = _vertices(network, number)
        if sources:
            columns = torch.cat([_vertices(network, source) for source in sources])
            inward = weights["edge"][:, rows][:, :, columns]
        else:
            inward = weights["input"][:, rows]
        place = f"layers.{number}"
        if isinstance(network, GraphRNN):
            found[f"{place}.weight_ih"] = inward.flatten(0, 1)
            found[f"{place}.weight_hh"] = weights["around"][:, rows][:, :, rows].flatten(0, 1)
            found[f"{place}.bias_ih"] = weights["bias"][:, rows].flatten()
            found[f"{place}.bias_hh"] = weights["bias_around"][:, rows].flatten()
        else:
            found[f"{place}.weight"] = inward[0]
            found[f"{place}.bias"] = weights["bias"][0, rows]
    if isinstance(network, GraphRNN):
        found["embedding.weight"] = weights["embedding"]
    return found


def _vertices(network: GraphNetwork, layer: int) -> Tensor:
    return torch.tensor(network.graph.layers[layer])


def _first(network: GraphMLP) -> Tensor:
    mask: Tensor = network.layers[0].get_buffer("mask")
    return mask


def _check(network: GraphNetwork) -> None:
    if not isinstance(network, GraphMLP | GraphRNN):
        raise GraphError(f"a {type(network).__name__} was given: a GraphMLP or GraphRNN is needed")
    if network.merge != "pre":
        raise GraphError(
            "merge is 'post', which gives each pair of layers weights of its own: build the network with merge='pre'"
        )
    if set(network.graph.graph.nodes) != set(range(sum(network.graph.sizes))):
        raise GraphError("the vertices of the graph are not 0 to n - 1: number them")
