"""The module a plain network uses to read only some of the features that arrive."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn


class SelectChannels(nn.Module):
    """Passes on the features `kept` of one axis of its input.

    It stands before a layer some of whose input (or flattened) features were pruned, so that the compact
    network still takes its full input. It has no parameters, costs no multiplications and exports as one
    gather.

    Args:
        kept: indices [K] of the features to pass on, in order.
        axis: the axis of the features: -1 for a linear layer, 1 for a convolution.
    """

    kept: Tensor

    def __init__(self, kept: Tensor, axis: int = -1) -> None:
        super().__init__()
        self.axis = axis
        self.register_buffer("kept", kept.clone().long())

    def forward(self, features: Tensor) -> Tensor:
        """Select from features [B, ..., F] (or [B, C, H, W] when the axis is 1)."""
        return torch.index_select(features, self.axis, self.kept)

    def extra_repr(self) -> str:
        """Say how many features pass."""
        return f"{self.kept.numel()} features, axis={self.axis}"


class Selected(nn.Sequential):
    """A layer behind its `SelectChannels`; the layer stays the same object, so optimizers keep hold of it."""

    if TYPE_CHECKING:  # an annotation that torch.jit.script would not understand
        select: SelectChannels

    def __init__(self, select: SelectChannels, layer: nn.Module) -> None:
        super().__init__()
        self.add_module("select", select)
        self.add_module("layer", layer)


def plain_name(layer: str) -> str:
    """The name a layer had before a selector was put in front of it: 'fc1.layer' -> 'fc1'."""
    return layer.removesuffix(".layer")
