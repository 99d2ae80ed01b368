"""Questions about a layer's channels, answered by the table of kinds."""

from collections import Counter
from collections.abc import Iterator

from torch import Tensor, nn

from bayesprune.structure.groups import Structure
from bayesprune.structure.kinds import Inside, kind_of
from bayesprune.structure.kinds.convolution import CONVOLUTION, TRANSPOSED
from bayesprune.structure.kinds.passing import NORM

__all__ = [
    "CONVOLUTION",
    "NORM",
    "TRANSPOSED",
    "channel_count",
    "is_known",
    "is_opaque",
    "is_source",
    "making_weights",
    "read_axes",
    "resize",
    "sharing_layers",
    "trouble",
    "units_inside",
    "weight_of",
    "written_axes",
]


def is_source(layer: nn.Module) -> bool:
    """Whether a layer makes its channels itself (a depthwise convolution only passes them on)."""
    kind = kind_of(layer)
    return kind is not None and kind.makes(layer)


def written_axes(layer: nn.Module) -> dict[str, int]:
    """The tensors of a layer that have one entry (or slice) for each channel it writes, and along which axis.

    A normalisation without any yields "": its channels have no tensor, but still a number.
    """
    kind = kind_of(layer)
    return {} if kind is None else kind.written(layer)


def read_axes(layer: nn.Module) -> tuple[int, int]:
    """The input axis of a reading layer's weight, and the axis of its features."""
    kind = kind_of(layer)
    assert kind is not None and kind.reads is not None  # `trouble` refuses the others
    return kind.reads


def weight_of(layer: nn.Module) -> Tensor:
    """The weight of a linear or convolution layer: a parameter, or what it computes from others."""
    weight: Tensor = layer.weight  # type: ignore[assignment]  # Module gives Tensor | Module
    return weight


def channel_count(layer: nn.Module, tensor: str, axis: int) -> int:
    """How many channels a layer writes along an axis of one of its tensors, or passes on without any."""
    if tensor:
        return int(getattr(layer, tensor).shape[axis])
    kind = kind_of(layer)
    return 0 if kind is None else kind.width(layer)


def resize(layer: nn.Module, channels: int | None) -> None:
    """Make a layer's size attributes agree with its tensors, or with the channels that it passes on."""
    kind = kind_of(layer)
    if kind is not None:
        kind.resize(layer, channels)


def making_weights(network: nn.Module, structure: Structure) -> Iterator[tuple[nn.Parameter, int, Tensor]]:
    """The weights that make gated channels, the axis along which they do, and the gate [n] of each of its positions.

    These are matrices of linear layers, convolutions, embeddings, attention and recurrent layers; no biases, and no
    weights of normalisations.
    """
    parameters = dict(network.named_parameters(remove_duplicate=False))
    for axis in structure.axes:
        weight = parameters.get(axis.parameter)
        if weight is not None and weight.dim() > 1 and "weight" in axis.tensor:
            yield weight, axis.axis, axis.gates


def units_inside(layer: nn.Module) -> Inside | None:
    """The units inside of an attention or a recurrent layer, and where they are written and read; None without any."""
    kind = kind_of(layer)
    return None if kind is None else kind.inside(layer)


def trouble(layer: nn.Module, shared: frozenset[nn.Module]) -> str | None:
    """Why channels cannot be cut out of a layer exactly; None where they can.

    Args:
        layer: that reads, writes or passes on channels.
        shared: layers that share a parameter with another one.
    """
    kind = kind_of(layer)
    if kind is None:
        return "is no layer that can be cut exactly"
    if reason := kind.trouble(layer):
        return reason
    stored = {**layer._parameters, **layer._buffers}
    if any(name and name not in stored for name in kind.written(layer)):
        return "has a weight that is computed from other parameters"
    return "shares a parameter with another layer" if layer in shared else None


def sharing_layers(network: nn.Module) -> frozenset[nn.Module]:
    """The layers that hold a parameter which another layer holds too."""
    owners = [(layer, parameter) for layer in network.modules() for parameter in layer._parameters.values()]
    uses = Counter(id(parameter) for _, parameter in owners if parameter is not None)
    return frozenset(layer for layer, parameter in owners if uses[id(parameter)] > 1)


def is_known(layer: nn.Module) -> bool:
    """Whether a layer is of a kind whose channels are understood."""
    kind = kind_of(layer)
    return kind is not None and not kind.opaque


def is_opaque(layer: nn.Module) -> bool:
    """Whether only a layer itself knows what it does to channels (attention, recurrent, ...)."""
    kind = kind_of(layer)
    if kind is not None:
        return kind.opaque
    return bool(layer._parameters) and not any(True for _ in layer.children())
