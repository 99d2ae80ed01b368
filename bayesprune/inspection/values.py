"""What an inspection found, as values that print as a table."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from html import escape
from typing import Any

_HEADS = ("layer", "kind", "in", "out", "params", "MACs", "can go", "group", "tied with, or why it stays whole")
_TEXT = (0, 1, 7, 8)
"""Columns that are text; the others are numbers."""

_MOST_NAMED = 3
"""Layers that a line names before it counts the rest."""


@dataclass(frozen=True)
class InspectedLayer:
    """One layer of a network.

    Attributes:
        name: in the network.
        kind: its class.
        inputs, outputs: features (or channels) that it reads and writes; 0 where that is not one number.
        params: its parameters, biases included.
        macs: multiply-accumulates for one sample.
        removable: how many of its outputs have a gate: all but one of them can go at most.
        group: the group of its outputs, "" where it stays whole; of several the first.
        tied: other layers that write channels of its groups, which go along with its own.
        reads: groups whose channels it reads: its inputs go along with those.
        whole: why it keeps all its outputs; "" where it does not.
    """

    name: str
    kind: str
    inputs: int
    outputs: int
    params: int
    macs: int
    removable: int
    group: str
    tied: tuple[str, ...]
    reads: tuple[str, ...]
    whole: str

    @property
    def prunable(self) -> bool:
        """Whether channels that it writes can be removed."""
        return self.removable > 0

    @property
    def share(self) -> float:
        """Share of its outputs that have a gate."""
        return self.removable / self.outputs if self.outputs else 0.0


@dataclass(frozen=True)
class Inspection:
    """What of a network can be removed.

    Attributes:
        name: of the network.
        layers: every linear and convolution layer, and others that write or hold back channels.
        groups: how many channels are removed together at most, by group.
        macs, params: of the whole network, for one sample.
        smallest_macs, smallest_params: with as few channels as possible: no budget can be below.
        keep: what was named in `keep`.
        advised: what `keep` must name besides, or no method that removes channels takes the network; mostly nothing.
        refused: why, a sentence each.
    """

    name: str
    layers: tuple[InspectedLayer, ...]
    groups: dict[str, int]
    macs: int
    params: int
    smallest_macs: int
    smallest_params: int
    keep: tuple[str, ...]
    advised: tuple[str, ...]
    refused: tuple[str, ...]

    @property
    def share(self) -> float:
        """Share of all layers' outputs that have a gate."""
        return sum(one.removable for one in self.layers) / max(1, sum(one.outputs for one in self.layers))

    @property
    def whole(self) -> dict[str, str]:
        """The layers that keep all their outputs, and why."""
        return {one.name: one.whole for one in self.layers if one.whole}

    def __getitem__(self, name: str) -> InspectedLayer:
        """A layer by its name.

        Raises:
            KeyError: there is none.
        """
        for one in self.layers:
            if one.name == name:
                return one
        raise KeyError(name)

    def to_json(self) -> dict[str, Any]:
        """Plain values, as `bayesprune inspect --json` prints them."""
        layers = [asdict(one) | {"prunable": one.prunable, "share": one.share} for one in self.layers]
        return asdict(self) | {"layers": layers, "share": self.share}

    def __str__(self) -> str:
        rows = [_HEADS, *(_row(one) for one in self.layers)]
        widths = [max(len(row[place]) for row in rows) for place in range(len(_HEADS))]
        lines = [
            "  ".join(
                cell.ljust(width) if place in _TEXT else cell.rjust(width)
                for place, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]
        return "\n".join([*lines, "", *self.sentences()])

    def _repr_html_(self) -> str:
        """A table for notebooks."""

        def line(tag: str, cells: Sequence[str]) -> str:
            return f"<tr>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in cells)}</tr>"

        rows = "".join(line("td", _row(one)) for one in self.layers)
        said = "".join(f"<p>{escape(sentence)}</p>" for sentence in self.sentences())
        return f"<table><thead>{line('th', _HEADS)}</thead><tbody>{rows}</tbody></table>{said}"

    def sentences(self) -> list[str]:
        """Totals and advice, a line each."""
        gates = sum(self.groups.values())
        lines = [
            f"{self.name}: {self.macs:,} MACs, {self.params:,} parameters; {gates:,} gates in {len(self.groups)} "
            f"groups, {self.share:.0%} of all outputs can go",
            f"smallest possible network: {self.smallest_macs:,} MACs ({_percent(self.smallest_macs, self.macs)}), "
            f"{self.smallest_params:,} parameters ({_percent(self.smallest_params, self.params)})",
        ]
        if self.refused:
            lines += [f"refused: {sentence}" for sentence in self.refused]
            lines.append(f"a run needs keep={list(self.advised)}; the table is that of the network with it")
        if not gates:
            lines.append("no channel can be removed: take a method that masks single weights, such as magnitude")
        return lines


def _percent(part: int, whole: int) -> str:
    return f"{part / max(whole, 1):.2%}"


def _row(layer: InspectedLayer) -> tuple[str, ...]:
    """A layer's line of the table."""
    said = layer.whole or (f"with {_named(layer.tied)}" if layer.tied else "")
    counts = (layer.inputs, layer.outputs, layer.params, layer.macs)
    numbers = [f"{count:,}" if count else "-" for count in counts]
    return (layer.name, layer.kind, *numbers, f"{layer.share:.0%}", layer.group or "-", said)


def _named(names: Sequence[str]) -> str:
    """Some names, and how many more there are."""
    rest = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {rest} more" if rest > 0 else "")
