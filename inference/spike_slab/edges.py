"""SV-BNN: spike-and-slab weights, kept by the median-probability rule; the result is a masked network."""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from bayesprune.data import Data, steps_per_epoch
from bayesprune.inference import onset
from bayesprune.inference.elbo_objective import ElboObjective, MakeGatePrior
from bayesprune.inference.objective import GATES, GUIDE
from bayesprune.inference.phases import normal_of, split_epochs
from bayesprune.inference.relaxed import RelaxedGates
from bayesprune.inference.review import fell, still_learning
from bayesprune.inference.spike_slab.edge_guide import EdgeGuide, EdgeSlab
from bayesprune.inference.spike_slab.edge_masks import KeepEdges, LastEdges, edge_guide
from bayesprune.inference.spike_slab.edge_options import EdgeOptions
from bayesprune.inference.spike_slab.inclusion import ALWAYS
from bayesprune.inference.spike_slab.nodes import few_steps
from bayesprune.inference.spike_slab.options import LEARNING_RATE
from bayesprune.inference.variational import made_guide
from bayesprune.inference.weight_laws import DEVIATIONS, travel_rate
from bayesprune.models.priors.edge_inclusion import edge_inclusion
from bayesprune.models.priors.gates import FixedGatePrior
from bayesprune.run.method import Plan
from bayesprune.run.settings import RunSettings
from bayesprune.structure import Structure
from bayesprune.structure.matrices import COUNTED
from bayesprune.training import Phase, TrainState, adam, constant
from bayesprune.training.fixed import FixedTraining


class SparseWeights:
    """SV-BNN (Bai, Song and Cheng 2020).

        z_e ~ Bernoulli(lambda),  w_e | z_e ~ z_e N(0, slab^2) + (1 - z_e) delta_0  for each weight and bias e,
        guide: z_e ~ Bernoulli(g_e),  w_e | z_e ~ z_e N(mean, deviation^2) + (1 - z_e) delta_0.

    Divergence, relaxation and training are those of `SpikeSlab`. In the end weights with g > 1/2 stay, with their
    means; the others are masked, as an unstructured pruner leaves them. It needs no groups, and has no posterior over
    channels.
    """

    name = "sv-bnn"
    summary = "spike-and-slab weights (SV-BNN): a gate for each weight, kept by its posterior probability"
    options = EdgeOptions
    takes: frozenset[str] = frozenset()
    needs: frozenset[str] = frozenset()

    def normal(self, settings: RunSettings) -> RunSettings:
        """See `Method.normal`."""
        return normal_of(EdgeOptions, settings, LEARNING_RATE)

    def plan(self, state: TrainState, data: Data, settings: RunSettings) -> Plan:
        """A phase in which gates learn, and one under masks.

        Raises:
            NetworkError: `trim` is asked for, and the network's channels cannot be removed.
            SettingError: a setting cannot be used.
        """
        options, examples = EdgeOptions.of(settings.method, settings.options), len(data.train)
        validation = len(data.validation)
        if options.trim:
            state.need_structure()
        state.remember_initial()
        epochs, fixed_epochs = split_epochs(settings, options.prune_share)
        steps = epochs * steps_per_epoch(data.train, settings.batch_size)
        slab = EdgeSlab(options.slab, options.inclusion or usual_inclusion(state, examples))
        make = partial(
            EdgeGuide, start=options.start, temperature=options.temperature, deviation=options.deviation
        )  # fmt: skip
        state.modules[GUIDE] = made_guide(state, make, slab)
        gate_rate = options.gate_learning_rate or travel_rate(steps)
        deviation_rate = options.deviation_learning_rate or travel_rate(steps)

        def optimizers(state: TrainState) -> dict[str, Optimizer]:
            guide = edge_guide(state)
            return {
                GATES: adam(gate_rate)(guide.edge_logit.values()),
                DEVIATIONS: adam(deviation_rate)(guide.log_deviation.values()),
            }

        onset.prepare(state, data, steps)
        ramp = round(options.ramp_share * steps)
        pruning = Phase(
            "prune", steps, EdgeObjective(_always_open, examples, slab, RelaxedGates(options.temperature), ramp),
            adam(settings.learning_rate or LEARNING_RATE), constant, extra_optimizers=optimizers, updates=[_hold],
        )  # fmt: skip
        fixed = FixedTraining.of(
            settings, state.network, data.train, epochs=fixed_epochs, slab=options.slab,
            learning_rate=options.fixed_learning_rate, decay=options.fixed_decay, likelihood=state.likelihood,
        )  # fmt: skip
        return Plan(
            (pruning, fixed.phase(KeepEdges(options.trim))), describe,
            notes=few_steps(steps, data, settings, options.prune_share),
            review=partial(review, validation=validation), ends_pruned=fixed_epochs == 0,
        )  # fmt: skip


class EdgeObjective(ElboObjective):
    """Negative ELBO of spike-and-slab weights per training example; its divergence rises over the first steps.

    Args:
        gate_prior, size, slab, estimator: as for `ElboObjective`.
        ramp: steps over which the divergence rises from 0 to its full weight, in equal parts; 0 for none.
    """

    def __init__(
        self, gate_prior: MakeGatePrior, size: int, slab: EdgeSlab, estimator: RelaxedGates, ramp: int
    ) -> None:
        super().__init__(gate_prior, size, slab, estimator)
        self.ramp = ramp

    def loss(self, state: TrainState, inputs: Any, labels: Any) -> Tensor:
        """As for `ElboObjective`."""
        edge_guide(state).tempered = onset.risen(state, self.ramp)
        return super().loss(state, inputs, labels)


def usual_inclusion(state: TrainState, examples: int) -> float:
    """`edge_inclusion` of a network's linear layers, or of all its layers where fewer than two are linear."""
    layers = [
        module for name, module in state.network.named_modules()
        if isinstance(module, COUNTED) and name in state.running()
    ]  # fmt: skip
    linear = [layer for layer in layers if isinstance(layer, nn.Linear)]
    chain = linear if len(linear) > 1 else layers
    weights = [layer.get_parameter("weight") for layer in chain]
    parameters = sum(parameter.numel() for layer in chain for parameter in layer.parameters(recurse=False))
    widest = max(len(weight) for weight in weights[:-1] or weights)
    return edge_inclusion(parameters, widest, weights[0][0].numel(), examples)


def describe(state: TrainState) -> dict[str, object]:
    """Entries of an epoch's record while gates learn: weights and biases that are undecided, and more likely there."""
    if state.phase > 0:
        return {}
    chances = torch.cat([chance.flatten() for chance in edge_guide(state).inclusion().values()])
    undecided = (chances > 0.02) & (chances < 0.98)
    return {"undecided": int(undecided.sum()), "edges": int((chances > 0.5).sum())}


def review(state: TrainState, validation: int = 0) -> list[str]:
    """Lines where nothing was learnt in time, where it was lost again, and where the prior has closed whole layers."""
    names = state.memory(LastEdges).names
    early = [*onset.review(state), *fell(state, validation), *still_learning(state)]
    if not names:
        return early
    return [
        *early,
        f"every weight of {', '.join(map(repr, names))} was more likely 0, and the likeliest one was kept: the data "
        "are too few for this prior; give a larger inclusion, a smaller slab or more epochs",
    ]


def _always_open(structure: Structure) -> FixedGatePrior:
    """Channels have no gates of their own here."""
    return FixedGatePrior(torch.full((structure.gate_count,), ALWAYS))


def _hold(state: TrainState) -> None:
    """After every step: keep the logits within their limits."""
    edge_guide(state).hold()
