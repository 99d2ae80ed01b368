"""Units inside of a layer whose weights no hook reaches: attention's heads, the hidden units of recurrent layers."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from bayesprune.structure.members import UNGATED, Axis, Reader


@dataclass(frozen=True, eq=False)
class Place:
    """An axis of a parameter whose positions belong to units, or to features that the layer reads or writes.

    Attributes:
        kind: of what they belong to: a name in `Inside.units`, `Inside.inputs`, or `Inside.output`.
        layer: inside of the layer, "" for itself.
        tensor: the parameter.
        axis: of it.
        units: the unit (or feature) [n] of each position.
    """

    kind: str
    layer: str
    tensor: str
    axis: int
    units: Tensor


@dataclass(frozen=True, eq=False)
class Inside:
    """What a layer does with units of its own, and with the features that it reads and writes.

    Closing unit u means that nothing reads it: the positions of `read` that belong to it are multiplied by 0, and may
    be cut out together with those of `written`. The same holds for the features of the inputs. Gates act on the
    weights, so they are global.

    Attributes:
        units: by kind their number, such as {"heads": 8}.
        written: axes along which the units, and the features of the output, are written.
        read: axes along which the units, and the features of the inputs, are read.
        inputs: the names of the arguments whose last axis are features, in order; those that one axis reads are tied
            feature by feature (`tied`).
        tied: for arguments that share the axes of another one, its name.
        output: the kind of the features of the first output's last axis: one in `units`, or "output".
        says: the unit of that kind [n] of each of these features.
        states: the unit of that kind [n] of each feature of the further outputs, None where they have none.
        macs: the place in `written` along which the multiply-accumulates go that the layer makes without weights.
    """

    units: Mapping[str, int]
    written: tuple[Place, ...]
    read: tuple[Place, ...]
    inputs: tuple[str, ...]
    output: str
    says: Tensor
    states: Tensor | None = None
    tied: Mapping[str, str] | None = None
    macs: Place | None = None

    def entries(self, name: str, gates: Mapping[str, Tensor]) -> tuple[list[Axis], list[Reader]]:
        """Where a layer of this name in a network writes and reads gated units and features.

        Args:
            name: of the layer.
            gates: by kind (of `units`, `inputs` or "output") the gate of each unit or feature; kinds without stay
                whole.
        """
        axes, readers = [], []
        for place in self.written:
            if place.kind in gates:
                axes.append(Axis(_joined(name, place.layer), place.tensor, place.axis, gates[place.kind][place.units]))
        for place in self.read:
            if place.kind in gates:
                arriving = gates[place.kind][place.units]
                selected, layer = torch.arange(len(arriving)), _joined(name, place.layer)
                readers.append(
                    Reader(layer, place.axis, -1, arriving, selected, None, tensor=place.tensor, by_weight=True)
                )
        return axes, [reader for reader in readers if bool((reader.arriving != UNGATED).any())]


def _joined(name: str, inner: str) -> str:
    return ".".join(part for part in (name, inner) if part)
