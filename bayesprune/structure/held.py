"""Keeping a network passable on an accelerator: gates reopened without a look at their values.

`Structure.protect` decides step by step on the CPU, for which an accelerator must be waited for. After every step of
training that would cost more than the step.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from bayesprune.structure.groups import Structure
from bayesprune.structure.members import UNGATED


@dataclass(frozen=True, eq=False)
class _TwoGates:
    """A reader each of whose features has two gates.

    Attributes:
        arriving, own: the gates [n] of its features, J where there is none.
        excuses: gates [m] of sections that hold it.
    """

    arriving: Tensor
    own: Tensor
    excuses: Tensor

    def reopen(self, padded: Tensor, preference: Tensor) -> Tensor:
        """Open gates [J + 1] (bool, the last one of no gate) with those of the best feature if none is read."""
        opened = padded[self.arriving]
        among = opened | ~opened.any()
        best = preference[self.own].masked_fill(~among, -torch.inf).argmax()
        is_shut = ~(opened & padded[self.own]).any() & padded[self.excuses].all()
        found = torch.zeros_like(padded)
        for gates in (self.arriving, self.own):
            found = found.index_fill(0, gates.index_select(0, best.reshape(1)), 1)
        return padded | (found & is_shut)


class Held:
    """Reopens what `Structure.protect` reopens, wherever the gates lie.

    Args:
        structure: in its present form.
        device: of the gates.
    """

    def __init__(self, structure: Structure, device: torch.device) -> None:
        sets, others = structure.needed
        self._sets, self._excuses = sets.bool().to(device), structure.excuses.bool().to(device)
        count = structure.gate_count

        def places(gates: Tensor) -> Tensor:
            return torch.where(gates == UNGATED, count, gates).to(device)

        self._others = [
            _TwoGates(
                places(reader.arriving[reader.selected]),
                places(reader.selection),
                torch.tensor(sorted(structure.excusing.get(reader.layer, ())), dtype=torch.long).to(device),
            )
            for reader in others
            if reader.selection is not None
        ]

    def reopened(self, open_gates: Tensor, preference: Tensor) -> Tensor:
        """Open gates, bool [J], with the most preferred one of each set that has none.

        Args:
            open_gates: bool [J].
            preference: [J].
        """
        values = preference.expand_as(self._sets).masked_fill(~self._sets, -torch.inf)
        best = values.argmax(1)
        is_shut = ~((self._sets & open_gates) | (self._excuses & ~open_gates)).any(1)
        reopened = open_gates | torch.zeros_like(open_gates).index_add(0, best, is_shut)
        padded = torch.cat([reopened, reopened.new_ones(1)])
        preference = torch.cat([preference, preference.new_zeros(1)])
        for other in self._others:
            padded = other.reopen(padded, preference)
        return padded[:-1]
