"""SS-IG: spike-and-slab nodes, learnt with the weights and kept by the median-probability rule."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor
from torch.optim import Optimizer

from bayesprune.data import Data, steps_per_epoch
from bayesprune.inference.deciding import settle
from bayesprune.inference.differences import Choice
from bayesprune.inference.elbo_objective import ElboObjective
from bayesprune.inference.objective import GATES, guide_of
from bayesprune.inference.phases import epochs_for, normal_of, split_epochs
from bayesprune.inference.relaxed import LogitGateGuide, RelaxedGates
from bayesprune.inference.review import fell, judged_early
from bayesprune.inference.spike_slab.inclusion import prior_inclusion
from bayesprune.inference.spike_slab.options import (
    LEARNING_RATE,
    QUIET,
    SMALL_DEVIATION,
    USUAL_DEVIATION,
    SpikeSlabOptions,
)
from bayesprune.inference.updates import of_gates, remove
from bayesprune.inference.user_parts import asked
from bayesprune.inference.variational import Parts, VariationalMethod, made_guide
from bayesprune.inference.warm_up import make_warm_up
from bayesprune.inference.weight_laws import GaussianWeights, travel_rate
from bayesprune.models.priors.gates import FixedGatePrior
from bayesprune.models.priors.weights import GaussianSlab
from bayesprune.run.settings import RunSettings
from bayesprune.training import Memory, TrainState, adam
from bayesprune.training.fixed import FixedTraining
from bayesprune.training.network_kinds import network_kind

NEEDED_STEPS = 3_000
"""Steps in which the posterior settles on the bundled digits; the published run on MNIST takes 70,800."""


class SpikeSlab(VariationalMethod):
    """SS-IG (Jantre, Bhattacharya, Maiti, arXiv 2108.11000).

        z_i ~ Bernoulli(lambda_l),  w_i | z_i ~ z_i N(0, slab^2) + (1 - z_i) delta_0  for each node i (bias included),
        guide: z_i ~ Bernoulli(g_i),  w_i | z_i ~ z_i N(mean, deviation^2) + (1 - z_i) delta_0.

    The divergence is closed, the likelihood's gradient goes through relaxed gates; one set of gates and weights a
    mini-batch. The output layer has no spike. In the end nodes with g > 1/2 stay, with the means of their weights.
    """

    name = "spike-slab"
    summary = "spike-and-slab nodes (SS-IG): Gaussian weights, nodes kept by their posterior probability"
    options: type[SpikeSlabOptions] = SpikeSlabOptions

    def normal(self, settings: RunSettings) -> RunSettings:
        """See `Method.normal`."""
        return normal_of(self.options, settings, LEARNING_RATE)

    def parts(self, state: TrainState, data: Data, settings: RunSettings) -> Parts:
        """Fixed prior, gated Gaussian weights, relaxed gates, and the median-probability rule."""
        options, examples = self.options.of(settings.method, settings.options), len(data.train)
        validation = len(data.validation)
        epochs, fixed_epochs = split_epochs(settings, options.prune_share)
        steps = epochs * steps_per_epoch(data.train, settings.batch_size)
        slab = GaussianSlab(options.slab)
        rate = options.deviation_learning_rate or travel_rate(steps)
        means_first, deviation = beginning(state, options)
        law = GaussianWeights(deviation, rate, kind="prior_when_closed")
        gate_rate = options.gate_learning_rate or travel_rate(steps)
        inclusion = prior_inclusion(state, examples, options.inclusion, options.input_gates)
        make = partial(
            LogitGateGuide, start=options.start, input_gates=options.input_gates, deviation=deviation,
            kind=law.kind,
        )  # fmt: skip

        def optimizers(state: TrainState) -> dict[str, Optimizer]:
            return {GATES: adam(gate_rate)([logit_guide(state).logit])} | law.optimizers(state)

        return Parts(
            made_guide(state, make, slab),
            ElboObjective(
                lambda structure: FixedGatePrior(inclusion[structure.original_gates()]), examples, slab,
                RelaxedGates(options.temperature),
                make_warm_up(steps, gates_wait=True) if means_first else None,
            ),
            steps, settings.learning_rate or LEARNING_RATE, optimizers,
            [Quiet(options)],
            MedianProbability(options.closed_below, state.structure.original_gates()),
            FixedTraining.of(
                settings, state.network, data.train, epochs=fixed_epochs, slab=options.slab,
                learning_rate=options.fixed_learning_rate, decay=options.fixed_decay, likelihood=state.likelihood,
            ),
            alive=0.5, ends_pruned=fixed_epochs == 0, waits=options.means_first is not False,
            notes=few_steps(steps, data, settings, options.prune_share),
            review=partial(review, validation=validation),
        )  # fmt: skip


def beginning(state: TrainState, options: SpikeSlabOptions) -> tuple[bool, float]:
    """Whether the means learn alone at first, and the deviation of every weight at the start."""
    means_first = options.means_first
    if means_first is None:
        means_first = network_kind(state.network) == "convolutional"
    return means_first, options.deviation or (SMALL_DEVIATION if means_first else USUAL_DEVIATION)


@dataclass(frozen=True)
class Quiet:
    """After every step: hold the logits, count how long gates have been closed, and remove those that have for long.

    A useless node's g falls to the prior's probability and stays there. At g < 0.02 a node is drawn open in one step of
    fifty, and in between its relaxed gradient is small, (g / (1 - g))^2 / 0.5 = 8e-4 in the median: in 500 steps below
    that it was tried about ten times, and the data did not want it. On mnist5k no node that was open in the end had
    been below 0.17 after any epoch, on MNIST none below 0.06. Where a group has fewer than fifty nodes the prior's
    probability is larger: they wait for the end.

    Attributes:
        options: of the run.
    """

    options: SpikeSlabOptions

    @torch.no_grad()
    def __call__(self, state: TrainState) -> None:
        """Hold, count and remove."""
        guide, options = logit_guide(state), self.options
        guide.hold()
        guide.quiet.copy_(torch.where(guide.theta < options.closed_below, guide.quiet + 1, 0.0))
        if options.removal == QUIET and state.phase_step % options.shrink_every == 0:
            remove(state, (guide.quiet < options.quiet_steps).cpu())


@dataclass
class Refuges(Memory):
    """Groups all of whose nodes were more likely closed; the best one of each stayed."""

    names: list[str] = field(default_factory=list)


class MedianProbability:
    """The end: nodes with an inclusion probability above 1/2 stay (the median-probability rule), one a group at least.

    Args:
        closed_below: probability at which a gate counts as closed before the end.
        began: the gates that the run began with.
        choose: another rule: the gates to stay, bool [J].
    """

    def __init__(
        self, closed_below: float, began: Tensor, choose: Callable[[TrainState], Tensor] | None = None
    ) -> None:
        self.closed_below, self.began, self.choose = closed_below, began, choose

    def __call__(self, state: TrainState) -> None:
        """Decide."""
        theta = guide_of(state).theta.detach().cpu()
        likely = theta > 0.5
        if self.choose is not None:
            likely = of_gates(state, "decide", asked("decide", self.choose, state, self.choose, state))
        places = state.structure.slices()
        state.memory(Refuges).names = [name for name, place in places.items() if not bool(likely[place].any())]
        chosen = state.structure.consistent(state.structure.protect(likely, theta))
        settle(state, Choice(chosen), self.began, self.closed_below)


def review(state: TrainState, validation: int = 0) -> list[str]:
    """Lines where nodes were judged before anything was learnt, where it was lost again, and where whole layers closed.

    Args:
        state: of the finished run.
        validation: examples of the validation split.
    """
    names = state.memory(Refuges).names
    closed = state.structure.gate_count < state.structure.initial_gate_count
    early = [*(judged_early(state) if closed else []), *fell(state, validation)]
    if not names:
        return early
    return [
        *early,
        f"every node of {', '.join(map(repr, names))} was more likely closed, and the likeliest one was kept: the data "
        "are too few for this prior; give a larger inclusion, a smaller slab or more epochs",
    ]


def logit_guide(state: TrainState) -> LogitGateGuide:
    """The guide among the state's modules."""
    guide = guide_of(state)
    assert isinstance(guide, LogitGateGuide)
    return guide


def few_steps(steps: int, data: Data, settings: RunSettings, prune_share: float) -> list[str]:
    """A line where the posterior has fewer steps than it needs."""
    if steps >= NEEDED_STEPS:
        return []
    epochs = epochs_for(NEEDED_STEPS, prune_share, data, settings)
    return [
        f"gates and deviations have {steps:,} steps to settle and need about {NEEDED_STEPS:,}: until then the weights "
        f"are noisy and few nodes are decided; give epochs={epochs}, or smaller batches"
    ]
