"""Training as the study of sparse recurrent networks has it (arXiv 2107.12917 and its code).

Adam at a constant rate of 1e-3 without noise or decay, the norm of all gradients together clipped at 5. The dense
network trains for the run's epochs, and after each round of pruning it trains for `retrain` epochs. Test accuracy is
taken down after every epoch, and right after each round, before any training; nothing is chosen by it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from bayesprune.pruners.options import PruneOptions
from bayesprune.pruners.plain import PlainStages
from bayesprune.pruners.stages import test_score
from bayesprune.training import Memory, Objective, Phase, Start, TrainState, adam
from bayesprune.training.phase import MakeOptimizer

LEARNING_RATE, LARGEST_NORM = 1e-3, 5.0
"""Of Adam; of the gradients of a step."""


@dataclass
class AfterPruning(Memory):
    """What a round of pruning left.

    Attributes:
        score: on the test split, before any training; None where the last epoch's record has it already.
    """

    score: float | None = None


@dataclass(frozen=True)
class ClippedStages(PlainStages):
    """Phases of such training."""

    usual_rate = LEARNING_RATE

    def dense(self) -> list[Phase]:
        """The dense network's training: all epochs."""
        return [self.training("train", self.epochs)]

    def around(
        self, prunes: Sequence[Start], *, at_start: bool = False, objective: Objective | None = None
    ) -> list[Phase]:
        """The dense network's training, unless `prune_share` is 0, then `retrain` epochs after each round."""
        return super().around([partial(self._prune, one) for one in prunes], at_start=at_start, objective=objective)

    def optimizer(self) -> MakeOptimizer:
        """Of every phase."""
        return adam(self.rate, self.options.fixed_decay or 0.0, clip=LARGEST_NORM)

    def describe(self) -> Callable[[TrainState], dict[str, Any]]:
        """What plain training says, and in the first record after a round the test accuracy before any training."""
        plain = super().describe()

        def entries(state: TrainState) -> dict[str, Any]:
            memory, found = state.memory(AfterPruning), plain(state)
            if memory.score is not None:
                found[f"pruned_{state.task.metric.key}"], memory.score = memory.score, None
            return found

        return entries

    def _prune(self, prune: Start, state: TrainState) -> None:
        """A round, and a look at what it left."""
        prune(state)
        if isinstance(self.options, PruneOptions) and self.options.retrain > 0:
            with torch.no_grad():
                state.memory(AfterPruning).score = test_score(state, self.data)
