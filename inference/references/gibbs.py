"""Gibbs sampling of gates at fixed weights: p(z | w, data), in proportion to exp(-N C(z)) times the prior odds.

Every gate in turn is drawn from its exact conditional given all others (systematic scan). C is the mean negative
log-likelihood of the network under the gates z. Settings under which a layer passes nothing are left out of the
support. What the draws say holds for these weights: it is not the posterior over networks that are trained anew.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from bayesprune.batches import call
from bayesprune.devices import device_of
from bayesprune.errors import PruningWarning, SettingError
from bayesprune.inference.references.gibbs_draws import GibbsDraws
from bayesprune.inference.references.log_priors import Independent, LogPrior, log_prior_of
from bayesprune.run.flipping import BATCH, NUMBERS, Flipping
from bayesprune.run.raw_inputs import clear_refusal
from bayesprune.run.settings import check_integer
from bayesprune.structure import Gating, Structure, evaluating
from bayesprune.structure.replay import Replay
from bayesprune.training import Progress
from bayesprune.training.heads import saying

if TYPE_CHECKING:
    from bayesprune.run.pruned import Pruned

EXAMPLES = 1_000
"""Training examples that stand for all of them where no other number is asked for."""

_STARTS = (0.5, 0.8, 0.2)


class Flipped(Protocol):
    """A negative log-likelihood of all N examples as a function of gates, in nats."""

    def at(self, gates: Tensor) -> float:
        """That at gates [J] in {0, 1}, which are remembered."""
        ...

    def flipped(self, gate: int) -> float:
        """That with one of the remembered gates flipped, which is not remembered."""
        ...


class OfGates:
    """Any function of gates.

    Args:
        negative_log: from gates [J] in {0, 1} to nats.
    """

    def __init__(self, negative_log: Callable[[Tensor], float]) -> None:
        self._negative_log, self._gates = negative_log, torch.zeros(0)

    def at(self, gates: Tensor) -> float:
        """See `Flipped.at`."""
        self._gates = gates.clone()
        return float(self._negative_log(self._gates))

    def flipped(self, gate: int) -> float:
        """See `Flipped.flipped`."""
        other = self._gates.clone()
        other[gate] = 1 - other[gate]
        return float(self._negative_log(other))


class _Replayed:
    """That of a network, replayed from the gated layer on; ready replays, one for each batch of the examples."""

    def __init__(self, flipping: Flipping, batches: list[tuple[Replay, Any, Any]]) -> None:
        self._flipping, self._batches = flipping, batches

    def at(self, gates: Tensor) -> float:
        """See `Flipped.at`."""
        return self._nats(lambda replay, inputs: replay.run(inputs, gates.to(device_of(self._flipping.network))))

    def flipped(self, gate: int) -> float:
        """See `Flipped.flipped`."""
        return self._nats(lambda replay, _: replay.flipped([gate]))

    def _nats(self, outputs: Callable[[Replay, Any], Any]) -> float:
        losses = [
            float(self._flipping.losses(outputs(replay, inputs), targets).sum())
            for replay, inputs, targets in self._batches
        ]
        return self._flipping.size / self._flipping.examples * sum(losses)


def sample(
    model: Flipped,
    prior: Tensor | LogPrior,
    starts: Tensor,
    draws: int,
    *,
    warm_up: int = 0,
    seed: int = 0,
    allowed: Callable[[Tensor], bool] | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Tensor:
    """Draw gates by a systematic scan; every chain goes on from its start.

    Ctrl-C ends the chains early, once there are draws: what is there is given back.

    Args:
        model: the negative log-likelihood, nats.
        prior: log odds of an open gate [J], or a prior under which gates depend on each other.
        starts: gates [R, J] in {0, 1} of R chains.
        draws: sweeps that are kept.
        warm_up: sweeps before them that are not.
        seed: of the draws.
        allowed: whether gates [J] (bool) are in the support; None where all are. Opening must never leave it.
        progress: called after every sweep of all chains.

    Returns:
        Draws [R, D, J], uint8.

    Raises:
        SettingError: a start lies outside the support, or numbers do not fit.
    """
    check_integer("draws", draws, 1)
    check_integer("warm_up", warm_up, 0)
    check_integer("seed", seed, 0)
    prior = Independent(prior) if isinstance(prior, Tensor) else prior
    if starts.dim() != 2 or starts.shape[1:] != prior.log_odds.shape:
        raise SettingError(
            f"starts {list(starts.shape)} must be [chains, {len(prior.log_odds)}], as there are log odds"
        )
    if bool(prior.log_odds.isnan().any()):
        raise SettingError("prior log odds are NaN: give a number of nats for every gate")
    allowed = (lambda _: True) if allowed is None else allowed
    for number, start in enumerate(starts):
        if not allowed(start > 0.5):
            raise SettingError(f"the start of chain {number} is a network of which a layer passes nothing")
    states, generator = [start.clone() for start in starts.float()], torch.Generator().manual_seed(seed)
    kept: list[Tensor] = []
    try:
        for sweep in range(warm_up + draws):
            nats = [_scan(model, gates, prior, generator, allowed) for gates in states]
            if sweep >= warm_up:
                kept.append(torch.stack(states).to(torch.uint8))
            if progress is not None:
                progress(Progress("gibbs", sweep + 1, warm_up + draws, sum(nats) / len(nats)))
    except KeyboardInterrupt:
        if not kept:
            raise
        said = f"interrupted: {len(kept):,} of {draws:,} draws a chain are there"
        warnings.warn(said, PruningWarning, stacklevel=2)
    return torch.stack(kept, 1)


def _scan(
    model: Flipped, gates: Tensor, prior: LogPrior, generator: torch.Generator, allowed: Callable[[Tensor], bool]
) -> float:
    """Draw every gate once, in place; the negative log-likelihood in the end."""
    now, opened = model.at(gates), gates > 0.5
    draws = torch.rand(len(gates), generator=generator, dtype=torch.float64).logit().tolist()
    for gate, draw in enumerate(draws):
        is_open = bool(opened[gate])
        opened[gate] = not is_open
        if not allowed(opened):
            opened[gate] = is_open
            continue
        flipped = model.flipped(gate)
        gain = flipped - now if is_open else now - flipped  # of opening, in nats of log-likelihood
        opens = draw < gain + prior.opening(gates, gate)
        opened[gate] = opens
        if opens != is_open:
            gates[gate] = float(opens)
            now = model.at(gates)
    return now


def starts_of(structure: Structure, chains: int, seed: int = 0) -> Tensor:
    """Starts [R, J] of chains that lie apart: all open, then random gates, at several shares, that a layer passes."""
    generator = torch.Generator().manual_seed(seed)
    rows = [torch.ones(structure.gate_count, dtype=torch.bool)]
    for number in range(chains - 1):
        draw, preference = torch.rand(2, structure.gate_count, generator=generator)
        rows.append(structure.protect(draw < _STARTS[number % len(_STARTS)], preference))
    return torch.stack(rows).float()


def gibbs(
    pruned: "Pruned",
    data: Any = None,
    *,
    draws: int = 100,
    chains: int = 4,
    warm_up: int | None = None,
    examples: int | None = None,
    pi: str = "map",
    price: float | None = None,
    seed: int = 0,
    progress: Callable[[Progress], None] | None = None,
) -> GibbsDraws:
    """Sample the gates of a pruned network at its weights, with batch normalisation in evaluation mode.

    Args:
        pruned: the result of a run.
        data: as for `Pruned.evidence`.
        draws: kept a chain, at least 4.
        chains: that start apart: all open, then random.
        warm_up: sweeps before; None for a quarter of `draws`.
        examples: training examples, drawn at random, whose log-likelihood is scaled up to all N; None for 1,000, or
            all where there are fewer.
        pi: "map" or "marginal"; see there.
        price: as in `bayesprune.inference.references.log_priors.log_prior_of`.
        seed: of the choice of examples, the starts and the draws.
        progress: called after every sweep.

    Raises:
        SettingError: a setting cannot be used, the run has no prices and none is given, or as for `Pruned.evidence`.
        StoreError: a loaded network without data.
        DataError: the data are none, or do not fit the run.
    """
    check_integer("draws", draws, 4)
    check_integer("chains", chains, 1)
    prior = log_prior_of(pruned, price, pi)
    flipping = Flipping.of(pruned, data, examples, seed, most=EXAMPLES)
    structure = pruned.structure
    with model_of(flipping) as model:
        found = sample(
            model,
            prior,
            starts_of(structure, chains, seed),
            draws,
            warm_up=draws // 4 if warm_up is None else warm_up,
            seed=seed,
            allowed=structure.passes_on,
            progress=progress,
        )
    return GibbsDraws.of(found, structure, prior.log_odds, flipping.examples, flipping.size, pruned)


@contextmanager
def model_of(flipping: Flipping) -> Iterator[Flipped]:
    """The negative log-likelihood of a network as a function of its gates; the network is as before afterwards."""
    with ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        stack.enter_context(clear_refusal())
        if flipping.replay is None:
            gating = Gating(flipping.network, flipping.structure)
            stack.callback(gating.remove)
            stack.enter_context(saying(flipping.network, flipping.output))
            stack.enter_context(evaluating(flipping.network))
            yield OfGates(lambda gates: _by_whole_passes(flipping, gating, gates))
            return
        batches = []
        for inputs, targets in flipping.batches(_batch_size(flipping, flipping.replay)):
            replay = stack.enter_context(flipping.replay.another().ready())
            batches.append((replay, inputs, targets))
        yield _Replayed(flipping, batches)


def _batch_size(flipping: Flipping, replay: Replay) -> int:
    """Examples at a time: all that is kept of all of them must stay within bounds, or be looked at in small parts."""
    with replay.ready():
        replay.run(next(flipping.batches(2))[0])
        return max(1, min(2 * BATCH, NUMBERS // max(1, replay.numbers())))


def _by_whole_passes(flipping: Flipping, gating: Gating, gates: Tensor) -> float:
    total = 0.0
    for inputs, targets in flipping.batches():
        with gating.applied(gates.to(device_of(flipping.network))):
            total += float(flipping.losses(call(flipping.network, inputs), targets).sum())
    return flipping.size / flipping.examples * total
