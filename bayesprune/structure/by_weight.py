"""Gates on weights: for layers whose features no hook can reach, for the time of a forward pass."""

import weakref
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from bayesprune.structure.members import Reader

Factors = Callable[[Tensor, Reader], Tensor]

Former = list[tuple[nn.Module, str, Tensor]]


class GatedWeights:
    """Multiplies axes of parameters by gates while a network's forward pass runs.

    A layer that reads z times a feature is one whose weights for that feature are z times as large. The parameter is
    exchanged for the product when the pass begins, inside of whatever else exchanges parameters
    (`torch.func.functional_call`), and put back when it ends or fails; gradients reach weights and gates.

    Args:
        network: whose forward pass is watched.
        readers: those that read by weight.
        gates: gives the present gates [J], or None when none act.
    """

    def __init__(self, network: nn.Module, readers: Sequence[Reader], gates: Callable[[], Tensor | None]) -> None:
        self._network, self._readers, self._gates = network, readers, gates
        self._former: list[Former] = []
        self.handles: list[RemovableHandle] = []
        if readers:  # the last to come goes first, so that two gatings of one network undo each other
            self.handles = [
                network.register_forward_pre_hook(self._begin),
                network.register_forward_hook(self._end, prepend=True, always_call=True),
            ]

    def _begin(self, *_: Any) -> None:
        """Exchange the parameters."""
        gates, former = self._gates(), Former()
        self._former.append(former)
        if gates is None:
            return
        for reader in self._readers:
            layer = self._network.get_submodule(reader.layer)
            weight = layer._parameters[reader.tensor]
            assert weight is not None
            former.append((layer, reader.tensor, weight))
            factors = factors_of(reader, gates).to(weight)
            shape = [-1 if axis == reader.weight_axis % weight.dim() else 1 for axis in range(weight.dim())]
            layer._parameters[reader.tensor] = weight * factors.reshape(shape)  # type: ignore[assignment]  # for a while no Parameter
        _tell_recurrent(former)

    def _end(self, *_: Any) -> None:
        """Put the parameters back."""
        former = self._former.pop() if self._former else []
        for layer, tensor, weight in reversed(former):
            layer._parameters[tensor] = weight  # type: ignore[assignment]  # what was there
        _tell_recurrent(former)


def factors_of(reader: Reader, gates: Tensor) -> Tensor:
    """What each position that a reader reads is multiplied by, [n], under gates [J]."""
    padded = torch.cat([gates, gates.new_ones(1)])  # the last one is that of features without a gate
    factors = padded[reader.arriving[reader.selected].to(gates.device)]
    if reader.selection is not None:
        factors = factors * padded[reader.selection.to(gates.device)]
    return factors


def _tell_recurrent(former: Former) -> None:
    """Let recurrent layers know which weights are theirs now; they hold a list of them besides."""
    for layer in {layer for layer, _, _ in former if isinstance(layer, nn.RNNBase)}:
        flat = [getattr(layer, name, None) for name in layer._flat_weights_names]
        layer._flat_weights = flat
        layer._flat_weight_refs = [None if weight is None else weakref.ref(weight) for weight in flat]
