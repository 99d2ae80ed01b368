"""Taking inactive layers out of a network, exactly, as a list of steps that can be stored and done again."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import nn

from bayesprune.errors import NetworkError, SettingError
from bayesprune.layers.find import Candidate
from bayesprune.layers.linear import (
    LinearChain,
    Nothing,
    Passed,
    composed,
    cost_of,
    factors_of,
    folded,
    size_after,
    why_not_one,
)

Steps = list[dict[str, Any]]
"""What was done, as JSON: {"layer", "into", "norm", "pool", "skip"} for each layer that went, in order, and
{"chain", "parts"} for each layer that took others in: how many factors each of its parts was multiplied of."""


def collapse(network: nn.Module, gone: Sequence[Candidate], sizes: Mapping[str, tuple[int, ...]]) -> Steps:
    """Let layers go into the ones behind them, in place; the caller knows that they are linear.

    A layer that goes leaves the identity behind: its activation then acts on what the layer before it writes, which
    is not negative, so that it passes it on. So the forward pass stays as it is written. The layer that takes others in
    is multiplied with them where that is exact (`why_not_one`) and costs neither more multiply-accumulates nor more
    parameters than the factors; where it would, the factors stay, without activations between them.

    Args:
        network: changed in place.
        gone: the layers, in the order of the forward pass.
        sizes: sides of the maps that layers read, by `find_layers`.

    Returns:
        The steps, for `replay`.
    """
    steps: Steps = []
    first: dict[str, str] = {}
    for one in gone:
        _join(network, one)
        steps.append(asdict(one))
        first[one.into] = first.pop(one.layer, one.layer)
    for name, start in first.items():
        chain = network.get_submodule(name)
        parts = best_parts(factors_of(chain), sizes.get(start, ()))
        _multiply(network, name, parts)
        steps.append({"chain": name, "parts": parts})
    return steps


def replay(network: nn.Module, steps: Steps) -> None:
    """Do what `collapse` did to a network of the same kind; weights are to be filled in.

    Raises:
        NetworkError: the steps do not fit the network.
    """
    for step in steps:
        try:
            if "chain" in step:
                _multiply(network, str(step["chain"]), [int(number) for number in step["parts"]])
            else:
                _join(network, Candidate(**step))
        except (LookupError, TypeError, ValueError, AttributeError, AssertionError, RuntimeError) as error:
            raise NetworkError(
                f"layers cannot go as step {step!r} says ({error}): it is not of this network"
            ) from error


def best_parts(factors: Sequence[nn.Module], size: Sequence[int]) -> list[int]:
    """How many factors to multiply for each part, so that all parts cost least.

    Least multiply-accumulates, then parameters, by dynamic programming over where the parts end. A part that has more
    parameters than its factors, or is not exactly one layer, is not among them.
    """
    count = len(factors)
    best: list[tuple[tuple[int, int], list[int]] | None] = [((0, 0), []), *[None] * count]
    maps = [tuple(size)]
    for factor in factors:
        maps.append(size_after(factor, maps[-1]) if maps[-1] else ())
    for start in range(count):
        known = best[start]
        if known is None:
            continue
        whole, own = factors[start], 0
        for end in range(start + 1, count + 1):
            own += cost_of(factors[end - 1], maps[end - 1])[1]
            if end > start + 1:
                if why_not_one(whole, factors[end - 1], maps[start]):
                    break
                whole = composed(whole, factors[end - 1])
            macs, parameters = cost_of(whole, maps[start])
            if end > start + 1 and parameters > own:
                continue
            (sum_macs, sum_parameters), parts = known
            offer = ((sum_macs + macs, sum_parameters + parameters), [*parts, end - start])
            if best[end] is None or offer[0] < best[end][0]:  # type: ignore[index]  # checked just before
                best[end] = offer
    found = best[count]
    assert found is not None  # every factor alone is a part
    return found[1]


def _join(network: nn.Module, one: Candidate) -> None:
    """Put a layer before the one that it goes into, as factors of one chain."""
    layer, into = network.get_submodule(one.layer), network.get_submodule(one.into)
    *before, last = factors_of(layer)
    norm = network.get_submodule(one.norm) if one.norm else None
    if norm is not None or one.skip:
        last = folded(last, norm, skip=one.skip)
    pool = [network.get_submodule(one.pool)] if one.pool else []
    chain = LinearChain(*before, last, *pool, *factors_of(into)).train(into.training)
    network.set_submodule(one.into, chain)
    network.set_submodule(one.layer, (Nothing() if one.skip else Passed()).train(layer.training))
    for name in (one.norm, one.pool):
        if name:
            network.set_submodule(name, Passed().train(layer.training))


@torch.no_grad()
def _multiply(network: nn.Module, name: str, parts: Sequence[int]) -> None:
    """Multiply consecutive factors of a chain; one part alone is the layer itself."""
    factors = factors_of(network.get_submodule(name))
    if sum(parts) != len(factors) or any(number < 1 for number in parts):
        raise SettingError(f"parts {list(parts)} do not make the {len(factors)} factors of {name!r}")
    made, start = [], 0
    for number in parts:
        whole = factors[start]
        for factor in factors[start + 1 : start + number]:
            whole = composed(whole, factor)
        made.append(whole)
        start += number
    training = network.get_submodule(name).training
    network.set_submodule(name, made[0] if len(made) == 1 else LinearChain(*made).train(training))
