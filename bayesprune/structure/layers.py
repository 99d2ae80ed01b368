"""Which layers can be cut, along which tensors, and why others cannot."""

from collections import Counter

from torch import Tensor, nn

CONVOLUTION = nn.modules.conv._ConvNd
TRANSPOSED = nn.modules.conv._ConvTransposeNd
NORM = (nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm)
_MIXING = (nn.LayerNorm, nn.GroupNorm, nn.LocalResponseNorm)
_CHANNEL_TENSORS = ("weight", "bias", "running_mean", "running_var")


def is_source(layer: nn.Module) -> bool:
    """Whether a layer makes its channels itself (a depthwise convolution only passes them on)."""
    plain = isinstance(layer, CONVOLUTION) and layer.groups == 1
    return plain or isinstance(layer, nn.Linear)


def is_depthwise(layer: nn.Module) -> bool:
    """One filter a channel."""
    convolution = isinstance(layer, CONVOLUTION) and not isinstance(layer, TRANSPOSED)
    return convolution and layer.groups == layer.in_channels == layer.out_channels


def written_tensors(layer: nn.Module) -> list[str]:
    """The tensors of a layer that have one entry (or slice) for each channel it writes.

    A normalisation without any yields "": its channels have no tensor, but still a number.
    """
    if isinstance(layer, nn.PReLU):
        return ["weight"] if layer.weight.numel() > 1 else []
    names = [name for name in _CHANNEL_TENSORS if isinstance(getattr(layer, name, None), Tensor)]
    return names or [""]


def channel_count(layer: nn.Module, tensor: str, axis: int) -> int:
    """How many channels a layer writes along an axis of one of its tensors, or passes on without any."""
    sized = getattr(layer, tensor).shape[axis] if tensor else getattr(layer, "num_features", 0)
    return int(sized)


def trouble(layer: nn.Module, shared: frozenset[nn.Module]) -> str | None:
    """Why channels cannot be cut out of a layer exactly; None where they can.

    Args:
        layer: that reads, writes or passes on channels.
        shared: layers that share a parameter with another one.
    """
    if isinstance(layer, _MIXING):
        return "mixes channels"
    if not (is_source(layer) or is_depthwise(layer) or isinstance(layer, (*NORM, nn.PReLU))):
        grouped = isinstance(layer, CONVOLUTION) and layer.groups > 1
        return "reads its channels in groups" if grouped else "is no layer that can be cut exactly"
    stored = {**layer._parameters, **layer._buffers}
    if any(name and name not in stored for name in written_tensors(layer)):
        return "has a weight that is computed from other parameters"
    return "shares a parameter with another layer" if layer in shared else None


def sharing_layers(network: nn.Module) -> frozenset[nn.Module]:
    """The layers that hold a parameter which another layer holds too."""
    owners = [(layer, parameter) for layer in network.modules() for parameter in layer._parameters.values()]
    uses = Counter(id(parameter) for _, parameter in owners if parameter is not None)
    return frozenset(layer for layer, parameter in owners if uses[id(parameter)] > 1)


def is_known(layer: nn.Module) -> bool:
    """Whether a layer is of a kind whose channels are understood."""
    return isinstance(layer, (CONVOLUTION, nn.Linear, nn.PReLU, *NORM))


def is_opaque(layer: nn.Module) -> bool:
    """Whether only a layer itself knows what it does to channels (attention, recurrent, ...)."""
    if isinstance(layer, (nn.MultiheadAttention, nn.LocalResponseNorm)):
        return True
    return not is_known(layer) and bool(layer._parameters) and not any(True for _ in layer.children())
