"""The deterministic baselines as methods: they share loop, data and evaluation with the Bayesian ones."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from bayesprune.budget import Budget
from bayesprune.data import Data, steps_per_epoch
from bayesprune.errors import SettingError, UnknownNameError
from bayesprune.fixed import FixedTraining
from bayesprune.method import Plan
from bayesprune.pruners.masks import Distribution, class_blind, class_uniform, kept_count
from bayesprune.pruners.scores import (
    WeightScore,
    l1_units,
    magnitude,
    random_scores,
    random_units,
    relative_magnitude,
)
from bayesprune.pruners.units import open_within
from bayesprune.settings import RunSettings, check_number
from bayesprune.structure import Structure
from bayesprune.training import CrossEntropy, Phase, TrainState, adam, cosine

UnitScore = Callable[[nn.Module, Structure], Tensor]
Prune = Callable[[TrainState], None]

DEFAULT_LEARNING_RATE, DEFAULT_PRUNE_SHARE, DEFAULT_SLAB = 2e-3, 0.25, 0.5
"""Of all baselines: the Bayesian recipe's learning rate, its share of epochs before the structure is fixed,
and its weight decay 1 / (N slab^2)."""


@dataclass(frozen=True)
class TrainOptions:
    """Settings of the baselines' training.

    Attributes:
        prune_share: share of the epochs before pruning, rounded to whole epochs, at least one.
        fixed_learning_rate, fixed_decay: learning rate and weight decay of the phase after pruning; None stands for
            the Bayesian method's default.
        slab: standard deviation of the Gaussian prior that the weight decay comes from.
    """

    prune_share: float = DEFAULT_PRUNE_SHARE
    fixed_learning_rate: float | None = None
    fixed_decay: float | None = None
    slab: float = DEFAULT_SLAB

    def __post_init__(self) -> None:
        check_number("prune_share", self.prune_share, 0.0, 1.0, low_allowed=True)
        check_number("fixed_learning_rate", self.fixed_learning_rate, 0.0)
        check_number("fixed_decay", self.fixed_decay, 0.0, low_allowed=True)
        check_number("slab", self.slab, 0.0)

    @classmethod
    def of(cls, method: str, options: Any) -> "TrainOptions":
        """Read a run's options.

        Raises:
            SettingError: there is no such option, or its value is not allowed.
        """
        for name in options:
            if name not in cls.__dataclass_fields__:
                raise UnknownNameError(f"option of {method}", name, cls.__dataclass_fields__)
        return cls(**options)


class Dense:
    """Plain training of the whole network."""

    name, summary = "dense", "plain training, nothing is removed"
    takes: frozenset[str] = frozenset()
    needs: frozenset[str] = frozenset()

    def plan(self, state: TrainState, data: Data, settings: RunSettings) -> Plan:
        """One phase."""
        options = replace(TrainOptions.of(self.name, settings.options), prune_share=0.0)
        return Plan(_phases(state, data, settings, options, None))


class WeightPruner:
    """Train, keep the weights with the highest scores, train on with the others at zero.

    Args:
        name: in the table of methods.
        summary: one line.
        score: of the weights.
        distribution: of the density over the layers.
        at_start: prune before any training.
    """

    takes = frozenset({"density"})
    needs = takes

    def __init__(
        self, name: str, summary: str, score: WeightScore, distribution: Distribution, at_start: bool = False
    ) -> None:
        self.name, self.summary, self._at_start = name, summary, at_start
        self._score, self._distribution = score, distribution

    def plan(self, state: TrainState, data: Data, settings: RunSettings) -> Plan:
        """Dense phase, masks, masked phase."""
        options = TrainOptions.of(self.name, settings.options)
        density = settings.density
        assert density is not None
        kept_count(density, state.initial_weights)

        def prune(state: TrainState) -> None:
            state.masks = self._distribution(self._score(state.network), density)
            state.apply_masks()

        share = replace(options, prune_share=0.0) if self._at_start else options
        return Plan(_phases(state, data, settings, share, prune))


class UnitPruner:
    """Train, remove the channels with the lowest scores until the budget is met, train on.

    Args:
        name: in the table of methods.
        summary: one line.
        score: of the channels.
        at_start: prune before any training.
    """

    takes = frozenset({"budget"})
    needs = takes

    def __init__(self, name: str, summary: str, score: UnitScore, at_start: bool = False) -> None:
        self.name, self.summary, self._score, self._at_start = name, summary, score, at_start

    def plan(self, state: TrainState, data: Data, settings: RunSettings) -> Plan:
        """Dense phase, compaction, phase at fixed structure."""
        options = TrainOptions.of(self.name, settings.options)
        assert settings.budget is not None
        budget = Budget.parse(settings.budget)
        open_within(state, torch.ones(state.structure.gate_count), budget)

        def prune(state: TrainState) -> None:
            state.shrink(open_within(state, self._score(state.network, state.structure), budget))

        share = replace(options, prune_share=0.0) if self._at_start else options
        return Plan(_phases(state, data, settings, share, prune))


class RandomPruner:
    """Random weights (with a density) or channels (with a budget) at the start: the floor of comparisons."""

    name, summary = "random", "random weights (density) or channels (budget), removed before training"
    takes = frozenset({"density", "budget"})
    needs = takes

    def plan(self, state: TrainState, data: Data, settings: RunSettings) -> Plan:
        """Prune, then train."""
        if settings.density is not None and settings.budget is not None:
            raise SettingError("random takes density=... or budget=..., not both")
        if settings.density is not None:
            pruner = WeightPruner(self.name, self.summary, random_scores, class_blind, at_start=True)
            return pruner.plan(state, data, settings)
        return UnitPruner(self.name, self.summary, random_units, at_start=True).plan(state, data, settings)


def baselines() -> list[Any]:
    """The deterministic methods of the table."""
    return [
        Dense(),
        RandomPruner(),
        WeightPruner("magnitude", "largest weights, one threshold over all layers", magnitude, class_blind),
        WeightPruner("class-uniform", "largest weights, the same density in each layer", magnitude, class_uniform),
        WeightPruner(
            "class-distributed",
            "largest weights relative to their layer's deviation",
            relative_magnitude,
            class_blind,
        ),
        UnitPruner("l1-units", "channels with the largest L1 norm", l1_units),
    ]


def _phases(
    state: TrainState, data: Data, settings: RunSettings, options: TrainOptions, prune: Prune | None
) -> list[Phase]:
    """Training before and after pruning, in as many steps as the epochs have."""
    assert settings.epochs is not None
    epoch_steps = steps_per_epoch(data.train, settings.batch_size)
    before = 0
    if prune is not None and options.prune_share > 0:
        before = max(1, round(options.prune_share * settings.epochs))
    rate = DEFAULT_LEARNING_RATE if settings.learning_rate is None else settings.learning_rate
    fixed = FixedTraining.of(
        settings, state.network, data.train, epochs=settings.epochs - before, slab=options.slab,
        learning_rate=options.fixed_learning_rate, decay=options.fixed_decay,
    )  # fmt: skip
    phases = []
    if before:
        noisy, optimizer = CrossEntropy(fixed.noise), adam(rate, 1 / (len(data.train) * options.slab**2))
        phases.append(Phase("train", before * epoch_steps, noisy, optimizer, cosine))
    if prune is None:  # nothing was removed: steps of the first phase's kind
        chosen = options.fixed_learning_rate or rate
        fixed = replace(
            fixed, learning_rate=chosen, batch_size=settings.batch_size, steps=settings.epochs * epoch_steps
        )
    return [*phases, fixed.phase(prune)]
