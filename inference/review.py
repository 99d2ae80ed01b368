"""What a user should know of a run, before it and after it."""

from collections.abc import Sequence
from math import ceil, sqrt
from typing import Any

from bayesprune.data import Split, steps_per_epoch
from bayesprune.inference.budgeting import Limit
from bayesprune.run.settings import RunSettings
from bayesprune.training import TrainState

NEEDED_STEPS = 600
"""Steps of pruning in which most gates decide themselves."""

UNUSED = 0.5
"""A budget explains a loss where at least this share of it is used."""


def few_steps(prune_steps: int, train: Split, settings: RunSettings) -> list[str]:
    """A line where gates have fewer steps than they need."""
    if prune_steps >= NEEDED_STEPS:
        return []
    epochs = ceil(2 * NEEDED_STEPS / steps_per_epoch(train, settings.batch_size))
    return [
        f"the gates have {prune_steps:,} steps to decide themselves and need about {NEEDED_STEPS}: what is undecided "
        f"then is decided by what closing each gate does to the loss; give epochs={epochs} for a smaller network"
    ]


class Review:
    """After the run: whether the network lost more than its prices or its budget explain.

    The objective of the last epoch is compared with that of the epoch whose loss on the validation split was best, both
    as N times the validation loss plus the price of what is open.

    Args:
        size: training examples N.
        validation: examples of the validation split.
        limit: of a budget.
    """

    def __init__(self, size: int, validation: int, limit: Limit | None) -> None:
        self.size, self.validation, self.limit = size, validation, limit

    def __call__(self, state: TrainState) -> Sequence[str]:
        """The lines."""
        measured = [record for record in state.history if record["validation_nll"] is not None]
        if not measured or self._meets_budget(state):
            return []
        last, best = measured[-1], min(measured, key=lambda record: float(record["validation_nll"]))
        lost = self.size * (last["validation_nll"] - best["validation_nll"])
        saved = best["price"] - last["price"]
        points = 100 * (best["validation_accuracy"] - last["validation_accuracy"])
        if lost <= max(saved, 0.0) or points <= self._error(best):
            return []
        cure = "a lower price" if self.limit is None else "a larger budget"
        return [
            f"validation accuracy fell from {100 * best['validation_accuracy']:.1f} % in epoch {best['epoch']} to "
            f"{100 * last['validation_accuracy']:.1f} %: {lost:,.0f} nats of log-likelihood were lost, and what was "
            f"removed since saves {max(saved, 0.0):,.0f}; give more epochs, a longer horizon, or {cure}"
        ]

    def _meets_budget(self, state: TrainState) -> bool:
        """Whether a budget that was used up explains what was lost."""
        if self.limit is None:
            return False
        budget, allowed = self.limit
        return budget.spent(state.network_macs(), state.params()) >= UNUSED * allowed

    def _error(self, record: dict[str, Any]) -> float:
        """Points that accuracies on the validation split may differ by without meaning anything."""
        accuracy = float(record["validation_accuracy"])
        return 200 * sqrt(2 * accuracy * (1 - accuracy) / max(self.validation, 1))
