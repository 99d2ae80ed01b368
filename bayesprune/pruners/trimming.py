"""Making a masked network smaller: what no weight reads can go, and the network stays the same function."""

from functools import partial

from bayesprune.structure import read_gates
from bayesprune.training import Start, TrainState


def trim(state: TrainState) -> None:
    """Remove units, channels and inputs that only masked weights read, until there are none.

    Weights that lead to them go too, so that fewer are left than the masks kept.
    """
    gates = state.structure.gate_count + 1
    while state.structure.gate_count < gates:
        gates = state.structure.gate_count
        state.shrink(read_gates(state.structure, state.masks))


def trimmed(prune: Start) -> Start:
    """A round of pruning, and then `trim`."""
    return partial(_prune_and_trim, prune)


def _prune_and_trim(prune: Start, state: TrainState) -> None:
    prune(state)
    trim(state)
