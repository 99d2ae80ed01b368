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


class SpreadChannels(nn.Module):
    """Hands features on at the places that they had before others were removed, with zeros where those were.

    It stands behind a layer that was pruned where the code behind it counts on the number of its channels. It has no
    parameters, costs no multiplications and exports as one gather.

    Args:
        kept: the places [K] of the features that arrive, in order.
        size: places in all.
        axis: the axis of the features: -1 for a linear layer, 1 for a convolution.
    """

    index: Tensor

    def __init__(self, kept: Tensor, size: int, axis: int = -1) -> None:
        super().__init__()
        self.axis, self.width = axis, len(kept)
        index = torch.full((size,), len(kept), device=kept.device)
        index[kept] = torch.arange(len(kept), device=kept.device)
        self.register_buffer("index", index)

    @property
    def kept(self) -> Tensor:
        """The places [K] of the features that arrive."""
        return (self.index < self.width).nonzero().flatten()

    def forward(self, features: Tensor) -> Tensor:
        """Spread features [B, ..., K] (or [B, K, H, W] when the axis is 1)."""
        none = torch.zeros_like(features.narrow(self.axis, 0, 1))
        return torch.cat([features, none], self.axis).index_select(self.axis, self.index)

    def extra_repr(self) -> str:
        """Say how many features are spread."""
        return f"{self.width} features over {self.index.numel()}, axis={self.axis}"


class Spread(nn.Sequential):
    """A layer before its `SpreadChannels`; the layer stays the same object, so optimizers keep hold of it."""

    if TYPE_CHECKING:  # an annotation that torch.jit.script would not understand
        spread: SpreadChannels

    def __init__(self, layer: nn.Module, spread: SpreadChannels) -> None:
        super().__init__()
        self.add_module("layer", layer)
        self.add_module("spread", spread)


class Selected(nn.Sequential):
    """A layer behind its `SelectChannels`, maybe before a `SpreadChannels`; the layer stays the same object."""

    if TYPE_CHECKING:  # an annotation that torch.jit.script would not understand
        select: SelectChannels
        spread: SpreadChannels

    def __init__(self, select: SelectChannels, layer: nn.Module, spread: SpreadChannels | None = None) -> None:
        super().__init__()
        self.add_module("select", select)
        self.add_module("layer", layer)
        if spread is not None:
            self.add_module("spread", spread)


def plain_name(layer: str) -> str:
    """The name a layer had before it got a selector in front or was spread: 'fc1.layer' -> 'fc1'."""
    return layer.removesuffix(".layer")


def is_wrapper(module: nn.Module) -> bool:
    """Whether a module holds a layer with what selects or spreads its channels."""
    return isinstance(module, (Selected, Spread))
