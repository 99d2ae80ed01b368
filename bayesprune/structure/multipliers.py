"""Making fixed multipliers of channels part of the weights that read them."""

import torch
from torch import Tensor, nn

from bayesprune.errors import SettingError
from bayesprune.structure.groups import Structure


@torch.no_grad()
def fold_multipliers(network: nn.Module, structure: Structure, multipliers: Tensor) -> None:
    """Multiply what every layer reads by the multipliers of the gates, for good and in place.

    Afterwards the network without multipliers says what it said under them (`Gating.applied`), since a layer that
    reads m times a feature is one whose weights for that feature are m times as large. Biases stay.

    Args:
        network: that the structure was found in.
        structure: its groups as they are now.
        multipliers: one real number for each gate [J].

    Raises:
        SettingError: they are not J.
    """
    if multipliers.shape != (structure.gate_count,):
        raise SettingError(
            f"multipliers of shape {tuple(multipliers.shape)} for a structure that has {structure.gate_count}"
        )
    padded = torch.cat([multipliers, multipliers.new_ones(1)])  # the last one is that of features without a gate
    for reader in structure.readers:
        factors = padded[reader.arriving[reader.selected].to(padded.device)]
        if reader.selection is not None:
            factors = factors * padded[reader.selection.to(padded.device)]
        weight = network.get_parameter(f"{reader.layer}.weight")
        shape = [-1 if axis == reader.weight_axis else 1 for axis in range(weight.dim())]
        weight.mul_(factors.to(weight).reshape(shape))
