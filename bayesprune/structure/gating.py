"""Multiplying what the consumers read by the gates, through forward hooks, and masking what normalises it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import Tensor, nn

from bayesprune.errors import SettingError, UnsupportedLayerError
from bayesprune.sections.gating import Gate, hook_sections
from bayesprune.structure.by_weight import GatedWeights
from bayesprune.structure.groups import Structure
from bayesprune.structure.masked_norm import masked
from bayesprune.structure.members import UNGATED, Normaliser, Reader
from bayesprune.structure.nested_inputs import without_nesting
from bayesprune.structure.repeats import Repeats, in_backward


class _Gates:
    """Gates [J] or [B, J] as the readers take them.

    Runs of gates that are read together are cut once for all readers: the gradient of one `split` comes back in one
    piece, that of a slice as a whole tensor of zeros for each.
    """

    def __init__(self, whole: Tensor, lengths: Sequence[int], drawn_weights: bool) -> None:
        self.whole, self.drawn_weights = whole, drawn_weights
        pieces = whole.split(list(lengths), dim=-1)
        starts = accumulate(lengths, initial=0)
        self._pieces = {(start, piece.shape[-1]): piece for start, piece in zip(starts, pieces, strict=False)}

    def run(self, start: int, count: int) -> Tensor:
        """Gates [..., count] from `start` on."""
        piece = self._pieces.get((start, count))
        return self.whole[..., start : start + count] if piece is None else piece


Apply = Callable[[Tensor, _Gates], Tensor]


class Gating:
    """Lets gates act on a network for as long as they are applied.

    ```python
    gating = Gating(network, structure)
    with gating.applied(gates):  # [J] for all examples, or [B, J] for each example its own
        outputs = network(inputs)
    ```
    Outside of `applied` the hooks do nothing. After a compaction make a new one and `remove` the old. Where the
    structure is not `per_example`, gates are global: a gated weight is the same for all examples.
    """

    def __init__(self, network: nn.Module, structure: Structure) -> None:
        self._gates: _Gates | None = None
        self._repeats: Repeats[_Gates] = Repeats()
        self._count = structure.gate_count
        self._global = None if structure.per_example else _why_global(structure)
        hooked = [reader for reader in structure.readers if not reader.by_weight]
        bounds = sorted({0, self._count, *_bounds(hooked)})
        self._lengths = [end - start for start, end in pairwise(bounds)] or [0]
        weights = GatedWeights(network, [reader for reader in structure.readers if reader.by_weight], self._whole)
        self._handles = [
            *(
                network.get_submodule(reader.layer).register_forward_pre_hook(self._hook(reader.layer, _plan(reader)))
                for reader in hooked
            ),
            *(network.get_submodule(norm.layer).register_forward_hook(self._norm(norm)) for norm in structure.norms),
            *(
                network.get_submodule(layer).register_forward_pre_hook(self._note(layer))
                for layer in {reader.layer: None for reader in structure.readers if reader.by_weight}
            ),
            *weights.handles,
            *without_nesting(network),
        ]
        gates = structure.section_gates.tolist()
        names = [section.name for section in structure.sections]
        self._handles += hook_sections(
            network, structure.sections, lambda number: self._gate(gates[number], names[number])
        )

    @contextmanager
    def applied(self, gates: Tensor, *, drawn_weights: bool = False) -> Iterator[None]:
        """Multiply every consumer's inputs, and every section's branch, by gates [J] or [B, J]; any real numbers.

        Args:
            gates: as said.
            drawn_weights: whether weights are drawn for this pass too, which could not be drawn again where parts of it
                are run again in the backward pass.

        Raises:
            SettingError: they are not J, or gates for each example where they must be global.
        """
        if gates.dim() not in (1, 2) or gates.shape[-1] != self._count:
            raise SettingError(f"gates of shape {tuple(gates.shape)} for a structure that has {self._count}")
        if gates.dim() == 2 and self._global is not None:
            raise SettingError(f"gates {list(gates.shape)} for each example, but {self._global}: give gates [J]")
        previous, self._gates = self._gates, _Gates(gates, self._lengths, drawn_weights)
        try:
            yield
        finally:
            self._gates = previous

    def remove(self) -> None:
        """Take the hooks off the network."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
        self._repeats.forget()

    def _acting(self, layer: str, *, by_weight: bool = False) -> _Gates | None:
        """The gates that act on a layer that runs now, also where it runs again in the backward pass."""
        gates = self._repeats.acting(layer, self._gates, by_weight=by_weight)
        if gates is not None and gates.drawn_weights and in_backward():
            raise UnsupportedLayerError(
                f"layer {layer!r} runs again in the backward pass (torch.utils.checkpoint), where its weights would "
                "not be those that were drawn: switch checkpointing off in this network while it is pruned, or take a "
                "method without random weights, such as parsimonious"
            )
        return gates

    def _note(self, layer: str) -> Callable[[nn.Module, Any], None]:
        """Notes that a layer runs whose weights are gated."""

        def note(_: nn.Module, __: Any) -> None:
            self._acting(layer, by_weight=True)

        return note

    def _whole(self) -> Tensor | None:
        """The gates that act now, None when none do."""
        return None if self._gates is None else self._gates.whole

    def _norm(self, norm: Normaliser) -> Callable[[nn.Module, Any, Any], Any]:
        index = {norm.gates.device: norm.gates}

        def normalise(layer: nn.Module, arguments: tuple[Tensor, ...], said: Tensor) -> Tensor | None:
            gates = self._acting(norm.layer)
            if gates is None:
                return None
            if not arguments:
                raise UnsupportedLayerError(f"layer {norm.layer!r} gets its input by keyword: pass it by position")
            padded = _padded(gates.whole)
            own = index.setdefault(padded.device, norm.gates.to(padded.device))
            factors = _aligned(padded[..., own], arguments[0].dim(), norm.feature_axis)
            return masked(layer, arguments[0], factors, norm.feature_axis).to(said)

        return normalise

    def _gate(self, gate: int, section: str) -> Gate:
        def acting() -> Tensor | None:
            gates = self._acting(section)
            return None if gates is None else gates.whole[..., gate]

        return acting

    def _hook(self, layer: str, apply: Apply) -> Callable[[nn.Module, Any], Any]:
        def multiply(_: nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
            gates = self._acting(layer)
            if gates is None:
                return None
            if not arguments:
                raise UnsupportedLayerError(f"layer {layer!r} gets its input by keyword: pass it by position")
            return (apply(arguments[0], gates), *arguments[1:])

        return multiply


def _why_global(structure: Structure) -> str:
    """Why examples cannot have gates of their own."""
    weights = [reader.parameter for reader in structure.readers if reader.by_weight]
    if weights:
        return f"weight {weights[0]!r} is gated itself and the same for all of them"
    return "some layer's input has other things than examples along its first axis"


def _padded(gates: Tensor) -> Tensor:
    """Gates [..., J + 1] with a 1 for features that have none."""
    return torch.cat([gates, gates.new_ones(*gates.shape[:-1], 1)], dim=-1)


def _bounds(readers: Sequence[Reader]) -> Iterator[int]:
    """Where the runs of gates that the readers read begin and end."""
    for reader in readers:
        for index in (reader.arriving[reader.selected], reader.selection):
            if index is not None and bool((index != UNGATED).any()):
                gated = index[index != UNGATED]
                yield from (int(gated.min()), int(gated.max()) + 1)


def _plan(reader: Reader) -> Apply:
    """How to multiply a reader's input by the gates: by a slice where they lie in a row, else by an index."""
    steps = [_factor(reader.arriving[reader.selected], reader.feature_axis)]
    if reader.selection is not None:
        steps.append(_factor(reader.selection, reader.feature_axis))
    used = [step for step in steps if step is not None]

    def apply(features: Tensor, gates: _Gates) -> Tensor:
        for step in used:
            features = step(features, gates)
        return features

    return apply


def _factor(index: Tensor, feature_axis: int) -> Apply | None:
    """Multiply features by the gates at `index`; None when no feature has a gate."""
    ungated = index == UNGATED
    if bool(ungated.all()):
        return None
    start, count = int(index.min()), int(index.max() - index.min()) + 1
    repeat = index.numel() // count
    row = torch.arange(start, start + count)
    in_a_row = index.numel() == count * repeat and torch.equal(index, row.repeat_interleave(repeat))
    if in_a_row and not bool(ungated.any()) and (repeat == 1 or feature_axis == -1):
        return _by_slice(start, count, repeat, feature_axis)
    return _by_index(index, feature_axis)


def _by_slice(start: int, count: int, repeat: int, feature_axis: int) -> Apply:
    """Gates that lie in a row, each for `repeat` features in a row (then of the last axis)."""

    def apply(features: Tensor, gates: _Gates) -> Tensor:
        part = gates.run(start, count).to(features.dtype)
        if repeat == 1:
            return features * _aligned(part, features.dim(), feature_axis)
        grouped = features.unflatten(-1, (count, repeat))
        gated: Tensor = grouped * _aligned(part, grouped.dim() - 1, -1).unsqueeze(-1)
        return gated.flatten(-2)

    return apply


def _by_index(index: Tensor, feature_axis: int) -> Apply:
    """Gates in any order, and features without one."""
    here = {index.device: index}  # copied to each device once

    def apply(features: Tensor, gates: _Gates) -> Tensor:
        whole = gates.whole
        own = here.get(whole.device)
        if own is None:
            own = here[whole.device] = index.to(whole.device)
        gated: Tensor = features * _aligned(_padded(whole)[..., own].to(features.dtype), features.dim(), feature_axis)
        return gated

    return apply


def _aligned(gates: Tensor, dimensions: int, feature_axis: int) -> Tensor:
    """Give gates [F] or [B, F] the singleton axes that let them multiply features of so many dimensions."""
    batch, axis = gates.shape[:-1], feature_axis % dimensions
    leading, trailing = [1] * (axis - len(batch)), [1] * (dimensions - 1 - axis)
    if not trailing and not (batch and leading):
        return gates
    aligned: Tensor = gates.reshape(*batch, *leading, gates.shape[-1], *trailing)
    return aligned
