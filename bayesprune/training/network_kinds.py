"""Kinds of networks for which defaults were measured apart.

A new kind (recurrent networks, say) is an entry here, and one in each table of defaults that asks for a kind.
"""

from collections.abc import Callable

from torch import nn

USUAL = "perceptron"
"""The kind of networks that are of no other."""


def _has_convolutions(network: nn.Module) -> bool:
    return any(isinstance(module, nn.modules.conv._ConvNd) for module in network.modules())


KINDS: dict[str, Callable[[nn.Module], bool]] = {"convolutional": _has_convolutions}
"""What tells a network of each kind; the first that does so counts."""


def network_kind(network: nn.Module) -> str:
    """The kind of a network, a key of every table of defaults."""
    return next((name for name, tells in KINDS.items() if tells(network)), USUAL)
