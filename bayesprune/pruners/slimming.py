"""Training that makes the scales of batch normalisation sparse: network slimming (arXiv 1708.06519)."""

from typing import Any

import torch
from torch import Tensor, nn

from bayesprune.errors import SettingError
from bayesprune.pruners.channels import channel_scales
from bayesprune.structure.members import UNGATED
from bayesprune.training import NegativeLogLikelihood, TrainState


class ScaleSparsity(NegativeLogLikelihood):
    """Mean loss plus strength * sum |gamma| over the channels that can be removed.

    gamma are the scales of the affine batch normalisations that write gated channels; the penalty's subgradient is
    strength * sign(gamma), and 0 at gamma = 0. Liu et al. (arXiv 1708.06519, equation 1) take 1e-4 for VGG and
    1e-5 for ResNet. Afterwards `batchnorm_scale` scores the channels.

    Args:
        strength: of the penalty.
        noise: as for `NegativeLogLikelihood`.
        consistency: as for `NegativeLogLikelihood`.
    """

    def __init__(self, strength: float, noise: float = 0.0, consistency: float = 0.0) -> None:
        super().__init__(noise, consistency)
        if not 0 <= strength < float("inf"):
            raise SettingError(f"strength must be a finite number >= 0, not {strength}")
        self.strength = strength
        self._scales: list[tuple[nn.Parameter, Tensor]] = []

    def attach(self, state: TrainState) -> None:
        """Find the scales of the network as it is now.

        Raises:
            NetworkError: no gated channel is written by an affine batch normalisation.
        """
        found = channel_scales(state.network, state.structure)
        super().attach(state)
        self._scales = [(gamma, _gated(gates).to(gamma.device)) for gamma, gates in found.values()]

    def detach(self) -> None:
        """Let go of the scales and take the noise's hooks off."""
        super().detach()
        self._scales = []

    def loss(self, state: TrainState, inputs: Any, labels: Any) -> Tensor:
        """Mean loss of outputs and targets, and the penalty."""
        penalty = torch.stack([gamma.index_select(0, gated).abs().sum() for gamma, gated in self._scales]).sum()
        return super().loss(state, inputs, labels) + self.strength * penalty


def _gated(gates: Tensor) -> Tensor:
    """The positions that have a gate."""
    return (gates != UNGATED).nonzero().flatten()
