"""What a user should know of a run, before it and after it."""

from collections.abc import Sequence
from math import ceil, sqrt
from typing import Any

from bayesprune.budgets.limits import Limits
from bayesprune.budgets.measured import missed_latency
from bayesprune.data import Split, steps_per_epoch
from bayesprune.inference.deciding import Decision
from bayesprune.run.method import Reason
from bayesprune.run.settings import RunSettings
from bayesprune.tasks import Metric
from bayesprune.training import TrainState

NEEDED_STEPS = 600
"""Steps of pruning in which most gates decide themselves."""

NOTABLE = 0.1
"""Share of a score that is no share of right answers by which it may change without meaning anything."""

UNUSED = 0.5
"""A budget explains a loss where at least this share of it is used."""


STILL, HIGH, LEAST_EPOCHS = 0.02, 0.2, 8
"""A loss still falls where it fell by more than the first share of a guess's; it is still high where it is above the
second share of it; in runs of so many epochs at least."""

LEARNT = 0.9
"""A network has learnt something whose negative log-likelihood is below this share of a guess's."""


def few_steps(prune_steps: int, train: Split, settings: RunSettings) -> list[str]:
    """A line where gates have fewer steps than they need."""
    if prune_steps >= NEEDED_STEPS:
        return []
    epochs = ceil(2 * NEEDED_STEPS / steps_per_epoch(train, settings.batch_size))
    return [
        f"the gates have {prune_steps:,} steps to decide themselves and need about {NEEDED_STEPS}: what is undecided "
        f"then is decided by what closing each gate does to the loss; give epochs={epochs} for a smaller network"
    ]


def judged_early(state: TrainState) -> list[str]:
    """A line where the network had learnt next to nothing when its gates were decided.

    Nothing is known then of what a unit would be worth: closing any of them costs nothing.
    """
    pruning = [record for record in state.history if record.get("phase") == "prune"]
    guess, said = state.task.guess(), pruning[-1]["validation_nll"] if pruning else None
    if guess is None or said is None or said <= LEARNT * guess:
        return []
    return [
        f"when the gates were decided the network predicted hardly better than a guess (validation NLL {said:.3g} of "
        f"{guess:.3g} nats), so what was closed may have been needed: give more epochs, a lower price, or, where the "
        "weights have a law of their own, a method with plain weights"
    ]


def fell(state: TrainState, validation: int) -> list[str]:
    """A line where validation tells that the network once was notably better than it ended.

    Args:
        state: of the finished run.
        validation: examples of the validation split.
    """
    metric, measured = state.task.metric, _measured(state)
    if not measured:
        return []
    last, best = measured[-1], measured[0]
    for record in measured:
        if metric.better(record["validation_score"], best["validation_score"]) > 0:
            best = record
    before, after = best["validation_score"], last["validation_score"]
    if metric.better(before, after) <= error_of(metric, before, validation):
        return []
    return [
        f"validation {metric.label} {'fell' if metric.higher_is_better else 'rose'} from {metric.show(before, 1)} in "
        f"epoch {best['epoch']} to {metric.show(after, 1)}: what gates and noisy weights cost outweighs what so few "
        "examples say for them; give more data, more epochs, a smaller penalty or a larger inclusion, or a prune_share "
        "below 1, which trains what is left"
    ]


def still_learning(state: TrainState) -> list[str]:
    """A line where the loss is still high, and was falling notably in the last quarter of the epochs."""
    measured, guess, scale = _measured(state), state.task.guess(), state.task.scale_of_guess()
    last = measured[-1] if measured else None
    if last is None or guess is None or len(measured) < LEAST_EPOCHS:
        return []
    if guess - last["validation_nll"] > (1 - HIGH) * scale:
        return []
    before = measured[len(measured) - 1 - len(measured) // 4]
    fall = before["validation_nll"] - last["validation_nll"]
    if fall <= STILL * scale:
        return []
    return [
        f"the network was still learning: validation NLL fell from {before['validation_nll']:.3g} to "
        f"{last['validation_nll']:.3g} in the last quarter of the epochs; give more epochs"
    ]


def _measured(state: TrainState) -> list[dict[str, Any]]:
    """The epochs that were validated."""
    wanted = ("validation_nll", "validation_score")
    return [record for record in state.history if all(record.get(name) is not None for name in wanted)]


def error_of(metric: Metric, score: float, examples: int) -> float:
    """By how much two scores on a split of so many examples may differ without meaning anything."""
    if metric.key != "accuracy":
        return NOTABLE * abs(score)
    return 2 * sqrt(2 * score * (1 - score) / max(examples, 1))


def cut_for_budget(state: TrainState) -> list[str]:
    """A line where gates that were open in the end were closed to meet the budget: how many, and of which groups."""
    reason = state.memory(Decision).reason
    if reason is None:
        return []
    cut = reason == int(Reason.CUT_FOR_BUDGET)
    if not bool(cut.any()):
        return []
    counts = {name: int(cut[place].sum()) for name, place in state.structure.initial_slices().items()}
    named = ", ".join(f"{name} {count}" for name, count in counts.items() if count)
    return [
        f"{int(cut.sum())} of {len(cut)} gates were open in the end and were closed to meet the budget ({named}): "
        "prices follow the budget closer in more epochs"
    ]


class Review:
    """After the run: whether it judged before it had learnt, or lost more than its prices or its budget explain.

    The objective of the last epoch is compared with that of the epoch whose loss on the validation split was best, both
    as N times the validation loss plus the price of what is open.

    Args:
        size: training examples N.
        validation: examples of the validation split.
        limits: of budgets.
    """

    def __init__(self, size: int, validation: int, limits: Limits | None) -> None:
        self.size, self.validation, self.limits = size, validation, limits

    def __call__(self, state: TrainState) -> Sequence[str]:
        """The lines."""
        return [*judged_early(state), *cut_for_budget(state), *missed_latency(state, self.limits), *self._lost(state)]

    def _lost(self, state: TrainState) -> list[str]:
        measured = [record for record in state.history if record["validation_nll"] is not None]
        if not measured or self._meets_budget(state):
            return []
        last, best = measured[-1], min(measured, key=lambda record: float(record["validation_nll"]))
        lost = self.size * (last["validation_nll"] - best["validation_nll"])
        saved = best["price"] - last["price"]
        metric = state.task.metric
        before, after = best["validation_score"], last["validation_score"]
        if before is None or after is None:
            return []
        worse = -metric.better(after, before)
        if lost <= max(saved, 0.0) or worse <= error_of(metric, before, self.validation):
            return []
        cure = "a lower price" if self.limits is None else "a larger budget"
        return [
            f"validation {metric.label} {'fell' if metric.higher_is_better else 'rose'} from "
            f"{metric.show(before, 1)} in epoch {best['epoch']} to {metric.show(after, 1)}: {lost:,.0f} nats of "
            f"log-likelihood were lost, and what was removed since saves {max(saved, 0.0):,.0f}; give more epochs, a "
            f"longer horizon, or {cure}"
        ]

    def _meets_budget(self, state: TrainState) -> bool:
        """Whether a budget that was used up explains what was lost."""
        return self.limits is not None and self.limits.share_now(state) >= UNUSED
