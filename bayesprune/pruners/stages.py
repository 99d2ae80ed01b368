"""The phases of a deterministic method: training before pruning, rounds of pruning, training at fixed structure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from bayesprune.data import Data, steps_per_epoch
from bayesprune.errors import SettingError
from bayesprune.evaluation.evaluate import predict
from bayesprune.pruners.options import DEFAULT_LEARNING_RATE, PruneOptions, TrainOptions
from bayesprune.run.settings import RunSettings
from bayesprune.training import NegativeLogLikelihood, Objective, Phase, Start, TrainState, cosine
from bayesprune.training.fixed import FixedTraining, usual_rate
from bayesprune.training.phase import MAKERS


@dataclass(frozen=True)
class Stages:
    """Makes phases that take as many steps as a run's epochs have.

    Attributes:
        settings: of the run, with its epochs filled in.
        options: of the method.
        state: at the start.
        data: of the run.
        usual_rate: learning rate where the run's settings name none.
    """

    settings: RunSettings
    options: TrainOptions
    state: TrainState
    data: Data
    usual_rate: ClassVar[float] = DEFAULT_LEARNING_RATE

    @property
    def epochs(self) -> int:
        """All of them."""
        assert self.settings.epochs is not None
        return self.settings.epochs

    @property
    def rate(self) -> float:
        """Learning rate before the structure is fixed."""
        given = self.settings.learning_rate
        return usual_rate(self.settings, self.usual_rate) if given is None else given

    def steps(self, epochs: int) -> int:
        """Optimizer steps of so many epochs."""
        return epochs * steps_per_epoch(self.data.train, self.settings.batch_size)

    def fixed(self, epochs: int) -> FixedTraining:
        """Training at fixed structure; with all of the epochs it is the run's first, and takes the run's rate."""
        options, rate = self.options, self.options.fixed_learning_rate
        if rate is None and epochs == self.epochs:
            rate = self.settings.learning_rate
        return FixedTraining.of(
            self.settings, self.state.network, self.data.train, epochs=epochs, slab=options.slab,
            learning_rate=rate, decay=options.fixed_decay, likelihood=self.state.likelihood,
        )  # fmt: skip

    def describe(self) -> Callable[[TrainState], dict[str, Any]] | None:
        """What each epoch's record says besides."""
        return None

    def dense(self) -> list[Phase]:
        """Nothing is removed: steps of the kind that other methods make before they prune."""
        rate = self.options.fixed_learning_rate or self.rate
        steps = self.steps(self.epochs)
        fixed = replace(self.fixed(self.epochs), learning_rate=rate, batch_size=self.settings.batch_size, steps=steps)
        return [fixed.phase()]

    def dense_objective(self) -> Objective:
        """What training of the dense network minimises."""
        return self.dense()[0].objective

    def around(
        self, prunes: Sequence[Start], *, at_start: bool = False, objective: Objective | None = None
    ) -> list[Phase]:
        """Training, rounds of pruning with some training between two of them, training at fixed structure.

        Args:
            prunes: the rounds.
            at_start: prune before any training.
            objective: of the training before pruning; cross-entropy under noise by default.

        Raises:
            SettingError: the rounds need more epochs than the run has.
        """
        options = self.options
        apart = self.epochs > 0 and isinstance(options, PruneOptions) and options.retrain > 0 and len(prunes) > 1
        rounds = list(prunes) if apart else [_all_of(prunes)]
        retrain = options.retrain if isinstance(options, PruneOptions) and apart else 0
        before = 0 if at_start else self._before()
        left = self.epochs - before - retrain * (len(rounds) - 1)
        if left < (1 if apart else 0):
            raise SettingError(
                f"{len(rounds)} rounds of pruning with {retrain} epochs between two of them leave none of the "
                f"{self.epochs} epochs ({before} before pruning) after the last: give "
                f"epochs={self.epochs + 1 - left} or more, fewer rounds, or retrain=0"
            )
        phases = [self.training("train", before, objective=objective)] if before else []
        phases += [
            self.training(f"round {number}", retrain, start=prune, ends=self._stalls())
            for number, prune in enumerate(rounds[:-1], 1)
        ]
        return [*phases, self.last(left, rounds[-1])]

    def last(self, epochs: int, start: Start) -> Phase:
        """The phase after the last pruning."""
        return self.fixed(epochs).phase(start)

    def training(self, name: str, epochs: int, *, objective: Objective | None = None, **given: Any) -> Phase:
        """A phase before the structure is fixed, at the usual rate and the prior's decay; `given` as phases take."""
        noisy = NegativeLogLikelihood(self.fixed(self.epochs).noise) if objective is None else objective
        make = MAKERS[self.settings.optimizer or "adam"]
        optimizer = make(self.rate, 1 / (len(self.data.train) * self.options.slab**2))
        return Phase(name, self.steps(epochs), noisy, optimizer, cosine, **given)

    def _before(self) -> int:
        """Epochs before pruning: at least one, unless the share is 0 or there are none."""
        share = self.options.prune_share
        return min(self.epochs, max(1, round(share * self.epochs))) if share > 0 else 0

    def _stalls(self) -> Callable[[TrainState], bool] | None:
        """When the training after a round ends before its time."""
        options = self.options
        return stalled if isinstance(options, PruneOptions) and options.until_validation else None


def stalled(state: TrainState) -> bool:
    """Whether the last epoch of this phase did not raise the validation score above that of the one before."""
    gain = last_gain(state)
    return gain is not None and gain <= 0


def last_gain(state: TrainState) -> float | None:
    """By how much this phase's last epoch was better on the validation split than the one before; None for none."""
    same = [one["validation_score"] for one in state.history if one["phase"] == state.history[-1]["phase"]]
    if len(same) < 2 or same[-1] is None or same[-2] is None:
        return None
    return state.task.metric.better(float(same[-1]), float(same[-2]))


def test_score(state: TrainState, data: Data) -> float:
    """The task's first metric on the test split; nothing is chosen by it. NaN where it is not defined."""
    found = predict(state.network, data.test, state.task, state.likelihood)[state.task.metric.key]
    return float("nan") if found is None else found


def _all_of(prunes: Sequence[Start]) -> Start:
    """All rounds one after the other, as one."""

    def prune(state: TrainState) -> None:
        for one in prunes:
            one(state)

    return prune
