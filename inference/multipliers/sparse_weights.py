"""Sparse variational dropout: every weight with noise of its own; units go when their weights have gone."""

import torch
from torch import Tensor, nn

from bayesprune.inference.guides import GaussianWeightGuide
from bayesprune.inference.multipliers.guide import MultiplierGuide
from bayesprune.inference.multipliers.law import MultiplierLaw, chosen
from bayesprune.inference.multipliers.normal import LEAST_SQUARE, log_uniform_divergence
from bayesprune.models.gated import GatedModel
from bayesprune.structure import Structure
from bayesprune.structure.members import UNGATED

MOST_LOG_ALPHA = 8.0
"""log alpha is clipped to +- this in the divergence, as in the public code."""


class NoMultipliers(MultiplierLaw):
    """Multipliers that are all 1 and cost nothing: what is random lies elsewhere.

    Args:
        count: gates J.
    """

    def __init__(self, count: int) -> None:
        super().__init__()
        self.ones = nn.Parameter(torch.ones(count), requires_grad=False)

    def draw(self, shape: torch.Size, gates: Tensor | None = None) -> Tensor:
        """1."""
        return chosen(self.ones, gates).expand(shape)

    def penalty(self) -> Tensor:
        """0."""
        return torch.zeros_like(self.ones)

    def fixed(self) -> Tensor:
        """1."""
        return self.ones

    def score(self) -> Tensor:
        """1."""
        return self.ones


class SparseWeightGuide(MultiplierGuide, GaussianWeightGuide):
    """Weights w ~ N(mean, alpha mean^2) under the log-uniform prior p(|w|) ~ 1/|w|; biases are a point.

    A weight goes where log alpha is at or above the threshold (3 is published). A unit goes when all weights that make
    it or all that read it have gone: its score is 1 / (1 + exp(l - threshold)), l being the larger one of the least log
    alpha among the weights that make it and the least among those that read it. The score is no probability.

    Source: Molchanov, Ashukha and Vetrov, arXiv 1701.05369; noise is that of the outputs in linear layers (its section
    4.1), and one draw of the weights for a mini-batch in convolutions.

    Args:
        model: with `weight_sites=True` and a `GaussianSlab` as weight prior, which is not used.
        threshold: of log alpha.
        input_gates: whether inputs and flattened features go, too.
        deviation: of every weight at the start.
    """

    def __init__(self, model: GatedModel, threshold: float, *, input_gates: bool, deviation: float) -> None:
        GaussianWeightGuide.__init__(self, model, deviation=deviation, draws="example")
        self.threshold = threshold
        self.begin(model.structure, NoMultipliers, input_gates, "batch")

    def log_alphas(self) -> dict[str, Tensor]:
        """log alpha of every weight, by its parameter's name."""
        return {
            name: 2 * log_deviation - mean.square().clamp_min(LEAST_SQUARE).log()
            for name, mean, log_deviation in self._weights()
            if _is_weight(name)
        }

    def weight_penalty(self, theta: Tensor) -> Tensor:
        """KL of all weights from the log-uniform prior, in nats."""
        parts = [
            log_uniform_divergence(log_alpha.clamp(-MOST_LOG_ALPHA, MOST_LOG_ALPHA)).sum()
            for log_alpha in self.log_alphas().values()
        ]
        return torch.stack(parts).sum() if parts else theta.new_zeros(())

    @torch.no_grad()
    def score(self) -> Tensor:
        """How much speaks for each unit [J]."""
        made, read = least_of_units(self._model[0].structure, self.log_alphas())
        least = torch.maximum(torch.where(made.isinf(), read, made), torch.where(read.isinf(), made, read))
        return torch.sigmoid(self.threshold - least)

    @torch.no_grad()
    def weight_masks(self) -> dict[str, Tensor]:
        """1 for each weight that stays; a layer all of whose weights would go keeps them."""
        masks = {name: (alpha < self.threshold).to(alpha) for name, alpha in self.log_alphas().items()}
        return {name: mask for name, mask in masks.items() if bool(mask.any())}

    def _deviation(self, name: str, log_deviation: Tensor) -> Tensor:
        """Biases have none."""
        deviation = super()._deviation(name, log_deviation)
        return deviation if _is_weight(name) else torch.zeros_like(deviation)


def least_of_units(structure: Structure, values: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """The least value among the weights that make, and among those that read, each gate's channel: [J] both.

    Infinite where there are none.

    Args:
        structure: of the network.
        values: one for each entry of each weight, by the weight's name.
    """
    example = next(iter(values.values()))
    made, read = example.new_full((2, structure.gate_count + 1), float("inf"))
    for axis in structure.axes:
        name = axis.parameter
        if "weight" in axis.tensor and name in values:
            _lower(made, axis.gates, _least_along(values[name], axis.axis))
    for reader in structure.readers:
        if reader.parameter not in values:
            continue
        least = _least_along(values[reader.parameter], reader.weight_axis)
        _lower(read, reader.arriving[reader.selected], least)
        if reader.selection is not None:
            _lower(read, reader.selection, least)
    return made[:-1], read[:-1]


def _least_along(value: Tensor, axis: int) -> Tensor:
    """The least entry of every slice along an axis."""
    return value.movedim(axis, 0).flatten(1).amin(1)


def _lower(least: Tensor, gates: Tensor, values: Tensor) -> None:
    """Let values lower those of their gates."""
    places = torch.where(gates == UNGATED, len(least) - 1, gates).to(least.device)
    least.scatter_reduce_(0, places, values, "amin")


def _is_weight(name: str) -> bool:
    """Whether a parameter's name is that of a weight."""
    return name.rpartition(".")[2] == "weight"
