"""The expected cost of a gated network: multiply-accumulates and parameters as functions of the gates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from bayesprune.devices import CPU
from bayesprune.structure.cost import OTHER, LayerCost
from bayesprune.structure.groups import Structure
from bayesprune.structure.layers import units_inside
from bayesprune.structure.matrices import multiplied
from bayesprune.structure.members import UNGATED, Reader
from bayesprune.structure.selectors import plain_name


@dataclass(frozen=True, eq=False)
class _Term:
    """One parameter's part: unit times the expected number of its open pairs (written, read).

    Attributes:
        unit: parameters a pair; `unit_macs` multiply-accumulates a pair.
        written: gate of each position written, or None.
        arriving, selection: gates of each position read, or None.
        common: for each position read, the positions written that have the same gate; None where there are
            none.
        sections: gates of the sections that hold the layer; it is there while all of them are open.
    """

    unit: float
    unit_macs: float
    written: Tensor | None
    arriving: Tensor | None
    selection: Tensor | None
    common: Tensor | None
    sections: Tensor

    @property
    def is_product(self) -> bool:
        """Whether it is a sum of gates written times a sum of gates read."""
        return self.selection is None and self.common is None

    def to(self, device: torch.device) -> "_Term":
        """The same on a device."""
        places = ("written", "arriving", "selection", "common", "sections")
        moved: dict[str, Any] = {
            name: None if getattr(self, name) is None else getattr(self, name).to(device) for name in places
        }
        return replace(self, **moved)

    def expected(self, padded: Tensor) -> Tensor:
        """Expected number of open pairs at theta padded with a 1."""
        return self._pairs(padded) * padded[self.sections].prod()

    def _pairs(self, padded: Tensor) -> Tensor:
        """The same while the sections are open."""
        writes = padded.new_ones(()) if self.written is None else padded[self.written].sum()
        if self.arriving is None:
            return writes
        open_reads = padded[self.arriving]
        reads = open_reads if self.selection is None else open_reads * padded[self.selection]
        if self.common is None:
            return writes * reads.sum()
        # A gate is its own square, so given that a position is read, the written ones of its gate are open.
        return (reads * (writes + self.common.to(padded) * (1 - open_reads))).sum()


@dataclass(frozen=True, eq=False)
class _Products:
    """All terms that are products, in few calls: a price by cost asks for the slope at every step.

    Attributes:
        units: [T, 2] multiply-accumulates and parameters a pair of each term.
        written, read: [T, J + 1] how often each gate is among those written and read; the last entry is no gate's.
        sections: [T, D] gates of the sections that hold each term's layer, J where there are fewer.
    """

    units: Tensor
    written: Tensor
    read: Tensor
    sections: Tensor

    @classmethod
    def of(cls, terms: Sequence[_Term], gates: int) -> "_Products":
        """Of terms over so many gates; a term that writes or reads nothing of a gate has a 1 there."""
        one = torch.full((1,), UNGATED)

        def counts(places: Sequence[Tensor | None]) -> Tensor:
            rows = [(one if place is None else place) % (gates + 1) for place in places]
            counted = [row.bincount(minlength=gates + 1) for row in rows]
            return torch.stack(counted).double() if counted else torch.zeros(0, gates + 1, dtype=torch.float64)

        units = torch.tensor([[term.unit_macs, term.unit] for term in terms], dtype=torch.float64).reshape(-1, 2)
        depth = max((len(term.sections) for term in terms), default=0)
        sections = torch.full((len(terms), depth), gates)
        for row, term in zip(sections, terms, strict=True):
            row[: len(term.sections)] = term.sections
        return cls(units, counts([t.written for t in terms]), counts([t.arriving for t in terms]), sections)

    def expected(self, padded: Tensor) -> Tensor:
        """Expected (macs, params) [2] at theta padded with a 1."""
        values = padded.to(self.units)
        pairs = self.written.mv(values) * self.read.mv(values)
        if self.sections.shape[1]:
            pairs = pairs * values[self.sections].prod(1)
        return (pairs @ self.units).to(padded)

    def to(self, device: torch.device) -> "_Products":
        """The same on a device."""
        units, written, read = (_wide_on(device, part) for part in (self.units, self.written, self.read))
        return _Products(units, written, read, self.sections.to(device))


def _wide_on(device: torch.device, part: Tensor) -> Tensor:
    """A float64 tensor on a device, in the widest type that it has."""
    return part.to(device, torch.float32 if device.type == "mps" else torch.float64)


class ExpectedCost:
    """Expected multiply-accumulates and parameters of a gated network, in closed form.

    With independent gates, open with probability theta, the expectation of every layer's cost is multilinear
    in theta (methods note, section 7C): the product of the expected numbers of its inputs and outputs, and
    where a layer reads and writes the same group (a convolution between two points of one residual stream) a
    gate's pairs with itself count once and not squared. What a section holds counts while the section's gate is
    open, one factor more. It is exact; at theta in {0, 1} it is the compacted network's cost. What attention multiplies
    without weights goes along its heads. The rest is a constant.

    Args:
        network: in its present shape.
        structure: its groups.
        positions: how often each counted layer's weight is used, by name (`LayerCost.positions`).
        constant: multiply-accumulates outside of these layers.
        uses: how often other code uses parameters, by their name (`LayerCost.uses`).
        own: what layers with units inside multiply without parameters, by their name (`LayerCost.own`).
    """

    def __init__(
        self,
        network: nn.Module,
        structure: Structure,
        positions: Mapping[str, int],
        constant: float = 0.0,
        uses: Mapping[str, float] | None = None,
        own: Mapping[str, float] | None = None,
    ) -> None:
        self._constant = constant
        gates = structure.gate_count
        written = {axis.parameter: axis.gates for axis in structure.axes}
        axes = _axes(structure)
        terms, seen = [], set()
        for name, parameter in network.named_parameters(remove_duplicate=False):
            layer_name, _, tensor = name.rpartition(".")
            used = _weight_use(layer_name, network.get_submodule(layer_name), tensor, positions)
            entries = 0 if id(parameter) in seen else parameter.numel()  # a shared one is there once
            used += 0 if id(parameter) in seen else (uses or {}).get(name, 0.0)
            holding = _holding(structure, layer_name, tensor)
            terms.append(_term(parameter.numel(), entries, *axes.get(name, (None, None)), used, holding))
            seen.add(id(parameter))
        for layer_name, macs in (own or {}).items():
            holding = _holding(structure, layer_name)
            terms.append(_own_term(network.get_submodule(layer_name), layer_name, written, macs, holding))
        products = _Products.of([term for term in terms if term.is_product], gates)
        self._parts = {CPU: (products, [term for term in terms if not term.is_product])}

    @classmethod
    def of(cls, network: nn.Module, structure: Structure, layers: Sequence[LayerCost]) -> "ExpectedCost":
        """That of a network whose layers were counted in its present shape (`layer_costs`)."""
        constant, uses, own = 0.0, dict[str, float](), dict[str, float]()
        for layer in layers:
            if layer.name == OTHER:
                uses, own, sizes = dict(layer.uses), dict(layer.own), dict(network.named_parameters())
                constant += layer.macs - sum(own.values()) - sum(n * sizes[name].numel() for name, n in uses.items())
                continue
            module = network.get_submodule(layer.name)
            computed = [getattr(module, one) for one in multiplied(module) if one not in module._parameters]
            constant += layer.positions * sum(weight.numel() for weight in computed)  # from others, so they stay whole
        return cls(network, structure, {layer.name: layer.positions for layer in layers}, constant, uses, own)

    def __call__(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Expected (macs per sample, params) at inclusion probabilities theta [J]; differentiable."""
        padded = torch.cat([theta, theta.new_ones(1)])
        products, others = self._parts_on(theta.device)
        macs, params = products.expected(padded)
        macs = macs + self._constant
        for term in others:
            pairs = term.expected(padded)
            params = params + term.unit * pairs
            macs = macs + term.unit_macs * pairs
        return macs, params

    def _parts_on(self, device: torch.device) -> tuple[_Products, list[_Term]]:
        """The terms on a device, moved there once."""
        name = str(device)
        if name not in self._parts:
            products, others = self._parts[CPU]
            self._parts[name] = products.to(device), [term.to(device) for term in others]
        return self._parts[name]


