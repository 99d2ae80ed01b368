"""Opening channels again where a budget leaves room for them."""

import torch
from torch import Tensor

from bayesprune.budgets.limits import SLACK, Limits
from bayesprune.pruners.rounding import channel_counts, open_counts
from bayesprune.structure import Structure
from bayesprune.training import TrainState


def filled(state: TrainState, limits: Limits, open_gates: Tensor, scores: Tensor, round_to: int = 1) -> Tensor:
    """Open the best closed gates that fit, until no more than `SLACK` of a budget is left: bool [J].

    Where that runs out of gates before the budget is full, the costliest are opened first, as change is counted out,
    and the fuller of both networks is taken.

    Args:
        state: of the run.
        limits: which the open gates meet.
        open_gates: bool [J].
        scores: [J], the best is opened first; nothing with -inf is opened.
        round_to: every group has a multiple of so many channels, and gets whole multiples.
    """
    gates = _filled(state, limits, open_gates, scores, round_to)
    if float(limits.used(state, gates.double())) >= 1 - SLACK:
        return gates
    by_cost, order = limits.slopes(state, open_gates).max(0).values, scores.argsort(stable=True)
    ranks = torch.empty_like(scores)
    ranks[order[by_cost[order].argsort(stable=True)]] = torch.arange(len(order)).to(scores)
    other = _filled(state, limits, open_gates, ranks.masked_fill(scores == float("-inf"), float("-inf")), round_to)
    return max((gates, other), key=lambda found: float(limits.used(state, found.double())))


def _filled(state: TrainState, limits: Limits, open_gates: Tensor, scores: Tensor, round_to: int) -> Tensor:
    """Open closed gates that fit, from the highest score on."""
    gates, left = open_gates.clone(), scores > float("-inf")
    while float(limits.used(state, gates.double())) < 1 - SLACK:
        fitting = (~gates & left & _fits(state, limits, gates)).nonzero().flatten()
        if not len(fitting):
            break
        gate = int(fitting[scores[fitting].argmax()])
        trial = state.structure.protect(_opened(state.structure, gates, gate, scores, round_to), scores)
        useful = bool(state.structure.consistent(trial)[gate]) and limits.meets(state, trial.double())
        if useful:
            gates = trial
        elif round_to > 1:
            place = next(p for p in state.structure.slices().values() if p.start <= gate < p.stop)
            left[place] = False
        else:
            left[gate] = False
    return gates


def _opened(structure: Structure, gates: Tensor, gate: int, scores: Tensor, round_to: int) -> Tensor:
    """The gates with one more, or with one more multiple of its group."""
    trial = gates.clone()
    trial[gate] = True
    kinds = {group.name: group.kind for group in structure.groups}
    name, place = next((n, p) for n, p in structure.slices().items() if p.start <= gate < p.stop)
    if round_to == 1 or kinds[name] == "flatten":
        return trial
    count = min(place.stop - place.start, channel_counts(structure, gates)[name] + round_to)
    order = (scores - (~gates).to(scores) * (scores.abs().clamp_max(1e30).max() * 2 + 1)).argsort(stable=True)
    return open_counts(structure, gates, order, {name: count})


def _fits(state: TrainState, limits: Limits, gates: Tensor) -> Tensor:
    """Gates [J] of which each alone would fit, by what opening it adds to every cost."""
    room = 1 - limits.shares(state, gates.double())
    return (limits.slopes(state, gates) <= room.unsqueeze(1) + 1e-9).all(0)
