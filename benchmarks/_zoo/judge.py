"""What `find` makes of a network: how much can go, whether that is exact, how long it takes, what is left out."""

import signal
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import process_time
from typing import Any

import torch
from torch import Tensor, nn

from bayesprune.batches import call
from bayesprune.errors import BayespruneError
from bayesprune.structure import Gating, Structure, compact, find
from bayesprune.structure.copying import copied
from bayesprune.structure.nesting import tensors_in

PRUNABLE = (nn.Linear, nn.modules.conv._ConvNd, nn.Embedding, nn.RNNBase, nn.MultiheadAttention)
"""Layers that write channels: each must be in a group, or stand among those left whole."""

DENSITIES = (0.8, 0.5, 0.2)
"""Shares of gates that stay open in the comparisons."""


class TooLongError(Exception):
    """A network took longer than it may."""


@dataclass(frozen=True)
class Verdict:
    """What came of a network.

    Attributes:
        gates: that were found; all channels' as well, by layer, are `share`.
        share: of the channels of all layers, those that have a gate.
        difference: largest of the compact network's outputs from the gated one's, relative to the largest output; NaN
            where nothing was compared.
        seconds: of the processor that `find` took, its own check included.
        silent: layers that are neither in a group nor said to be left whole.
        refused: what `find` said, "" where it found the groups.
        whole: layers that keep their channels, with the reasons.
    """

    gates: int = 0
    share: float = 0.0
    difference: float = float("nan")
    seconds: float = 0.0
    silent: tuple[str, ...] = ()
    refused: str = ""
    whole: tuple[tuple[str, str], ...] = ()

    @property
    def exact(self) -> bool:
        """Whether compaction is removal, up to rounding."""
        return self.difference <= 1e-5


def judge(build: Callable[[], tuple[nn.Module, Any]], limit: float = 120.0) -> Verdict:
    """Find a network's groups within so many seconds, and compare gated and compact copies on random gates."""
    network, example = build()
    begun = process_time()
    try:
        with warnings.catch_warnings(), within(limit):
            warnings.simplefilter("ignore")
            structure = find(network, example, inputs="none")
    except (BayespruneError, TooLongError) as refusal:
        said = f"{type(refusal).__name__}: {refusal}"
        return Verdict(seconds=process_time() - begun, refused=" ".join(said.split()))
    seconds = process_time() - begun
    return Verdict(
        structure.gate_count, share_of(network, structure), difference(network, structure, example), seconds,
        unnamed(network, structure), whole=tuple(structure.whole.items()),
    )  # fmt: skip


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raise `TooLongError` where what is inside takes more of the processor's time; on the main thread only."""

    def stop(*_: Any) -> None:
        raise TooLongError(f"not done in {seconds:g} seconds")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def share_of(network: nn.Module, structure: Structure) -> float:
    """Channels that have a gate over those of all layers that write any."""
    gated: dict[str, float] = {}
    for axis in structure.axes:
        tensor = getattr(network.get_submodule(axis.layer), axis.tensor, None) if axis.tensor else None
        if isinstance(tensor, Tensor) and tensor.dim() > 1 and len(axis.gates):
            part = float((axis.gates >= 0).float().mean())
            gated[axis.layer] = max(part, gated.get(axis.layer, 0.0))
    widths = {name: width(layer) for name, layer in network.named_modules() if isinstance(layer, PRUNABLE)}
    return sum(gated.get(name, 0.0) * n for name, n in widths.items()) / max(1, sum(widths.values()))


def width(layer: nn.Module) -> int:
    """The channels that a layer writes."""
    if isinstance(layer, nn.Linear):
        return layer.out_features
    if isinstance(layer, nn.modules.conv._ConvNd):
        return layer.out_channels
    if isinstance(layer, nn.RNNBase):
        return layer.hidden_size
    return int(layer.embedding_dim if isinstance(layer, nn.Embedding) else layer.embed_dim)  # type: ignore[arg-type]  # torch's stub has Module


def unnamed(network: nn.Module, structure: Structure) -> tuple[str, ...]:
    """Layers that write channels and of which nothing is said."""
    said = {name for group in structure.groups for name in group.producers} | set(structure.whole)
    layers = [name for name, layer in network.named_modules() if isinstance(layer, PRUNABLE)]
    return tuple(name for name in layers if name not in said and not any(name.startswith(f"{one}.") for one in said))


@torch.no_grad()
def difference(network: nn.Module, structure: Structure, example: Any) -> float:
    """The largest difference of compact from gated copies over `DENSITIES`, relative to the largest output.

    NaN where there is no gate, infinite where a compact copy does not run.
    """
    if structure.gate_count == 0:
        return float("nan")
    generator, worst = torch.Generator().manual_seed(17), 0.0
    for density in DENSITIES:
        random = torch.rand(structure.gate_count, generator=generator)
        gates = structure.protect(random < density, random)
        gated, small = copied(network).eval(), copied(network).eval()
        gating = Gating(gated, structure)
        with gating.applied(gates.float()):
            expected = tensors(call(gated, example))
        gating.remove()
        try:
            compact(small, structure, gates)
            got = tensors(call(small, example))
        except RuntimeError:  # of shapes that do not fit: as wrong as can be
            return float("inf")
        for one, other in zip(got, expected, strict=True):
            worst = max(worst, float((one - other).abs().max() / other.abs().max().clamp_min(1e-6)))
    return worst


def tensors(outputs: Any) -> list[Tensor]:
    """All tensors in what a network says, in order."""
    return list(tensors_in(outputs))
