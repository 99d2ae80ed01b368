"""Which channels of a network can be removed together, gating them, and slicing them out.

A **group** is a set of channels that can only be removed together with every place where they are read or
written. A **gate** is the 0/1 variable of one channel: closed means that no consumer reads the channel. Gates
therefore act on the inputs of consumers, which makes a gated network and the compacted one the same function,
whatever stands between producer and consumer (batch normalisation, activations, pooling).
"""

from bayesprune.structure.batchnorm import reestimate_batchnorm
from bayesprune.structure.compact import compact, replace_data
from bayesprune.structure.cost import OTHER, LayerCost, fed_outputs, idle_layers, layer_costs
from bayesprune.structure.expected import ExpectedCost
from bayesprune.structure.find import find
from bayesprune.structure.gating import Gating
from bayesprune.structure.groups import Structure
from bayesprune.structure.macs import MacCounter
from bayesprune.structure.matrices import fixed_masks, weight_sizes, weights_of
from bayesprune.structure.members import Group, Reader
from bayesprune.structure.modes import evaluating, hooked
from bayesprune.structure.multipliers import fold_multipliers
from bayesprune.structure.selectors import SelectChannels
from bayesprune.structure.spike import fold_spikes, maps_zero_to_zero, spike_outputs
from bayesprune.structure.unread import read_gates

__all__ = [
    "OTHER",
    "ExpectedCost",
    "Gating",
    "Group",
    "LayerCost",
    "MacCounter",
    "Reader",
    "SelectChannels",
    "Structure",
    "compact",
    "evaluating",
    "fed_outputs",
    "find",
    "fixed_masks",
    "fold_multipliers",
    "fold_spikes",
    "hooked",
    "idle_layers",
    "layer_costs",
    "maps_zero_to_zero",
    "read_gates",
    "reestimate_batchnorm",
    "replace_data",
    "spike_outputs",
    "weight_sizes",
    "weights_of",
]


def __dir__() -> list[str]:
    return sorted(__all__)
