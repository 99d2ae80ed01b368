"""The relatives of gates as methods."""

from typing import Any

import torch

from bayesprune.inference.multipliers.hard_concrete import HardConcrete
from bayesprune.inference.multipliers.law import MultiplierLaw
from bayesprune.inference.multipliers.log_normal import LogNormalNoise, ReducedNoise
from bayesprune.inference.multipliers.method import Relative
from bayesprune.inference.multipliers.options import BmrsOptions, L0Options, SbpOptions
from bayesprune.inference.multipliers.sizes import carried_weights
from bayesprune.inference.relaxed import spiked_gates
from bayesprune.training import TrainState


class L0(Relative):
    """L0 regularisation (Louizos, Welling and Kingma, arXiv 1712.01312): a price a weight, hard concrete gates."""

    name = "l0"
    summary = "L0 regularisation: hard concrete gates at a price for each weight"
    options = L0Options

    def law(self, state: TrainState, options: Any) -> MultiplierLaw:
        """Hard concrete gates, those of inputs open more often at the start."""
        channels = spiked_gates(state.structure, input_gates=False)
        start = torch.where(channels, options.start, options.input_start)
        return HardConcrete(carried_weights(state), options.weight, options.temperature, start)


class StructuredBayesianPruning(Relative):
    """SBP (Neklyudov, Molchanov, Ashukha and Vetrov, arXiv 1705.07283): log-normal noise, cut by signal to noise."""

    name = "sbp"
    summary = "structured Bayesian pruning: truncated log-normal noise, channels go by their signal-to-noise ratio"
    options = SbpOptions

    def law(self, state: TrainState, options: Any) -> MultiplierLaw:
        """Truncated log-normal noise."""
        return LogNormalNoise(state.structure.gate_count, options.threshold)


class ModelReduction(Relative):
    """BMRS (Wright, Igel and Selvan, arXiv 2406.01345): the noise of SBP, cut by the change of evidence."""

    name = "bmrs"
    summary = "Bayesian model reduction: the noise of sbp, channels go where a prior that closes them does as well"
    options = BmrsOptions

    def law(self, state: TrainState, options: Any) -> MultiplierLaw:
        """The noise with its reduced prior."""
        bits = 8 if options.bits is None else options.bits
        return ReducedNoise(state.structure.gate_count, options.reduced, bits, options.threshold)


RELATIVES: tuple[Relative, ...] = (L0(), StructuredBayesianPruning(), ModelReduction())
"""In the order of the table of methods."""
