"""The deterministic methods' own settings."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from bayesprune.errors import SettingError, UnknownNameError
from bayesprune.pruners.allocation import allocation
from bayesprune.pruners.controls import CONTROLS
from bayesprune.pruners.problem import WeightScore
from bayesprune.pruners.saliency import hutchinson_diagonal, obd
from bayesprune.pruners.schedule import SCHEDULES, Rounds, rounds_of
from bayesprune.run.settings import LEAST_SLAB, Options, check_integer, check_number, check_type
from bayesprune.structure.matrices import CHOICES
from bayesprune.training.initial import INITIAL

DEFAULT_LEARNING_RATE, DEFAULT_PRUNE_SHARE, DEFAULT_SLAB = 2e-3, 0.25, 0.5
"""Of all of them: the Bayesian recipe's learning rate, its share of epochs before the structure is fixed,
and its weight decay 1 / (N slab^2)."""


@dataclass(frozen=True)
class TrainOptions(Options):
    """Settings of training.

    Attributes:
        prune_share: share of the epochs before pruning, rounded to whole epochs, at least one.
        fixed_learning_rate, fixed_decay: learning rate and weight decay of the phase after pruning; None stands for
            the Bayesian method's default.
        slab: standard deviation of the Gaussian prior that the weight decay comes from.
        training: "recipe" is that of the Bayesian method; "plain" is stochastic gradient descent without noise and
            decay, until validation no longer improves (`bayesprune.pruners.plain`); "adam" is Adam at a constant rate
            (`bayesprune.pruners.constant`); "clipped" is Adam at a constant rate with clipped gradients, for so many
            epochs as are given (`bayesprune.pruners.clipped`).
        clip: of training="adam", the longest gradient of all weights together (Euclidean norm); longer ones are scaled
            down to it. None for no limit.
        curve: of training="adam", steps from one look at the test accuracy to the next; 0 for none.
    """

    prune_share: float = DEFAULT_PRUNE_SHARE
    fixed_learning_rate: float | None = None
    fixed_decay: float | None = None
    slab: float = DEFAULT_SLAB
    training: str = "recipe"
    clip: float | None = None
    curve: int = 100

    def __post_init__(self) -> None:
        if self.training not in ("recipe", "plain", "adam", "clipped"):
            raise SettingError(f"training must be 'recipe', 'plain', 'adam' or 'clipped', not {self.training!r}")
        check_number("prune_share", self.prune_share, 0.0, 1.0, low_allowed=True)
        check_number("fixed_learning_rate", self.fixed_learning_rate, 0.0)
        check_number("fixed_decay", self.fixed_decay, 0.0, low_allowed=True)
        check_number("slab", self.slab, LEAST_SLAB, low_allowed=True)
        check_number("clip", self.clip, 0.0)
        check_integer("curve", self.curve, 0)


@dataclass(frozen=True)
class PruneOptions(TrainOptions):
    """Settings of the axes of pruning.

    Attributes:
        allocation: how what is kept is spread over the layers: a name, or a share for every layer.
        schedule: when how much is removed, by name.
        rounds, rate: of the schedule; None stands for its default.
        retrain: epochs of training between two rounds.
        until_validation: end such training as soon as an epoch no longer raises the validation accuracy.
        least: weights (or channels) that every layer keeps at least; with 0 a layer that would lose all its weights
            is an error.
        round_to: of channels, every group keeps a multiple of this number: at least one, at most its size, and never
            more than the budget allows.
    """

    allocation: str | Mapping[str, float] = "class-blind"
    schedule: str = "one-shot"
    rounds: int | None = None
    rate: float | None = None
    retrain: int = 1
    until_validation: bool = False
    least: int = 0
    round_to: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer("round_to", self.round_to, 1)
        check_type("allocation", self.allocation, str | Mapping, "a name, or a table of shares by layer")
        allocation(self.allocation)
        check_type("schedule", self.schedule, str, "the name of a schedule")
        if self.schedule not in SCHEDULES:
            raise UnknownNameError("schedule", self.schedule, SCHEDULES)
        check_integer("rounds", 1 if self.rounds is None else self.rounds, 1)
        check_number("rate", self.rate, 0.0)
        check_integer("retrain", self.retrain, 0)
        check_type("until_validation", self.until_validation, bool, "true or false")
        check_integer("least", self.least, 0)

    def check_no_rounding(self) -> None:
        """Refuse to round counts where single weights are masked.

        Raises:
            SettingError: `round_to` is asked for.
        """
        if self.round_to != 1:
            raise SettingError(f"round_to={self.round_to} is for channels, and single weights are masked: leave it out")

    def check_by_layer(self, size: str, given: Mapping[str, Any]) -> None:
        """Refuse an allocation, and a least number, where every layer has a share of its own.

        Args:
            size: "budget" or "density".
            given: the run's options.

        Raises:
            SettingError: there is one.
        """
        if "least" in given and self.least:
            raise SettingError(
                f"{size} gives every layer its share, so least={self.least} does nothing here: leave one of them out"
            )
        if "allocation" in given:
            raise SettingError(
                f"{size} gives every layer its share, so allocation={self.allocation!r} has nothing to spread: leave "
                "one of them out"
            )

    def rounds_between(self, total: int, goal: int) -> Rounds:
        """The rounds from all there is at the start to the goal."""
        return rounds_of(self.schedule, total, goal, rounds=self.rounds, rate=self.rate)


@dataclass(frozen=True)
class SlimmingOptions(PruneOptions):
    """Settings of network slimming.

    Attributes:
        sparsity: strength of the L1 penalty on the scales; the paper's is 1e-4 for VGG.
    """

    sparsity: float = 1e-4

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("sparsity", self.sparsity, 0.0, low_allowed=True)


@dataclass(frozen=True)
class WeightOptions(PruneOptions):
    """Settings of methods that prune single weights.

    Attributes:
        rewind: step of training whose weights every round goes back to, 0 for the initial ones; None for none.
        control: what is done to the masks or weights after pruning, to learn what the method's choice was good for:
            "shuffle" moves every layer's mask entries about, "shuffle-inputs" within every unit, "fresh" draws all
            weights anew.
        initial: weights at the start: the network's "own", or "glorot" for ones drawn anew.
        trim: remove units, channels and inputs that nothing reads any more once the masks are final.
        matrices: which weights the size is about, and are removed: "all", or of recurrent layers alone "recurrent",
            "input-to-hidden" or "hidden-to-hidden"; all others stay.
    """

    rewind: int | None = None
    control: str | None = None
    initial: str = "own"
    trim: bool = False
    matrices: str = "all"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_no_rounding()
        check_type("matrices", self.matrices, str, "a choice by name")
        if self.matrices not in CHOICES:
            raise UnknownNameError("choice of matrices", self.matrices, CHOICES)
        check_integer("rewind", 0 if self.rewind is None else self.rewind, 0)
        check_type("trim", self.trim, bool, "true or false")
        if self.control is not None and self.control not in CONTROLS:
            raise UnknownNameError("control", str(self.control), CONTROLS)
        if self.initial not in INITIAL:
            raise UnknownNameError("initial weights", str(self.initial), INITIAL)
        if self.control is not None and self.rewind is not None:
            raise SettingError(
                f"control={self.control!r} is for a choice before training, rewind for one after: give one of them"
            )

    def scored(self, score: WeightScore) -> WeightScore:
        """The method's score, as these settings want it."""
        return score


@dataclass(frozen=True)
class DamageOptions(WeightOptions):
    """Settings of optimal brain damage.

    Attributes:
        draws: random vectors of Hutchinson's estimate of the Hessian's diagonal; None for the exact one.
    """

    draws: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer("draws", 1 if self.draws is None else self.draws, 1)

    def scored(self, score: WeightScore) -> WeightScore:
        """With the diagonal asked for."""
        if self.draws is None:
            return score
        return partial(obd, diagonal=partial(hutchinson_diagonal, draws=self.draws))
