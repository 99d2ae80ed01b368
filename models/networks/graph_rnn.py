"""Recurrent networks whose layers are joined as a graph says."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bayesprune.models.networks.graph_masks import (
    GATE_MASKS,
    MERGES,
    check_choice,
    check_sizes,
    graph_of,
    plain_edges,
    recurrent_masks,
    sources_of,
)
from bayesprune.models.networks.masked import GATES, MaskedRNN, check_cell
from bayesprune.models.networks.tokens import READS, check_tokens, lengths_of, state_read
from bayesprune.run.networks import register


@register("graphrnn")
class GraphRNN(nn.Module):
    """A classifier of token sequences: embedding, one recurrent layer for each layer of a graph, and a linear head.

    As in the study of sparse recurrent networks (arXiv 2107.12917): the first layer reads the embedding through a dense
    matrix; a unit of a later layer reads the units from which edges lead to it; recurrent matrices within a layer are
    dense; the head reads the last layer. All cells that feed one layer run as one recurrent layer of torch.

    Args:
        graph: a graph of NetworkX, a `bayesprune.graphs.LayeredGraph`, directed edges as pairs of whole numbers, or
            "FAMILY:SEED" for a random graph of the study.
        cell: "tanh", "relu", "gru" or "lstm".
        merge: how a layer joins what it reads from several layers. "post", as published: a cell of its own for each of
            them, with its own biases and recurrent weights, and their outputs are added after the nonlinearity. "pre":
            one cell, in which they are added before it.
        gate_mask: "tile", or "interleave" as published, where gates of GRU and LSTM read what the graph says of other
            units.
        read: "last_letter": the head reads the state after the last token that is not 0. "last_step", as published:
            that after the padding up to the longest sequence of the batch, so that the answer depends on the batch.
        width: of the embedding; None for the number of units of the first layer, as published.
        vocabulary: tokens that there are, 0 being the padding.
        input_shape: (tokens of a sequence,).
        classes: outputs.

    Raises:
        GraphError: a graph that a network cannot have.
        SettingError: a word or a size that is not possible.
        InputShapeError: inputs that are no sequences of tokens.
    """

    def __init__(
        self,
        graph: Any = "watts-strogatz:0",
        cell: str = "gru",
        merge: str = "post",
        gate_mask: str = "tile",
        read: str = "last_letter",
        width: int | None = None,
        vocabulary: int = 27,
        input_shape: Sequence[int] = (60,),
        classes: int = 2,
    ) -> None:
        super().__init__()
        check_cell(cell)
        for name, value, known in (
            ("merge", merge, MERGES),
            ("gate_mask", gate_mask, GATE_MASKS),
            ("read", read, READS),
        ):
            check_choice(name, value, known)
        check_tokens("graphrnn", input_shape)
        self.graph = graph_of(graph)
        sizes = self.graph.sizes
        width = sizes[0] if width is None else width
        check_sizes(width=width, vocabulary=vocabulary, classes=classes)
        self.cell, self.merge, self.gate_mask, self.read = cell, merge, gate_mask, read
        self.spec_arguments = {
            "graph": graph if isinstance(graph, str) else plain_edges(self.graph), "cell": cell, "merge": merge,
            "gate_mask": gate_mask, "read": read, "width": width, "vocabulary": vocabulary,
            "input_shape": list(input_shape), "classes": classes,
        }  # fmt: skip
        self.embedding = nn.Embedding(vocabulary, width)
        gates = GATES[cell]
        first = torch.ones(gates * sizes[0], width), torch.ones(gates * sizes[0], sizes[0])
        masks = [first] + [
            recurrent_masks(self.graph, layer, gates=gates, merge=merge, gate_mask=gate_mask)
            for layer in range(1, len(sizes))
        ]
        self.layers = nn.ModuleList(
            MaskedRNN(cell, *pair, bound=units**-0.5) for pair, units in zip(masks, sizes, strict=True)
        )
        self.sources = [(), *(sources_of(self.graph, layer) for layer in range(1, len(sizes)))]
        self.head = nn.Linear(sizes[-1], classes)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits [B, classes] of tokens [B, L]."""
        lengths = lengths_of(tokens)
        outputs: list[Tensor] = []
        for units, sources, layer in zip(self.graph.sizes, self.sources, self.layers, strict=True):
            if not sources:
                outputs.append(layer(self.embedding(tokens[:, : int(lengths.max())])))
                continue
            cells: Tensor = layer(torch.cat([outputs[source] for source in sources], 2))
            outputs.append(cells.unflatten(2, (-1, units)).sum(2))
        logits: Tensor = self.head(state_read(outputs[-1], lengths, self.read))
        return logits