def _axes(structure: Structure) -> dict[str, tuple[Tensor | None, Reader | None]]:
    """By parameter the gates along an axis that is written, and what reads along another one.

    A weight that is used transposed, too, is read and written along the same axis, which counts once.
    """
    written, read = dict[str, dict[int, Tensor]](), dict[str, dict[int, Reader]]()
    for axis in structure.axes:
        written.setdefault(axis.parameter, {})[axis.axis] = axis.gates
    for one in structure.readers:
        read.setdefault(one.parameter, {})[one.weight_axis] = one
    found: dict[str, tuple[Tensor | None, Reader | None]] = {}
    for name in {**written, **read}:
        writes, reads = written.get(name, {}), read.get(name, {})
        own = next((place for place in writes if place not in reads), next(iter(writes), None))
        other = next((place for place in {**reads, **writes} if place != own), None)
        reader = None if other is None else reads.get(other)
        if other is not None and reader is None:
            gates = writes[other]
            reader = Reader(name, other, -1, gates, torch.arange(len(gates)), None)
        found[name] = (None if own is None else writes[own]), reader
    return found


def _weight_use(layer_name: str, layer: nn.Module, tensor: str, positions: Mapping[str, int]) -> float:
    """How often a weight of a counted layer is used; other parameters are not."""
    if tensor not in multiplied(layer):
        return 0.0
    return positions.get(layer_name, positions.get(plain_name(layer_name), 0))


def _own_term(layer: nn.Module, name: str, written: Mapping[str, Tensor], macs: float, sections: Tensor) -> _Term:
    """What a layer multiplies without parameters, along its units."""
    inside = units_inside(layer)
    assert inside is not None and inside.macs is not None  # only such layers are counted
    gates = written.get(".".join(part for part in (name, inside.macs.layer, inside.macs.tensor) if part))
    return _Term(0.0, macs / (1 if gates is None else len(gates)), gates, None, None, None, sections)


def _holding(structure: Structure, layer: str, tensor: str = "") -> Tensor:
    """The gates of the sections that hold a parameter."""
    gates = zip(structure.sections, structure.section_gates.tolist(), strict=True)
    return torch.tensor([gate for one, gate in gates if one.holds(layer, tensor)], dtype=torch.long)


def _term(
    size: int, entries: int, written: Tensor | None, reader: Reader | None, used: float, sections: Tensor
) -> _Term:
    """A parameter's term, of `size` numbers of which `entries` count as parameters."""
    arriving = None if reader is None else reader.arriving[reader.selected]
    pairs = max(1, (1 if written is None else len(written)) * (1 if arriving is None else len(arriving)))
    common = None
    if written is not None and arriving is not None:
        length = 2 + int(torch.cat([written, arriving]).max())
        same = written[written != UNGATED].bincount(minlength=length)[arriving]  # the last entry: no gate
        common = same if bool(same.any()) else None
    selection = None if reader is None else reader.selection
    return _Term(entries / pairs, size / pairs * used, written, arriving, selection, common, sections)
