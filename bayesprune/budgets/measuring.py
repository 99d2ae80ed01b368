"""Measuring how long layers take at several widths, and whole networks, on the machine and device of a run."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import _disable_current_modes

from bayesprune.batches import Batch, call, head
from bayesprune.budgets.shares import channel_sums, layer_shares, uniform_gates
from bayesprune.devices import random_apart
from bayesprune.evaluation.latency import latency_ms
from bayesprune.structure import compact, evaluating, hooked
from bayesprune.structure.copying import copied
from bayesprune.structure.layers import CONVOLUTION
from bayesprune.structure.selectors import plain_name
from bayesprune.training import TrainState

GRID = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Shares of its channels at which a layer is measured; 0 stands for one channel."""

PASSES, SPENT_MS, BLOCKS, TIMES = (5, 30), 10.0, 3, 5
"""Passes of a block at least and at most, and about how long it takes; blocks of one measurement, and measurements of
a whole network."""

Tell = Callable[[int, int], None]
"""Called with the measurements that are made, and how many there are."""


@dataclass(frozen=True)
class LayerTimes:
    """How long one layer takes.

    Attributes:
        name: of the layer.
        read, written: channels that it reads and writes through gates at the start; 0 for none.
        ms: [S][S] milliseconds by the shares read and written.
    """

    name: str
    read: int
    written: int
    ms: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, eq=False)
class WholeTime:
    """How long a network takes that has the same share of every group.

    Attributes:
        shares: [L, 2] of what its layers read and write.
        ms: milliseconds of one sample.
    """

    shares: Tensor
    ms: float


@dataclass(frozen=True, eq=False)
class Measured:
    """All that was measured.

    Attributes:
        grid: shares, ascending.
        layers: that were measured alone.
        wholes: networks of rising size, from as few channels as possible to all.
    """

    grid: tuple[float, ...]
    layers: tuple[LayerTimes, ...]
    wholes: tuple[WholeTime, ...]


def time_ms(network: nn.Module, example: Batch) -> float:
    """Milliseconds of one sample: the least of three blocks' medians, since other work on the machine only adds to it.

    Quick networks are passed more often.
    """
    least, most = PASSES
    with _disable_current_modes():  # the loop counts multiply-accumulates where a phase starts, and counting takes time
        first = latency_ms(network, example, repeats=least, warmup=2)
        passes = max(least, min(most, round(SPENT_MS / max(first, 1e-6))))
        return min(first, *(latency_ms(network, example, repeats=passes, warmup=0) for _ in range(BLOCKS - 1)))


def whole_ms(state: TrainState, open_gates: Tensor) -> float:
    """Milliseconds of one sample through the network without the closed gates' channels: the median of 5.

    Args:
        state: whose network is copied, as it is now.
        open_gates: bool [J].
    """
    network = copied(state.network)
    compact(network, state.structure, state.structure.consistent(open_gates))
    with random_apart(state.place.device):
        return median(time_ms(network, state.example) for _ in range(TIMES))


@dataclass(frozen=True)
class _Called:
    """A layer and what it is called with: the shape of one sample's input, and how often."""

    layer: nn.Module
    shape: tuple[int, ...]
    times: int


def measured(state: TrainState, tell: Tell) -> Measured:
    """Measure every linear and convolution layer on a grid of widths, and whole networks of several sizes.

    Args:
        state: of a run whose network is as it was at the start.
        tell: is told how far it is.
    """
    structure = state.structure
    counts = channel_sums(structure, torch.ones(structure.gate_count))
    called = _called(state)
    total, done = len(called) + len(GRID), 0
    known: dict[Any, tuple[tuple[float, ...], ...]] = {}
    layers = []
    for name, one in called.items():
        read, written = (int(counts.get((name, side), torch.zeros(()))) for side in (0, 1))
        key = (str(one.layer), one.shape, one.times, bool(read), bool(written))
        if key not in known:
            known[key] = _on_grid(state, one, has_read=read > 0, has_written=written > 0)
        layers.append(LayerTimes(name, read, written, known[key]))
        tell(done := done + 1, total)
    names, channels = list(called), torch.tensor([[one.read, one.written] for one in layers], dtype=torch.float64)
    wholes = []
    for share in GRID:
        gates = uniform_gates(structure, share)
        shares = layer_shares(structure, gates.double(), names, channels.reshape(-1, 2))
        wholes.append(WholeTime(shares, whole_ms(state, gates)))
        tell(done := done + 1, total)
    return Measured(GRID, tuple(layers), tuple(wholes))


