"""Plain recurrent networks: one layer upon the other."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from bayesprune.errors import SettingError
from bayesprune.models.networks.graph_masks import check_choice, check_sizes
from bayesprune.models.networks.masked import check_cell
from bayesprune.models.networks.tokens import READS, check_tokens, lengths_of, state_read
from bayesprune.run.networks import register

WIDTHS = (50, 50, 50)


@register("rnn")
class StackedRNN(nn.Module):
    """A classifier of token sequences: embedding, recurrent layers rnn1, rnn2, ... one upon the other, a linear head.

    With the defaults it is the network of the study of sparse recurrent networks (arXiv 2107.12917): three layers of
    50, torch's equations, gate order and initial weights. By name it is `rnn-tanh`, `rnn-relu`, `rnn-gru` (or `rnn`)
    and `rnn-lstm`. Each layer is a layer of torch of its own, so that its hidden units can be removed without those of
    another one.

    Args:
        cell: "tanh", "relu", "gru" or "lstm".
        widths: hidden units of the layers.
        width: of the embedding.
        read: "last_letter": the head reads the state after the last token that is not 0. "last_step", as published:
            that after the padding up to the longest sequence of the batch, so that the answer depends on the batch.
        vocabulary: tokens that there are, 0 being the padding.
        input_shape: (tokens of a sequence,).
        classes: outputs.

    Raises:
        UnknownNameError: there is no such cell.
        SettingError: a word or a size that is not possible.
        InputShapeError: inputs that are no sequences of tokens.
    """

    def __init__(
        self,
        cell: str = "gru",
        widths: Sequence[int] = WIDTHS,
        width: int = 50,
        read: str = "last_letter",
        vocabulary: int = 27,
        input_shape: Sequence[int] = (60,),
        classes: int = 2,
    ) -> None:
        super().__init__()
        check_cell(cell)
        check_choice("read", read, READS)
        check_tokens("rnn", input_shape)
        check_sizes(width=width, vocabulary=vocabulary, classes=classes)
        if not widths or any(units < 1 for units in widths):
            raise SettingError(f"rnn takes one or more widths >= 1, not {tuple(widths)}")
        self.read, self.depth = read, len(widths)
        self.spec_arguments = {
            "cell": cell, "widths": list(widths), "width": width, "read": read, "vocabulary": vocabulary,
            "input_shape": list(input_shape), "classes": classes,
        }  # fmt: skip
        self.embedding = nn.Embedding(vocabulary, width)
        for number, (inputs, units) in enumerate(pairwise((width, *widths)), 1):
            self.add_module(f"rnn{number}", _layer(cell, inputs, units))
        self.head = nn.Linear(widths[-1], classes)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits [B, classes] of tokens [B, L]."""
        lengths = lengths_of(tokens)
        states: Tensor = self.embedding(tokens[:, : int(lengths.max())])
        for number in range(1, self.depth + 1):
            states = self.get_submodule(f"rnn{number}")(states)[0]
        logits: Tensor = self.head(state_read(states, lengths, self.read))
        return logits


def _layer(cell: str, inputs: int, units: int) -> nn.Module:
    """One layer of torch."""
    if cell in ("tanh", "relu"):
        return nn.RNN(inputs, units, nonlinearity=cell, batch_first=True)
    return (nn.GRU if cell == "gru" else nn.LSTM)(inputs, units, batch_first=True)


@register("rnn-tanh")
def rnn_tanh(widths: Sequence[int] = WIDTHS, **arguments: Any) -> StackedRNN:
    """`StackedRNN` with plain cells and tanh."""
    return StackedRNN("tanh", widths, **arguments)


@register("rnn-relu")
def rnn_relu(widths: Sequence[int] = WIDTHS, **arguments: Any) -> StackedRNN:
    """`StackedRNN` with plain cells and rectifiers."""
    return StackedRNN("relu", widths, **arguments)


@register("rnn-gru")
def rnn_gru(widths: Sequence[int] = WIDTHS, **arguments: Any) -> StackedRNN:
    """`StackedRNN` with gated recurrent units."""
    return StackedRNN("gru", widths, **arguments)


@register("rnn-lstm")
def rnn_lstm(widths: Sequence[int] = WIDTHS, **arguments: Any) -> StackedRNN:
    """`StackedRNN` with long short-term memory."""
    return StackedRNN("lstm", widths, **arguments)
