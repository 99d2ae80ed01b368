"""The exact posterior of gates at fixed weights, p(z | w, data), by looking at all 2^J settings of them."""

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from math import log10
from time import perf_counter
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bayesprune.batches import call, count, join, repeated
from bayesprune.devices import device_of
from bayesprune.errors import SettingError
from bayesprune.inference.references.exact_gates import ExactGates, settings_of
from bayesprune.inference.references.log_priors import log_prior_of
from bayesprune.run.flipping import NUMBERS, Flipping
from bayesprune.run.raw_inputs import clear_refusal
from bayesprune.structure import Gating, Structure, evaluating
from bayesprune.training import Progress
from bayesprune.training.heads import saying

if TYPE_CHECKING:
    from bayesprune.run.pruned import Pruned

LARGEST = 20
"""More gates than this are refused: all settings of 20 gates are a million networks."""

ROWS, EXAMPLES_AT_ONCE = 8_000, 500
"""Examples under settings that are run at a time, and examples of the data among them, at most."""

TIMED = 8
"""Settings that are measured to say how long all of them would take."""


def exact(
    pruned: "Pruned",
    data: Any = None,
    *,
    examples: int | None = None,
    pi: str = "map",
    price: float | None = None,
    seed: int = 0,
    progress: Callable[[Progress], None] | None = None,
) -> ExactGates:
    """The exact posterior of the gates of a pruned network at its weights, over all settings of them.

    It is p(z | w, data), in proportion to exp(-N C(z)) times the prior, with batch normalisation in evaluation mode.
    Settings under which a layer passes nothing are left out. Ctrl-C leaves the network as it was.

    Args:
        pruned: the result of a run, with at most 20 gates left.
        data: as for `Pruned.evidence`.
        examples: training examples, drawn at random, whose log-likelihood is scaled up to all N; None for all.
        pi: "map" or "marginal"; see there.
        price: as in `bayesprune.inference.references.log_priors.log_prior_of`.
        seed: of the choice of examples.
        progress: called after every batch of settings.

    Raises:
        SettingError: there are too many gates (the message says how long it would take), a setting cannot be used, the
            run has no prices and none is given, or as for `Pruned.evidence`.
        StoreError: a loaded network without data.
        DataError: the data are none, or do not fit the run.
    """
    prior = log_prior_of(pruned, price, pi)
    flipping, structure = Flipping.of(pruned, data, examples, seed, fast=False), pruned.structure
    gates, rows = structure.gate_count, _rows_of(pruned)
    if gates > LARGEST:
        raise SettingError(_too_many(flipping, gates, rows))
    settings = settings_of(torch.arange(2**gates), gates)
    supported = passing(structure, settings > 0)
    nats = torch.full((2**gates,), torch.inf, dtype=torch.float64)
    nats[supported] = negative_logs(flipping, settings[supported], progress, rows)
    log_prior = torch.full_like(nats, -torch.inf)
    log_prior[supported] = prior.of(settings[supported])
    return ExactGates.of(nats, log_prior, structure, prior.log_odds, flipping.examples, flipping.size)


@torch.no_grad()
def negative_logs(
    flipping: Flipping,
    settings: Tensor,
    progress: Callable[[Progress], None] | None = None,
    rows: int = ROWS,
) -> Tensor:
    """Negative log-likelihoods [K] (nats, float64) of all N examples under settings [K, J] of the gates.

    Args:
        flipping: network, gates and examples.
        settings: 0 or 1.
        progress: called after every batch of settings; its loss is the least so far, an example.
        rows: examples under settings that are run at a time.
    """
    network, scale = flipping.network, flipping.size / flipping.examples
    found = torch.zeros(len(settings), dtype=torch.float64)
    with ExitStack() as stack:
        gating = Gating(network, flipping.structure)
        stack.callback(gating.remove)
        stack.enter_context(saying(network, flipping.output))
        stack.enter_context(evaluating(network))
        stack.enter_context(clear_refusal())
        batches = list(flipping.batches(min(EXAMPLES_AT_ONCE, rows)))
        at_once = max(1, rows // max(count(inputs) for inputs, _ in batches))
        for first in range(0, len(settings), at_once):
            part = settings[first : first + at_once].to(device_of(network), torch.get_default_dtype())
            total = torch.zeros(len(part), dtype=torch.float64)
            for inputs, targets in batches:
                outputs = said_under(partial(call, network), gating, flipping.structure, part, inputs)
                losses = flipping.losses(outputs, repeated(targets, len(part)))
                total += losses.cpu().reshape(len(part), -1).sum(1)
            done = first + len(part)
            found[first:done] = scale * total
            if progress is not None:
                progress(Progress("exact", done, len(settings), float(found[:done].min()) / flipping.size))
    return found


def said_under(ask: Callable[[Any], Any], gating: Gating, structure: Structure, settings: Tensor, inputs: Any) -> Any:
    """What a network says of B inputs under settings [K, J] of its gates, setting after setting: [K * B, ...].

    Args:
        ask: from inputs to what the network says.
        gating: on the network.
        structure: of the network; where its gates are global, one setting is run after the other.
        settings: of the gates.
        inputs: B examples.
    """
    if structure.per_example:
        with gating.applied(settings.repeat_interleave(count(inputs), 0)):
            return ask(repeated(inputs, len(settings)))
    said = []
    for setting in settings:
        with gating.applied(setting):
            said.append(ask(inputs))
    return join(said)


def passing(structure: Structure, opened: Tensor) -> Tensor:
    """Which settings [K, J] (bool) leave every layer something to read: bool [K], as `Structure.passes_on`."""
    sets, others = structure.needed
    found = (opened.to(sets) @ sets.T > 0).all(1)
    padded = torch.cat([opened, opened.new_ones(len(opened), 1)], 1)
    for reader in others:
        stays = padded[:, reader.arriving[reader.selected]]
        stays = stays if reader.selection is None else stays & padded[:, reader.selection]
        found &= stays.any(1)
    return found


def _rows_of(pruned: "Pruned") -> int:
    """Examples that are run at a time: what the layers say of all of them must stay within bounds."""
    numbers = sum(layer.outputs * max(1, layer.positions) for layer in pruned.layers)
    return max(1, min(ROWS, NUMBERS // max(1, numbers)))


def _too_many(flipping: Flipping, gates: int, rows: int) -> str:
    """Why so many gates are not enumerated, how long it would take, and what to do instead."""
    some = torch.ones(TIMED, gates)
    negative_logs(flipping, some[:1], rows=rows)  # the first pass pays for what is kept
    begin = perf_counter()
    negative_logs(flipping, some, rows=rows)
    each = (perf_counter() - begin) / TIMED
    return (
        f"{gates} gates have 2^{gates} settings, which would take about {_long(each, gates)} here ({each * 1e3:.2g} "
        f"ms each, measured on {TIMED} of them); at most {LARGEST} gates are enumerated: draw from the same posterior "
        "with gibbs()"
    )


def _long(each: float, gates: int) -> str:
    """Seconds a setting times all settings, in words."""
    if gates > 60:
        years = log10(each) + gates * log10(2) - log10(365.25 * 86_400)
        return f"10^{years:.0f} years"
    seconds = each * 2**gates
    for unit, length in (("years", 365.25 * 86_400), ("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.0f} {unit}"
    return f"{seconds:,.0f} seconds"
