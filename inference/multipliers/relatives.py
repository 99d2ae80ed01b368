"""The relatives of gates as methods."""

from typing import Any

import torch

from bayesprune.inference.multipliers.guide import MultiplierGuide
from bayesprune.inference.multipliers.hard_concrete import HardConcrete
from bayesprune.inference.multipliers.horseshoe import HorseshoeMultipliers
from bayesprune.inference.multipliers.law import MultiplierLaw
from bayesprune.inference.multipliers.log_normal import LogNormalNoise, ReducedNoise
from bayesprune.inference.multipliers.method import GaussianRelative, Relative
from bayesprune.inference.multipliers.normal import InformationBottleneck, JeffreysMultipliers
from bayesprune.inference.multipliers.options import (
    BmrsOptions,
    HorseshoeOptions,
    JeffreysOptions,
    L0Options,
    SbpOptions,
    SparseDropoutOptions,
    VibOptions,
)
from bayesprune.inference.multipliers.sizes import by_group, carried_weights
from bayesprune.inference.multipliers.sparse_weights import NoMultipliers, SparseWeightGuide
from bayesprune.inference.relaxed import spiked_gates
from bayesprune.models.gated import GatedModel
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
        costs = carried_weights(state) * by_group("weight", options.weight, state.structure)
        return HardConcrete(costs, options.temperature, start)


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


class VariationalInformationBottleneck(Relative):
    """VIBNet (Dai, Zhu, Guo and Wipf, arXiv 1802.10399): normal multipliers, a price for what passes them."""

    name = "vib"
    summary = "variational information bottleneck: normal multipliers at a price for the information that passes"
    options = VibOptions

    def law(self, state: TrainState, options: Any) -> MultiplierLaw:
        """Normal multipliers."""
        return InformationBottleneck(by_group("weight", options.weight, state.structure), options.threshold)


class JeffreysCompression(GaussianRelative):
    """BC-GNJ (Louizos, Ullrich and Welling, arXiv 1705.08665): Gaussian weights, multipliers under Jeffreys' prior."""

    name = "bc-gnj"
    summary = "Bayesian compression: Gaussian weights, normal multipliers under the prior 1/|z|"
    options = JeffreysOptions

    def law(self, state: TrainState, options: Any) -> MultiplierLaw:
        """Normal multipliers."""
        return JeffreysMultipliers(state.structure.gate_count, options.threshold)


class HorseshoeCompression(GaussianRelative):
    """BC-GHS (Louizos, Ullrich and Welling, arXiv 1705.08665): Gaussian weights, multipliers under a horseshoe."""

    name = "bc-ghs"
    summary = "Bayesian compression: Gaussian weights, positive multipliers under a group horseshoe"
    options = HorseshoeOptions

    def law(self, state: TrainState, options: Any) -> MultiplierLaw:
        """Log-normal multipliers, a layer scale for each group."""
        places = state.structure.slices().values()
        parts = [torch.full((place.stop - place.start,), number) for number, place in enumerate(places)]
        return HorseshoeMultipliers(torch.cat(parts), options.global_scale, options.threshold)


class SparseVariationalDropout(GaussianRelative):
    """Sparse variational dropout (Molchanov, Ashukha and Vetrov, arXiv 1701.05369): noise of every single weight."""

    name = "sparse-vd"
    summary = "sparse variational dropout: noise of every weight; units go when all their weights have gone"
    options = SparseDropoutOptions

    def law(self, state: TrainState, options: Any) -> MultiplierLaw:
        """None on channels."""
        return NoMultipliers(state.structure.gate_count)

    def guide(self, model: GatedModel, state: TrainState, options: Any) -> MultiplierGuide:
        """Gaussian weights under the log-uniform prior."""
        return SparseWeightGuide(model, options.threshold, input_gates=options.input_gates, deviation=options.deviation)


RELATIVES: tuple[Relative, ...] = (
    L0(),
    StructuredBayesianPruning(),
    ModelReduction(),
    VariationalInformationBottleneck(),
    SparseVariationalDropout(),
    JeffreysCompression(),
    HorseshoeCompression(),
)
"""In the order of the table of methods."""
