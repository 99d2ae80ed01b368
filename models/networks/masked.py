"""Linear and recurrent layers of which a fixed mask takes weights away, each one call of torch."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from bayesprune.errors import UnknownNameError
from bayesprune.structure.kinds import LayerKind, register
from bayesprune.structure.kinds.base import HIDDEN, INPUT

GATES: Mapping[str, int] = {"tanh": 1, "relu": 1, "gru": 3, "lstm": 4}
"""Blocks of rows that the weights of each kind of cell have, in torch's order."""

_RUNS: Mapping[str, Callable[..., Any]] = {
    "tanh": torch.rnn_tanh,
    "relu": torch.rnn_relu,
    "gru": torch.gru,
    "lstm": torch.lstm,
}


def check_cell(cell: str) -> None:
    """Refuse a kind of cell that there is not.

    Raises:
        UnknownNameError: naming those that there are.
    """
    if cell not in GATES:
        raise UnknownNameError("kind of cell", str(cell), GATES)


class MaskedRNN(nn.Module):
    """One recurrent layer with masks on both matrices; equations, gate order and biases are those of torch's layers.

    With a block-diagonal mask of the hidden-to-hidden matrix it is several cells that do not know of each other, in one
    call without a Python loop over time.

    Args:
        cell: "tanh", "relu", "gru" or "lstm".
        mask_ih: [gates * hidden, inputs], 1 where there is a weight.
        mask_hh: [gates * hidden, hidden], likewise.
        bound: weights and biases start uniform in [-bound, bound]; torch has 1 / sqrt(hidden units of a cell).

    Attributes:
        input_size, hidden_size: inputs, and hidden units of all cells together.
    """

    mask_ih: Tensor
    mask_hh: Tensor

    def __init__(self, cell: str, mask_ih: Tensor, mask_hh: Tensor, bound: float) -> None:
        super().__init__()
        check_cell(cell)
        self.cell, self.input_size, self.hidden_size = cell, mask_ih.shape[1], mask_hh.shape[1]
        self.register_buffer("mask_ih", mask_ih.to(torch.get_default_dtype()))
        self.register_buffer("mask_hh", mask_hh.to(torch.get_default_dtype()))
        self.weight_ih = nn.Parameter(torch.empty_like(self.mask_ih))
        self.weight_hh = nn.Parameter(torch.empty_like(self.mask_hh))
        self.bias_ih = nn.Parameter(torch.empty(len(mask_ih)))
        self.bias_hh = nn.Parameter(torch.empty(len(mask_ih)))
        self.bound = bound
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw all weights and biases anew."""
        for parameter in self.parameters():
            parameter.uniform_(-self.bound, self.bound)
        self.weight_ih.mul_(self.mask_ih)
        self.weight_hh.mul_(self.mask_hh)

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs [B, L, hidden] at all steps of sequences [B, L, inputs]; all states begin with 0."""
        weights = [self.weight_ih * self.mask_ih, self.weight_hh * self.mask_hh, self.bias_ih, self.bias_hh]
        start = inputs.new_zeros(1, len(inputs), self.hidden_size)
        state = (start, start) if self.cell == "lstm" else start
        outputs: Tensor = _RUNS[self.cell](inputs, state, weights, True, 1, 0.0, self.training, False, True)[0]
        return outputs

    def extra_repr(self) -> str:
        """Sizes and density, for `print`."""
        weights = f"{int(self.mask_ih.sum())} of {self.mask_ih.numel()} input weights"
        return f"{self.cell}, {self.input_size} -> {self.hidden_size}, {weights}"


class MaskedLinear(nn.Module):
    """A linear layer with a mask on its weights.

    Args:
        mask: [outputs, inputs], 1 where there is a weight.

    Attributes:
        in_features, out_features: inputs and outputs.
    """

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.out_features, self.in_features = mask.shape
        self.register_buffer("mask", mask.to(torch.get_default_dtype()))
        self.weight = nn.Parameter(torch.empty_like(self.mask))
        self.bias = nn.Parameter(torch.empty(len(mask)))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw weights and biases anew, within torch's bound for the inputs that a unit has."""
        read = self.mask.sum(1).clamp(min=1).sqrt().reciprocal()
        self.weight.uniform_(-1.0, 1.0).mul_(read[:, None] * self.mask)
        self.bias.uniform_(-1.0, 1.0).mul_(read)

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs [..., outputs] of inputs [..., inputs]."""
        return nn.functional.linear(inputs, self.weight * self.mask, self.bias)

    def extra_repr(self) -> str:
        """Sizes and density, for `print`."""
        return f"{self.in_features} -> {self.out_features}, {int(self.mask.sum())} of {self.mask.numel()} weights"


def _whole(_: nn.Module) -> str:
    """Why no units can be removed."""
    return "has units joined by the fixed masks of a graph"


register(
    LayerKind(
        (MaskedRNN,),
        trouble=_whole,
        opaque=True,
        matrices=lambda _: {"weight_ih": INPUT, "weight_hh": HIDDEN},
        fixed=lambda layer: {"weight_ih": layer.mask_ih, "weight_hh": layer.mask_hh},  # type: ignore[dict-item]  # buffers
    )
)
register(
    LayerKind(
        (MaskedLinear,),
        trouble=_whole,
        opaque=True,
        matrices=lambda _: {"weight": ""},
        fixed=lambda layer: {"weight": layer.mask},  # type: ignore[dict-item]  # a buffer
    )
)
