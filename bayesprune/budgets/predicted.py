"""Latency of a gated network, predicted from a table that was measured on the machine and device of the run."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from bayesprune.budgets.measuring import Measured, Tell, measured
from bayesprune.budgets.shares import layer_shares
from bayesprune.training import Memory, Progress, TrainState

MEASURING = "latency table"
"""How the name of the phase begins that progress is told of while the table is measured."""


@dataclass
class LatencyTable(Memory):
    """Milliseconds of every layer by the shares of its channels that it reads and writes; kept in checkpoints.

    Attributes:
        layers: names of the measured linear and convolution layers, L of them.
        grid: shares [S], ascending.
        ms: [L, S (read), S (written)], never falling along a row or column.
        channels: [L, 2] channels that each layer reads and writes through gates at the start; 0 for none.
        rest_at, rest: mean written share [R], ascending, and what the network takes beside its layers there.
        dense, smallest: milliseconds of the whole network, and with as few channels as possible.
        scale: by which all is multiplied since a network of the run was measured.
    """

    layers: list[str] = field(default_factory=list)
    grid: Tensor | None = None
    ms: Tensor | None = None
    channels: Tensor | None = None
    rest_at: Tensor | None = None
    rest: Tensor | None = None
    dense: float = 0.0
    smallest: float = 0.0
    scale: float = 1.0

    def at(self, shares: Tensor) -> Tensor:
        """Predicted milliseconds at shares [L, 2] of read and written channels; piecewise bilinear."""
        assert self.ms is not None and self.grid is not None and self.rest_at is not None and self.rest is not None
        below, part = _places(shares, self.grid)
        rows = torch.arange(len(self.layers))
        read, written = below[:, 0], below[:, 1]
        corners = [
            self.ms[rows, read + i, written + j] * _weight(part[:, 0], i) * _weight(part[:, 1], j)
            for i in (0, 1)
            for j in (0, 1)
        ]
        mean = shares[:, 1].mean().reshape(1) if len(self.layers) else shares.new_ones(1)
        place, inside = _places(mean, self.rest_at)
        rest = self.rest[place] * (1 - inside) + self.rest[place + 1] * inside
        return self.scale * (torch.stack(corners).sum() + rest.sum())


def _places(values: Tensor, grid: Tensor) -> tuple[Tensor, Tensor]:
    """The interval of a grid in which each value lies, and how far through it."""
    grid = grid.to(values)
    below = (torch.searchsorted(grid, values.detach().contiguous(), right=True) - 1).clamp(0, len(grid) - 2)
    low, high = grid[below], grid[below + 1]
    return below, ((values - low) / (high - low)).clamp(0, 1)


def _weight(part: Tensor, corner: int) -> Tensor:
    return part if corner else 1 - part


def table_of(state: TrainState) -> LatencyTable:
    """The run's table, measured at the first call, while the network still is as it was at the start.

    A run that goes on from a checkpoint has the one that it began with.
    """
    table = state.memory(LatencyTable)
    if not table.dense:
        fill(table, measured(state, _telling(state)))
    return table


def fill(table: LatencyTable, found: Measured) -> None:
    """Take what was measured into the table."""
    table.layers = [layer.name for layer in found.layers]
    table.grid = torch.tensor(found.grid, dtype=torch.float64)
    rows = [layer.ms for layer in found.layers]
    ms = torch.tensor(rows, dtype=torch.float64).reshape(len(rows), len(found.grid), len(found.grid))
    table.ms = ms.cummax(1).values.cummax(2).values  # more channels never take less time
    counts = [[layer.read, layer.written] for layer in found.layers]
    table.channels = torch.tensor(counts, dtype=torch.float64).reshape(len(rows), 2)
    table.dense, table.smallest, table.scale = found.wholes[-1].ms, found.wholes[0].ms, 1.0
    table.rest_at, table.rest = torch.tensor([0.0, 1.0], dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    points = sorted((float(one.shares[:, 1].mean()), one.ms - float(table.at(one.shares))) for one in found.wholes)
    places = {round(share, 9): ms for share, ms in points}
    if len(places) == 1:
        places = {0.0: points[0][1], 1.0: points[-1][1]}
    table.rest_at = torch.tensor(list(places), dtype=torch.float64)
    table.rest = torch.tensor(list(places.values()), dtype=torch.float64)


def _telling(state: TrainState) -> Tell:
    """Says how far measuring is, to whoever shows the run's progress."""

    def tell(done: int, total: int) -> None:
        if state.tell is not None:
            state.tell(Progress(f"{MEASURING} {done}/{total}", state.step, max(state.step, 1), float("nan")))

    return tell


def predicted_latency(state: TrainState, theta: Tensor) -> Tensor:
    """Milliseconds of one sample at inclusion probabilities theta [J], predicted at the expected widths."""
    table = table_of(state)
    assert table.channels is not None
    shares = layer_shares(state.structure, theta.cpu().double(), table.layers, table.channels)
    return table.at(shares).to(theta)
