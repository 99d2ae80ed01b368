"""Making fixed multipliers of channels part of the weights that read them."""

import torch
from torch import Tensor, nn

from bayesprune.errors import SettingError, UnsupportedLayerError
from bayesprune.structure.by_weight import factors_of
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
        UnsupportedLayerError: a layer normalises over channels with a multiplier other than 0 and 1.
    """
    if multipliers.shape != (structure.gate_count,):
        raise SettingError(
            f"multipliers of shape {tuple(multipliers.shape)} for a structure that has {structure.gate_count}"
        )
    refuse_norms(structure, multipliers)
    for reader in structure.readers:
        weight = network.get_parameter(reader.parameter)
        shape = [-1 if axis == reader.weight_axis % weight.dim() else 1 for axis in range(weight.dim())]
        weight.mul_(factors_of(reader, multipliers.to(weight.device)).to(weight).reshape(shape))


def normalised_gates(structure: Structure) -> Tensor:
    """Gates, bool [J], of channels that a layer normalises over: they can have no multipliers but 0 and 1."""
    found = torch.zeros(structure.gate_count + 1, dtype=torch.bool)
    for norm in structure.norms:
        found[norm.gates] = True
    return found[:-1]


def refuse_norms(structure: Structure, multipliers: Tensor | None = None) -> None:
    """Refuse multipliers where a layer normalises over the channels: its statistics would see them.

    Args:
        structure: of the network.
        multipliers: [J]; those that are 0 or 1 do no harm. None for any numbers.

    Raises:
        UnsupportedLayerError: naming the layers.
    """
    gates = torch.full((structure.gate_count,), 0.5) if multipliers is None else multipliers.detach().cpu()
    padded = torch.cat([gates, gates.new_ones(1)])
    seen = [norm for norm in structure.norms if bool(((padded[norm.gates] != 0) & (padded[norm.gates] != 1)).any())]
    if seen:
        names = ", ".join(repr(norm.layer) for norm in seen)
        raise UnsupportedLayerError(
            f"multipliers of channels cannot be made part of the weights where layers normalise over the channels "
            f"({names}): keep the layers that write them (keep=...), or take a method whose gates are 0 or 1, such as "
            "parsimonious"
        )