def _called(state: TrainState) -> dict[str, _Called]:
    """The layers that run, by their names before selectors, in the order of their first calls."""
    found: dict[str, _Called] = {}
    names = {module: plain_name(name) for name, module in state.network.named_modules() if _is_measured(module)}

    def see(module: nn.Module, arguments: tuple[Any, ...]) -> None:
        before = found.get(names[module])
        if arguments and isinstance(arguments[0], Tensor):
            shape = (1, *arguments[0].shape[1:])
            found[names[module]] = _Called(module, shape, 1 if before is None else before.times + 1)

    handles = [module.register_forward_pre_hook(see) for module in names]
    with hooked(iter(handles)), evaluating(state.network), random_apart(state.place.device), torch.no_grad():
        call(state.network, head(state.example, 1))
    return found


def _is_measured(module: nn.Module) -> bool:
    """Plain linear and convolution layers; what computes its weight anew is part of the rest."""
    plain = isinstance(module, (nn.Linear, CONVOLUTION))
    return plain and type(module).__module__.startswith("torch.nn.modules") and "weight" in module._parameters


def _on_grid(state: TrainState, one: _Called, *, has_read: bool, has_written: bool) -> tuple[tuple[float, ...], ...]:
    """Milliseconds [S][S] of a layer at the shares of its channels; where a side has no gates its row is repeated."""

    def times(read: float) -> tuple[float, ...]:
        if not has_written:
            return (_time(state, one, read, 1.0),) * len(GRID)
        return tuple(_time(state, one, read, written) for written in GRID)

    if not has_read or _groups(one.layer) > 1:
        return (times(1.0),) * len(GRID)
    return tuple(times(read) for read in GRID)


def _time(state: TrainState, one: _Called, read: float, written: float) -> float:
    """Milliseconds of a layer with so large shares of its channels."""
    layer, shape = _resized(one.layer, one.shape, read, written)
    weight = one.layer.get_parameter("weight")
    example = torch.zeros(shape, device=weight.device, dtype=weight.dtype)
    return one.times * time_ms(layer.to(weight.device, weight.dtype), example)


def _resized(layer: nn.Module, shape: Sequence[int], read: float, written: float) -> tuple[nn.Module, tuple[int, ...]]:
    """A new layer of the same kind with so large shares of its channels, and the shape of its input."""
    bias = layer.bias is not None
    if isinstance(layer, nn.Linear):
        inputs, outputs = _part(layer.in_features, read), _part(layer.out_features, written)
        return nn.Linear(inputs, outputs, bias=bias), (*shape[:-1], inputs)
    assert isinstance(layer, CONVOLUTION)
    groups = _groups(layer)
    if groups > 1:  # whole groups go
        left = _part(groups, written)
        inputs, outputs = layer.in_channels // groups * left, layer.out_channels // groups * left
    else:
        left, inputs, outputs = 1, _part(layer.in_channels, read), _part(layer.out_channels, written)
    new = deepcopy(layer)
    for handles in (new._forward_pre_hooks, new._forward_hooks):
        handles.clear()
    new.in_channels, new.out_channels, new.groups = inputs, outputs, left
    transposed = isinstance(layer, nn.modules.conv._ConvTransposeNd)
    sides = (inputs, outputs // left) if transposed else (outputs, inputs // left)
    new.weight = nn.Parameter(torch.zeros(*sides, *layer.kernel_size))
    new.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
    return new, (shape[0], inputs, *shape[2:])


def _groups(layer: nn.Module) -> int:
    return int(getattr(layer, "groups", 1))


def _part(size: int, share: float) -> int:
    """A share of a number of channels, one at least."""
    return max(1, round(share * size))
