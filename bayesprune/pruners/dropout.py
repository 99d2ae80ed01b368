"""Monte Carlo dropout: one dense network, trained and asked while channels are closed at random."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from bayesprune.batches import count, repeated
from bayesprune.data import Data
from bayesprune.errors import NetworkError
from bayesprune.pruners.options import TrainOptions
from bayesprune.pruners.reading import normal_of, options_of
from bayesprune.pruners.trainings import stages_of
from bayesprune.run.draw_average import DrawAverage
from bayesprune.run.method import Plan
from bayesprune.run.settings import RunSettings, check_integer, check_number
from bayesprune.structure import Gating, Structure
from bayesprune.training import NegativeLogLikelihood, Phase, TrainState
from bayesprune.training.draws import draw_open, draw_uniform
from bayesprune.training.heads import Heads
from bayesprune.training.objectives import twice

MOST = 0.99
"""Of the rate: what is open is multiplied by 100 then."""


@dataclass(frozen=True)
class DropoutOptions(TrainOptions):
    """Settings of Monte Carlo dropout.

    Attributes:
        rate: chance that a hidden channel is closed, above 0 and at most 0.99.
        draws: passes with dropout whose predictions are averaged.
    """

    rate: float = 0.2
    draws: int = 50

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("rate", self.rate, 0.0, MOST)
        check_integer("draws", self.draws, 1)


class DropoutLoss:
    """Mean negative log-likelihood while channels are closed at random, another draw for every example.

    What is open is multiplied by 1 / (1 - rate). Noise and consistency are those of `NegativeLogLikelihood`: with
    consistency every example is seen under two draws.

    Args:
        chances: that each gate [J] is open; 1 for what is never closed.
        noise, consistency: see `NegativeLogLikelihood`.
    """

    needs_labels = True

    def __init__(self, chances: Tensor, noise: float = 0.0, consistency: float = 0.0) -> None:
        self.chances, self.noise, self.consistency = chances, noise, consistency
        self._gating: Gating | None = None

    def attach(self, state: TrainState) -> None:
        """Put the hooks on the network."""
        self.detach()
        self.chances = self.chances.to(state.place.device)
        self._gating = Gating(state.network, state.structure)

    def detach(self) -> None:
        """Take them off."""
        if self._gating is not None:
            self._gating.remove()
            self._gating = None

    def loss(self, state: TrainState, inputs: Any, labels: Any) -> Tensor:
        """Mean loss of outputs [B, ...] and targets, and what two predictions differ by."""
        assert labels is not None and self._gating is not None  # needs_labels, attach
        per_example = state.structure.per_example
        examples = count(inputs) if per_example else 1
        noise = draw_uniform(examples, len(self.chances), self.noise, state.place.device) if self.noise > 0 else 0.0
        one_set = self._dropped(examples) * (1 + noise)
        if self.consistency == 0:
            with self._gating.applied(one_set if per_example else one_set[0]):
                return state.loss(state.outputs(inputs), labels)
        both = [one_set, self._dropped(examples) * (1 - noise)]
        gates = [torch.cat(both)] if per_example else [each[0] for each in both]
        outputs = twice(self._gating, gates, state, inputs)
        one, other = outputs.chunk(2)
        difference = state.likelihood.divergence(one, other).mean()
        loss: Tensor = state.loss(outputs, repeated(labels, 2)) + 0.5 * self.consistency * difference
        return loss

    def kind(self, state: TrainState) -> str:
        """All steps do the same."""
        return "step"

    def _dropped(self, examples: int) -> Tensor:
        """What gates are multiplied by [B, J]: 0, or 1 over the chance of being open."""
        return draw_open(self.chances, examples) / self.chances


class MonteCarloDropout:
    """Dense training in which hidden channels are closed at random, and a prediction that averages such passes.

    What consumers read is multiplied by 0, or by 1 / (1 - rate). All consumers of a channel see the same draw; input
    features, and layers that are kept whole (`keep`), are never closed. The draws of the prediction are made once, from
    the run's seed, and stay with the network.

    Source: Gal and Ghahramani (2016), "Dropout as a Bayesian Approximation".
    """

    name, summary = "mc-dropout", "Monte Carlo dropout: channels closed at random in training and in prediction"
    takes: frozenset[str] = frozenset()
    needs: frozenset[str] = frozenset()
    options = DropoutOptions

    def normal(self, settings: RunSettings) -> RunSettings:
        """See `Method.normal`."""
        return normal_of(self.options, settings, at_start=True, dense=True)

    def plan(self, state: TrainState, data: Data, settings: RunSettings) -> Plan:
        """The phases of `dense`, under dropout.

        Raises:
            NetworkError: no channel of the network can be closed.
        """
        own = options_of(DropoutOptions, settings, at_start=True)
        chances = open_chances(state.need_structure(), own.rate)
        if not bool((chances < 1).any()):
            raise NetworkError(
                "mc-dropout closes hidden channels at random, and this network has none that can be closed: take "
                "another network, or leave out keep"
            )
        stages = stages_of(settings, own, state, data)
        phases = [_with_dropout(phase, chances) for phase in stages.dense()]
        finish = _averaging(chances, own.draws, settings)
        return Plan(phases, stages.describe(), dense=stages.dense_objective(), finish=finish)


def open_chances(structure: Structure, rate: float) -> Tensor:
    """Chance [J] that each gate is open: 1 - rate for hidden channels, 1 for inputs and flattened features."""
    chances = torch.ones(structure.gate_count)
    for group, place in zip(structure.groups, structure.slices().values(), strict=True):
        if group.kind == "channels":
            chances[place] = 1 - rate
    return chances


def _with_dropout(phase: Phase, chances: Tensor) -> Phase:
    """A phase of dense training, under dropout."""
    usual = phase.objective
    assert isinstance(usual, NegativeLogLikelihood)  # of all kinds of dense training
    return replace(phase, objective=DropoutLoss(chances, usual.noise, usual.consistency))


def _averaging(chances: Tensor, draws: int, settings: RunSettings) -> Callable[[TrainState], None]:
    """Make the network one that averages so many draws."""

    def average(state: TrainState) -> None:
        generator = torch.Generator().manual_seed((settings.seed * 1_000_003 + 32_452_843) % 2**32)
        opened = torch.rand(draws, len(chances), generator=generator) < chances.cpu()
        gates = state.place.bring(opened / chances.cpu())
        Heads.remove(state.network)
        masks = {f"network.{name}": mask for name, mask in state.masks.items()}
        network = DrawAverage(state.network, state.structure, gates, state.task, settings.output)
        state.become(network, masks)

    return average
