"""Counts of channels in multiples at the end of pruning: above or below what is worth its price."""

from torch import Tensor

from bayesprune.budgets.limits import Limits
from bayesprune.inference.differences import Choice, ExactDifferences
from bayesprune.pruners.rounding import channel_counts, open_counts, rounded_gates


def round_counts(look: ExactDifferences, chosen: Choice, multiple: int, limits: Limits | None) -> None:
    """Open channels until every group has a multiple; close a whole multiple where that lowers the objective.

    For a budget more multiples are closed, those that are worth least for the cost they save, until it is met.

    Args:
        look: at the network as it is.
        chosen: the gates to open; it is changed.
        multiple: such as 8; with 1 nothing happens.
        limits: of budgets, which one multiple in every group is known to meet.
    """
    if multiple == 1:
        return
    structure = look.state.structure
    order = (~chosen.open * look.margin().abs().max().add(1) + look.margin()).argsort(descending=True, stable=True)
    before = channel_counts(structure, chosen.open)
    chosen.open = rounded_gates(structure, chosen.open, order, multiple, up=True)

    def fewer(name: str) -> Tensor | None:
        """One multiple less in a group; None where it has no more than one, or layers need what it has."""
        count = channel_counts(structure, chosen.open)[name]
        if count <= multiple:
            return None
        trial = open_counts(structure, chosen.open, order, {name: (count - 1) // multiple * multiple})
        return trial if channel_counts(structure, trial)[name] < count else None

    present = look.objective(chosen.open).value
    for name, count in channel_counts(structure, chosen.open).items():
        trial = fewer(name) if count > before[name] else None
        if trial is not None and (value := look.objective(trial).value) < present:
            chosen.open, present = trial, value
    while limits is not None and not limits.meets(look.state, chosen.open.double()):
        trials = [trial for name in before if (trial := fewer(name)) is not None]
        if not trials:  # layers that read parts of a group need more than one multiple: the budget goes first
            look.fit(chosen, limits)
            break
        best = min(trials, key=lambda trial: _loss_for_cost(look, chosen.open, trial, limits))
        chosen.open, chosen.cut = best, chosen.cut | (chosen.open & ~best)


def _loss_for_cost(look: ExactDifferences, open_gates: Tensor, trial: Tensor, limits: Limits) -> float:
    """By how much closing the gates that a trial lacks raises the loss, for each unit of the cost that it saves."""
    rise = float(look.rises()[open_gates & ~trial].sum())
    saved = float(limits.used(look.state, open_gates.double()) - limits.used(look.state, trial.double()))
    return rise / max(saved, 1e-12)
