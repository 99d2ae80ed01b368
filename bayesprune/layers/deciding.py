"""Which layers go at the end of training: by signs, by a tolerance, or by how rarely their activation acts on data."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from bayesprune.batches import Batch, call
from bayesprune.devices import device_of, random_apart
from bayesprune.layers.collapse import Steps, collapse
from bayesprune.layers.find import Candidate, Layers, find_layers
from bayesprune.layers.signs import active_layers, clamp, inactive
from bayesprune.structure.modes import evaluating, hooked


@dataclass(frozen=True)
class Collapse:
    """What was taken out of a network.

    Attributes:
        steps: for `replay`.
        active: the layers left whose activation acts.
        gone: the layers that went.
        shares: of every candidate before anything went, the share of negative values before its activation; empty
            where no data were looked at.
    """

    steps: Steps
    active: tuple[str, ...]
    gone: tuple[str, ...]
    shares: dict[str, float] = field(default_factory=dict)


def collapse_inactive(
    network: nn.Module, example: Batch, *, tol: float = 0.0, eps: float | None = None, calibration: Batch | None = None
) -> Collapse:
    """Take out every layer that is linear, in place, until there is none.

    With tol = 0 and without eps the network stays the same function to rounding. Weights and biases from -tol to 0
    become 0 first. With eps a layer also goes where no more than this share of its values before the activation is
    negative on the calibration data; its activation is then left out, which changes the function where it acted.

    Args:
        network: changed in place.
        example: inputs [B, ...] for its shapes.
        tol: up to which a negative weight counts as 0.
        eps: share of negative values, over examples and units; None looks at signs only.
        calibration: inputs [N, ...]; needed with eps.

    Raises:
        UnsupportedLayerError: the network cannot be traced, or has no linear layer and no convolution.
    """
    steps: Steps = []
    gone: list[str] = []
    first: dict[str, float] | None = None
    while True:
        layers = find_layers(network, example)
        chosen = {one.layer for one in inactive(network, layers, tol)}
        if tol > 0:
            for one in layers.candidates:
                if one.layer in chosen:
                    clamp(network, one)
        if eps is not None and calibration is not None:
            shares = negative_shares(network, layers, calibration)
            first = shares if first is None else first
            chosen |= {name for name, share in shares.items() if share <= eps}
        going = [one for one in layers.candidates if one.layer in chosen]
        if not going:
            return Collapse(steps, active_layers(network, layers), tuple(gone), first or {})
        steps += collapse(network, going, layers.sizes)
        gone += [one.layer for one in going]


@torch.no_grad()
def negative_shares(network: nn.Module, layers: Layers, inputs: Batch) -> dict[str, float]:
    """Of each candidate the share of (example, unit) pairs with a negative value before the activation."""
    found: dict[str, float] = {}
    handles: list[Callable[[], Any]] = []
    for one in layers.candidates:
        last = network.get_submodule(one.norm or one.layer)
        watched = network.get_submodule(one.layer)
        read: list[Tensor] = []
        if one.skip:
            handles.append(partial(watched.register_forward_pre_hook, partial(_keep, read)))
        handles.append(partial(last.register_forward_hook, partial(_count, found, one, read)))
    with hooked(make() for make in handles), evaluating(network), random_apart(device_of(network)):
        call(network, inputs)
    return found


def _keep(read: list[Tensor], _: nn.Module, arguments: tuple[Any, ...]) -> None:
    read[:] = [arguments[0]]


def _count(found: dict[str, float], one: Candidate, read: list[Tensor], _: nn.Module, __: Any, written: Tensor) -> None:
    values = written + read[0] if read else written
    found[one.layer] = float((values < 0).double().mean())


@dataclass(frozen=True)
class Change:
    """By how much a network's outputs changed.

    Attributes:
        largest: largest difference over the largest output.
        mean: root mean square of the differences over that of the outputs.
    """

    largest: float
    mean: float


@torch.no_grad()
def outputs_of(network: nn.Module, inputs: Batch, output: Callable[[Any], Tensor] = lambda said: said) -> Tensor:
    """What a network says in evaluation mode, in float64."""
    with evaluating(network), random_apart(device_of(network)):
        return output(call(network, inputs)).double()


def change(before: Tensor, after: Tensor) -> Change:
    """Compare outputs before and after."""
    difference, scale = (after - before).flatten(), before.flatten()
    tiny = 1e-30
    return Change(
        float(difference.abs().max() / scale.abs().max().clamp_min(tiny)),
        float(difference.square().mean().sqrt() / scale.square().mean().sqrt().clamp_min(tiny)),
    )
