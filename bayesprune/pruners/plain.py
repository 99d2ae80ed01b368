"""Plain training, as the pruning experiments of arXiv 2107.12917 have it.

Stochastic gradient descent without noise, decay or momentum. The dense network trains until validation accuracy no
longer rises at the lowest learning rate; after each round of pruning it trains for `retrain` epochs at the first one.
What was trained before stands for the dense network where a run starts from weights of its own and `prune_share` is 0.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from bayesprune.errors import SettingError
from bayesprune.pruners.options import PruneOptions
from bayesprune.pruners.stages import Stages, last_gain, stalled, test_score
from bayesprune.run.settings import check_number
from bayesprune.training import NegativeLogLikelihood, Objective, Phase, Start, TrainState, constant
from bayesprune.training.phase import MakeOptimizer

LEARNING_RATE, LOWEST = 0.01, 1e-4
"""Of gradient descent, at the start and at the end of the dense network's training."""

LATER_MOMENTUM = 0.5
"""Once validation accuracy has stopped rising for the first time."""

_RISE = 1e-7
"""Validation accuracy (a share) that rises by less stands still."""


def gradient_descent(learning_rate: float, weight_decay: float = 0.0) -> MakeOptimizer:
    """Stochastic gradient descent."""
    check_number("learning_rate", learning_rate, 0.0)

    def make(parameters: Iterable[nn.Parameter]) -> Optimizer:
        return torch.optim.SGD(parameters, learning_rate, weight_decay=weight_decay)

    return make


@dataclass(frozen=True)
class PlainStages(Stages):
    """Phases of plain training; the run's epochs are the most that the dense network may take."""

    usual_rate = LEARNING_RATE

    def dense(self) -> list[Phase]:
        """The dense network's training."""
        return [self.training("train", self.epochs, ends=plateau)]

    def around(
        self, prunes: Sequence[Start], *, at_start: bool = False, objective: Objective | None = None
    ) -> list[Phase]:
        """The dense network's training, then as many trainings of `retrain` epochs as there are rounds."""
        if objective is not None:
            raise SettingError("this method trains with an objective of its own: leave out training='plain'")
        options = self.options
        assert isinstance(options, PruneOptions)
        base = [] if at_start or options.prune_share == 0 else self.dense()
        ends = stalled if options.until_validation else None
        rounds = [
            self.training(f"round {number}", options.retrain if self.epochs else 0, start=prune, ends=ends)
            for number, prune in enumerate(prunes, 1)
        ]
        return [*base, *rounds]

    def last(self, epochs: int, start: Start) -> Phase:
        """Training like any other."""
        return self.training("fixed", epochs, start=start)

    def training(self, name: str, epochs: int, *, objective: Objective | None = None, **given: Any) -> Phase:
        """So many epochs at a constant learning rate."""
        plain = NegativeLogLikelihood(self.settings.noise or 0.0) if objective is None else objective
        return Phase(name, self.steps(epochs), plain, self.optimizer(), constant, **given)

    def optimizer(self) -> MakeOptimizer:
        """Of every phase."""
        return gradient_descent(self.rate, self.options.fixed_decay or 0.0)

    def describe(self) -> Callable[[TrainState], dict[str, Any]]:
        """Takes down the test accuracy after every epoch, to show how it falls with size; nothing is chosen by it."""

        def entries(state: TrainState) -> dict[str, Any]:
            left = state.weights() - state.masked_weights()
            return {f"test_{state.task.metric.key}": test_score(state, self.data), "weights_left": left}

        return entries


def plateau(state: TrainState) -> bool:
    """Where validation accuracy stands still, a tenth of the learning rate and some momentum; True at the lowest."""
    gain = last_gain(state)
    if gain is None or gain >= _RISE:
        return False
    group = state.optimizers["network"].param_groups[0]
    if group["initial_lr"] <= LOWEST * (1 + 1e-6):
        return True
    group["initial_lr"], group["momentum"] = group["initial_lr"] * 0.1, LATER_MOMENTUM
    return False
