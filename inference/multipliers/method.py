"""What the relatives share as methods: one frame, into which each puts a law."""

from abc import abstractmethod
from functools import partial
from typing import Any

import torch
from torch.optim import Optimizer

from bayesprune.data import Data, steps_per_epoch
from bayesprune.devices import CPU, random_apart
from bayesprune.inference.guides import GaussianWeightGuide
from bayesprune.inference.multipliers.guide import GaussianMultiplierGuide, MultiplierGuide, multiplier_guide
from bayesprune.inference.multipliers.law import MultiplierLaw
from bayesprune.inference.multipliers.objective import MultiplierObjective
from bayesprune.inference.multipliers.options import QUIET, MultiplierOptions
from bayesprune.inference.multipliers.updates import Apply, RemoveQuiet, review
from bayesprune.inference.objective import GATES
from bayesprune.inference.phases import epochs_for, normal_of, split_epochs
from bayesprune.inference.variational import Parts, VariationalMethod, made_guide
from bayesprune.inference.weight_laws import DEVIATIONS, travel_rate
from bayesprune.models.gated import GatedModel
from bayesprune.models.priors.weights import GaussianSlab
from bayesprune.run.settings import RunSettings
from bayesprune.training import TrainState, adam
from bayesprune.training.fixed import FixedTraining

LEARNING_RATE = 2e-3
"""Of Adam for the network's parameters."""

LAWS = 2**30 + 7
"""Of the stream of random numbers that laws begin with."""

NEEDED_STEPS = 2_000
"""Steps in which the parameters of the laws settle on the bundled digits."""


class Relative(VariationalMethod):
    """A method that learns random multipliers of channels with the network, and removes channels by a rule of theirs.

    A subclass is a name, a class of options and a law. Weights are a point under a Gaussian prior (weight decay).
    """

    options: type[MultiplierOptions]

    @abstractmethod
    def law(self, state: TrainState, options: Any) -> MultiplierLaw:
        """The law of all multipliers of a network at the start."""

    def guide(self, model: GatedModel, state: TrainState, options: Any) -> MultiplierGuide:
        """The guide over multipliers and weights."""
        return MultiplierGuide(
            model, lambda _: self.law(state, options), input_gates=options.input_gates, draws=options.draws
        )

    def optimizers(self, state: TrainState, rate: float, options: Any) -> dict[str, Optimizer]:
        """Of what is learnt beside the network's parameters; `rate` is that of the law's."""
        return self._of_law(state, rate)

    def _of_law(self, state: TrainState, rate: float) -> dict[str, Optimizer]:
        """Of the law's parameters, where it has some that learn."""
        learnt = [parameter for parameter in multiplier_guide(state).law.parameters() if parameter.requires_grad]
        return {GATES: adam(rate)(learnt)} if learnt else {}

    def normal(self, settings: RunSettings) -> RunSettings:
        """See `Method.normal`."""
        return normal_of(self.options, settings, LEARNING_RATE)

    def parts(self, state: TrainState, data: Data, settings: RunSettings) -> Parts:
        """The law, the objective with its penalty, removals by its rule, and the compact network's training."""
        options, examples = self.options.of(settings.method, settings.options), len(data.train)
        validation = len(data.validation)
        epochs, fixed_epochs = split_epochs(settings, options.prune_share, "multipliers")
        steps = epochs * steps_per_epoch(data.train, settings.batch_size)
        slab = GaussianSlab(options.slab)
        rate = options.gate_learning_rate or travel_rate(steps)
        begin = (settings.seed * 1_000_003 + LAWS) % 2**32  # laws begin a little apart, by the seed of the run
        with random_apart(torch.device(CPU), begin):
            guide = made_guide(state, partial(self.guide, state=state, options=options), slab)
        assert isinstance(guide, MultiplierGuide)
        return Parts(
            guide, MultiplierObjective(examples, slab, round(options.warm_up * steps)),
            steps, settings.learning_rate or LEARNING_RATE, partial(self.optimizers, rate=rate, options=options),
            [RemoveQuiet(options.quiet_steps, options.shrink_every if options.removal == QUIET else 0)],
            Apply(state.structure.original_gates()),
            FixedTraining.of(
                settings, state.network, data.train, epochs=fixed_epochs, slab=options.slab,
                learning_rate=options.fixed_learning_rate, decay=options.fixed_decay, likelihood=state.likelihood,
            ),
            alive=guide.law.keep_above, ends_pruned=fixed_epochs == 0,
            notes=_few_steps(steps, data, settings, options.prune_share),
            review=partial(review, validation=validation),
        )  # fmt: skip


class GaussianRelative(Relative):
    """The same with Gaussian weights, drawn for each example in linear layers; what stays are their means."""

    def guide(self, model: GatedModel, state: TrainState, options: Any) -> MultiplierGuide:
        """The guide over multipliers and weights."""
        return GaussianMultiplierGuide(
            model, lambda _: self.law(state, options), input_gates=options.input_gates, draws=options.draws,
            deviation=options.deviation,
        )  # fmt: skip

    def optimizers(self, state: TrainState, rate: float, options: Any) -> dict[str, Optimizer]:
        """Of the law's parameters and of the logarithms of the weights' deviations."""
        guide = multiplier_guide(state)
        assert isinstance(guide, GaussianWeightGuide)
        own = adam(options.deviation_learning_rate or rate)(guide.log_deviation.values())
        return self._of_law(state, rate) | {DEVIATIONS: own}


def _few_steps(steps: int, data: Data, settings: RunSettings, prune_share: float) -> list[str]:
    """A line where the law has fewer steps than it needs."""
    if steps >= NEEDED_STEPS:
        return []
    epochs = epochs_for(NEEDED_STEPS, prune_share, data, settings)
    return [
        f"the multipliers have {steps:,} steps to settle and need about {NEEDED_STEPS:,}: until then few channels are "
        f"decided; give epochs={epochs}, or smaller batches"
    ]
