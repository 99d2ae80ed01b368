"""Noise at fixed structure whose strength is learnt, one standard deviation a gate."""

from math import log
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus
from torch.optim import Optimizer

from bayesprune.errors import SettingError
from bayesprune.training import NegativeLogLikelihood, TrainState, adam

NOISE = "noise"
"""Name of the noise among the state's modules and of its optimizer."""

LEAST, MOST = 0.01, 1.0
"""Standard deviations the noise is held between."""

LEARNING_RATE = 5e-3


class NoiseScale(nn.Module):
    """Standard deviations s_j of the multiplicative noise 1 + s_j N(0, 1), one a gate, learnt as ln s_j [J]."""

    def __init__(self, gates: int, start: float) -> None:
        super().__init__()
        if not LEAST <= start <= MOST:
            raise SettingError(f"learnt noise starts between {LEAST} and {MOST}, not at {start}: set noise")
        self.log_scale = nn.Parameter(torch.full((gates,), log(start)))

    def gate_parameters(self) -> list[nn.Parameter]:
        """What is cut along when gates go."""
        return [self.log_scale]

    def penalty(self) -> Tensor:
        """sum_j 1/2 ln(1 + 1 / s_j^2): nats of information that pass the noise, as in VIB (arXiv 1802.10399)."""
        return 0.5 * softplus(-2 * self.log_scale).sum()


class LearntNoise(NegativeLogLikelihood):
    """Cross-entropy under noise of learnt strength: mean loss + weight * information that passes the noise.

    Without the second term the noise would vanish. The strength is learnt by the reparametrised gradient.

    Args:
        weight: of the information, per example.
        consistency: weight of the agreement of two noisy predictions.
    """

    def __init__(self, weight: float, consistency: float = 0.0) -> None:
        super().__init__(noise=1.0, consistency=consistency)
        if not 0 < weight < float("inf"):
            raise SettingError(f"the weight of learnt noise must be a finite number > 0, not {weight}")
        self.weight = weight

    def draw(self, state: TrainState, count: int) -> Tensor:
        """Noise [count, J] around 0: normal, as the information that passes it supposes."""
        scale = noise_of(state).log_scale
        return torch.randn(count, len(scale), dtype=scale.dtype, device=scale.device) * scale.exp()

    def loss(self, state: TrainState, inputs: Any, labels: Any) -> Tensor:
        """The loss of a mini-batch per example."""
        return super().loss(state, inputs, labels) + self.weight * noise_of(state).penalty()


def noise_of(state: TrainState) -> NoiseScale:
    """The noise among the state's modules."""
    noise = state.modules[NOISE]
    assert isinstance(noise, NoiseScale)
    return noise


def noise_optimizers(state: TrainState) -> dict[str, Optimizer]:
    """The optimizer of the noise's strength."""
    return {NOISE: adam(LEARNING_RATE)([noise_of(state).log_scale])}


@torch.no_grad()
def hold(state: TrainState) -> None:
    """Keep the strength within its limits; an update of the loop."""
    noise_of(state).log_scale.clamp_(log(LEAST), log(MOST))
