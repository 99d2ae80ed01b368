"""LSTM, GRU and plain recurrent layers by hidden units."""

from typing import Any

import torch
from torch import nn

from bayesprune.structure.kinds.base import HIDDEN, INPUT, LayerKind, register
from bayesprune.structure.kinds.inside import Inside, Place

KNOWN = (nn.LSTM, nn.GRU, nn.RNN)


def _trouble(layer: Any) -> str | None:
    if type(layer) not in KNOWN:
        return "is a recurrent layer with a forward pass of its own"
    return "projects its hidden state (proj_size)" if layer.proj_size else None


def _resize(layer: Any, _: int | None) -> None:
    layer.input_size, layer.hidden_size = layer.weight_ih_l0.shape[1], layer.weight_hh_l0.shape[1]
    layer.flatten_parameters()


def hidden_inside(layer: Any) -> Inside | None:
    """A recurrent layer's hidden units, one of each number in all of its layers and directions, and its inputs.

    torch's layers have one hidden size for all of their layers and directions, so unit u goes in all of them. A unit's
    gate closes its column of the recurrent matrix and of the next layer's; its rows are those of all gates of the
    cell. What a closed unit's own state is then reaches nobody.
    """
    if _trouble(layer) is not None:
        return None
    directions = 2 if layer.bidirectional else 1
    units = torch.arange(layer.hidden_size)
    said = units.repeat(directions)
    written, read = [], []
    for name in layer._flat_weights_names:
        rows = units.repeat(getattr(layer, name).shape[0] // layer.hidden_size)
        written.append(Place("hidden", "", name, 0, rows))
        if name.startswith("weight_hh"):
            read.append(Place("hidden", "", name, 1, units))
        elif name.startswith("weight_ih_l0"):
            read.append(Place("input", "", name, 1, torch.arange(layer.input_size)))
        elif name.startswith("weight_ih"):
            read.append(Place("hidden", "", name, 1, said))
    sizes = {"hidden": layer.hidden_size}
    return Inside(sizes, tuple(written), tuple(read), ("input",), "hidden", said, states=units)


def matrices(layer: nn.Module) -> dict[str, str]:
    """The matrices that a recurrent layer, or a cell, multiplies at every step; none where one is computed."""
    known = getattr(layer, "_flat_weights_names", ("weight_ih", "weight_hh"))
    names = [name for name in known if name.startswith("weight")]
    if any(layer._parameters.get(name) is None for name in names):
        return {}
    kinds = {"weight_ih": INPUT, "weight_hh": HIDDEN}
    return {name: kinds.get(name[:9], "") for name in names}


register(
    LayerKind((nn.RNNBase,), trouble=_trouble, resize=_resize, opaque=True, inside=hidden_inside, matrices=matrices)
)
register(
    LayerKind(
        (nn.RNNCellBase,), trouble=lambda _: "is no layer that can be cut exactly", opaque=True, matrices=matrices
    )
)
