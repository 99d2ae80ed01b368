"""Groups of channels, and the places where layers write, read and normalise them."""

from dataclasses import dataclass

import torch
from torch import Tensor

UNGATED = -1
"""Marks a channel that belongs to no gate."""


@dataclass(frozen=True, eq=False)
class Group:
    """Channels that are removed together.

    Attributes:
        name: its first producing layer, or "inputs", or "<layer>.inputs" for flattened features.
        size: channels at the start.
        kept: original indices [K] of the channels still there, ascending.
        producers: layers that write the channels (convolutions, linear and normalisation layers).
        consumers: layers that read them.
        kind: "channels", "inputs", "flatten", or "section" for the one gate of a section's branch.
        counted: attributes of modules, such as "encoder.hidden_dim", in which the network's code keeps the number of
            these channels; they follow it.
    """

    name: str
    size: int
    kept: Tensor
    producers: tuple[str, ...]
    consumers: tuple[str, ...]
    kind: str = "channels"
    counted: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Axis:
    """An axis along which a layer writes channels.

    Attributes:
        layer: its name in the network.
        tensor: its parameter or buffer; "" for a normalisation that has none.
        axis: of the tensor.
        gates: the gate [n] of each position, `UNGATED` where there is none.
    """

    layer: str
    tensor: str
    axis: int
    gates: Tensor

    @property
    def parameter(self) -> str:
        """The name of the parameter or buffer."""
        return f"{self.layer}.{self.tensor}" if self.layer else self.tensor


@dataclass(frozen=True, eq=False)
class Reader:
    """A layer that reads gated channels. Several of its positions may have one gate.

    Attributes:
        layer: its name in the network.
        weight_axis: the input axis of its weight.
        feature_axis: the axis of its input along which the features lie.
        arriving: gate [A] of each feature that arrives, `UNGATED` where there is none.
        selected: positions [n] among the arriving features that are read.
        selection: gate [n] of each read feature in a group of its own (network inputs, flattened features),
            or None.
        tensor: the parameter that reads them; a layer may have several, each a reader.
        by_weight: gates multiply the weight's axis and not the layer's input, because the features are not the first
            argument that the layer is called with (attention, recurrent layers, functions of torch).
    """

    layer: str
    weight_axis: int
    feature_axis: int
    arriving: Tensor
    selected: Tensor
    selection: Tensor | None
    tensor: str = "weight"
    by_weight: bool = False

    @property
    def parameter(self) -> str:
        """The name of the parameter that reads."""
        return f"{self.layer}.{self.tensor}" if self.layer else self.tensor

    def open_positions(self, open_gates: Tensor) -> Tensor:
        """Which of the n read features stay when the gates [J] (bool) are open: bool [n]."""
        padded = torch.cat([open_gates, open_gates.new_ones(1)])
        stays = padded[self.arriving[self.selected]]
        return stays if self.selection is None else stays & padded[self.selection]

    def best_gates(self, open_gates: Tensor, preference: Tensor) -> Tensor:
        """The gates to open so that one feature is read: the most preferred, best of an open channel."""
        arriving = self.arriving[self.selected]
        own = arriving if self.selection is None else self.selection
        open_channel = torch.cat([open_gates, open_gates.new_ones(1)])[arriving]
        value = torch.cat([preference, preference.new_zeros(1)])[own]
        among = open_channel if bool(open_channel.any()) else torch.ones_like(open_channel)
        best = int(value.where(among, value.new_tensor(float("-inf"))).argmax())
        gates = torch.stack([arriving[best], own[best]])
        return gates[gates != UNGATED]


@dataclass(frozen=True, eq=False)
class Normaliser:
    """A layer normalisation over gated features, whose statistics run over the open ones only.

    Attributes:
        layer: its name in the network: a LayerNorm or RMSNorm over one axis.
        gates: gate [n] of each normalised feature, `UNGATED` where there is none.
        feature_axis: of the input that is normalised; 1 for a subclass that moves the channels of maps to the end.
    """

    layer: str
    gates: Tensor
    feature_axis: int = -1
