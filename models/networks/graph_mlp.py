"""Feed-forward networks whose layers are joined as a graph says."""

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from bayesprune.models.networks.graph_masks import (
    MERGES,
    check_choice,
    check_sizes,
    graph_of,
    plain_edges,
    recurrent_masks,
    sources_of,
)
from bayesprune.models.networks.lenet import check_widths
from bayesprune.models.networks.masked import MaskedLinear
from bayesprune.run.networks import register

_ACTIVATIONS = {"relu": torch.relu, "tanh": torch.tanh}


@register("graphmlp")
class GraphMLP(nn.Module):
    """A classifier: a dense layer to the first layer of a graph, a masked one for each later layer, and a linear head.

    Args:
        graph: a graph of NetworkX, a `bayesprune.graphs.LayeredGraph`, directed edges as pairs of whole numbers, or
            the name of a random graph (`bayesprune.graphs.named_graph`).
        activation: "relu" or "tanh".
        merge: how a layer joins what it reads from several layers. "pre", as in the paper's text (arXiv 2107.12917):
            one sum and one bias, then the nonlinearity. "post", as in its code: a bias and a nonlinearity for each of
            the layers that are read, whose results are added.
        widths: one number: units that each vertex stands for; those of joined vertices are all joined.
        input_shape: shape of one input, flattened before the first layer.
        classes: outputs.

    Raises:
        GraphError: a graph that a network cannot have.
        SettingError: a word or a size that is not possible.
    """

    def __init__(
        self,
        graph: Any = "watts-strogatz:0",
        activation: str = "relu",
        merge: str = "pre",
        widths: Sequence[int] = (1,),
        input_shape: Sequence[int] = (1, 28, 28),
        classes: int = 10,
    ) -> None:
        super().__init__()
        check_choice("activation", activation, tuple(_ACTIVATIONS))
        check_choice("merge", merge, MERGES)
        check_widths("graphmlp", widths, 1, classes)
        check_sizes(inputs=prod(input_shape), classes=classes)
        self.graph = graph_of(graph)
        self.activation, self.merge = activation, merge
        self.spec_arguments = {
            "graph": graph if isinstance(graph, str) else plain_edges(self.graph), "activation": activation,
            "merge": merge, "widths": list(widths), "input_shape": list(input_shape), "classes": classes,
        }  # fmt: skip
        self.sizes = [size * widths[0] for size in self.graph.sizes]
        block = torch.ones(widths[0], widths[0])
        masks = [torch.ones(self.sizes[0], prod(input_shape))] + [
            torch.kron(recurrent_masks(self.graph, layer, gates=1, merge=merge, gate_mask="tile")[0], block)
            for layer in range(1, len(self.sizes))
        ]
        self.layers = nn.ModuleList(MaskedLinear(mask) for mask in masks)
        self.sources = [(), *(sources_of(self.graph, layer) for layer in range(1, len(self.sizes)))]
        self.head = nn.Linear(self.sizes[-1], classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits [B, classes] of inputs [B, ...]."""
        activate = _ACTIVATIONS[self.activation]
        outputs: list[Tensor] = []
        for units, sources, layer in zip(self.sizes, self.sources, self.layers, strict=True):
            read = torch.cat([outputs[source] for source in sources], 1) if sources else inputs.flatten(1)
            outputs.append(activate(layer(read)).unflatten(1, (-1, units)).sum(1))
        logits: Tensor = self.head(outputs[-1])
        return logits
