"""Structured Bayesian pruning, and the same noise with Bayesian model reduction as its rule."""

from math import exp, log, pi

import torch
from torch import Tensor, nn

from bayesprune.errors import SettingError, UnknownNameError
from bayesprune.inference.multipliers import truncated
from bayesprune.inference.multipliers.law import MultiplierLaw, chosen
from bayesprune.inference.multipliers.truncated import HIGH, LOW, log_normal_mass

START = -5.0
"""Logarithm of the deviation at the start, as published; the mean of log theta starts at 0."""

LOG_DEVIATIONS = (-12.0, 5.0)
"""Within which the logarithms of the deviations are held; the lower limit of the public code is -20, where the slopes
of masses in double precision are lost to rounding."""

SPIKE = 1e-6
"""Deviation of log theta under the reduced prior of BMRS_N, as in the public code: nearly a point at the lower end."""

PUBLISHED_THRESHOLD = {"normal": -0.5 * log(2 * pi), "uniform": 0.0}
"""Of dF in nats: what the public code's rule amounts to. Its formula for BMRS_N lacks ln(2 pi) / 2 in the normal
density, so that its dF is larger by 0.92 nats. At 0 hardly anything goes: a multiplier that the data say nothing of
has the prior as its posterior, which gives dF = 0 but for rounding and noise; on the bundled digits -0.06 to -0.4."""

MANTISSA = 23
"""BMRS_U takes theta below 2^-23 for what single precision cannot tell from 0."""


class LogNormalNoise(MultiplierLaw):
    """Noise theta in [e^-20, 1]: prior log-uniform there, posterior log-normal truncated there.

    The penalty is the closed divergence (`truncated.divergence`), the multiplier at test time E[theta]. A channel goes
    where the signal-to-noise ratio r = E[theta] / sd[theta] is at most 1. The score is r^2 / (1 + r^2), the share of
    E[theta]^2 in E[theta^2]; it is no probability. The mean of log theta is held in [-20, 0].

    Source: Neklyudov, Molchanov, Ashukha and Vetrov, arXiv 1705.07283.

    Args:
        count: gates J.
        threshold: of the signal-to-noise ratio.
    """

    def __init__(self, count: int, threshold: float = 1.0) -> None:
        super().__init__()
        self.threshold = threshold
        self.mean = nn.Parameter(torch.zeros(count))
        self.log_deviation = nn.Parameter(torch.full((count,), START))

    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean and deviation of log theta before truncation [J], in double precision."""
        return self.mean.double(), self.log_deviation.double().exp()

    def draw(self, shape: torch.Size, gates: Tensor | None = None) -> Tensor:
        """theta."""
        mean, deviation = chosen(self.mean, gates), chosen(self.log_deviation, gates).exp()
        return truncated.draw_log(shape, mean, deviation).exp()

    def penalty(self) -> Tensor:
        """KL from the log-uniform prior."""
        return truncated.divergence(*self.moments()).to(self.mean.dtype)

    def fixed(self) -> Tensor:
        """E[theta]."""
        return truncated.expectation(*self.moments()).to(self.mean.dtype)

    def score(self) -> Tensor:
        """r^2 / (threshold^2 + r^2), above 1/2 where r is above the threshold."""
        ratio = truncated.signal_to_noise(*self.moments())
        return (1 / (1 + (self.threshold / ratio).square())).to(self.mean.dtype)

    @torch.no_grad()
    def hold(self) -> None:
        """Keep the mean in the interval and the deviations within their limits."""
        self.mean.clamp_(LOW, HIGH)
        self.log_deviation.clamp_(*LOG_DEVIATIONS)


class ReducedNoise(LogNormalNoise):
    """The same noise; a channel goes where a prior that would close it explains the data at least as well.

    Of a model with the prior p the evidence under another prior p' is known from the posterior q alone:

        dF = log E_q[p'(theta) / p(theta)] = log evidence(p') - log evidence(p),

    exactly so where q is the posterior, and with the variational q as the published rule takes it. Two priors p':
    "normal" (BMRS_N) is log-normal at the lower end of the interval with deviation 1e-6, truncated, nearly a point at
    theta = 0; "uniform" (BMRS_U) is log-uniform on [2^-23, 2^-bits]. A channel goes where dF is at or above a threshold
    (`PUBLISHED_THRESHOLD`). The score is 1 / (1 + exp(dF)): the posterior probability of the prior that leaves the
    channel open, at equal odds before.

    Source: Wright, Igel and Selvan, arXiv 2406.01345; the formulas are derived anew, the numbers are those of the
    public code.

    Args:
        count: gates J.
        reduced: "normal" or "uniform".
        bits: p of BMRS_U; the fewer, the more goes.
        threshold: of dF, in nats; None for that of the public code.
    """

    kinds = ("normal", "uniform")

    def __init__(self, count: int, reduced: str = "normal", bits: int = 8, threshold: float | None = None) -> None:
        super().__init__(count)
        if reduced not in self.kinds:
            raise UnknownNameError("reduced prior", reduced, self.kinds)
        if not 0 <= bits < MANTISSA:
            raise SettingError(f"bits must be an integer >= 0 and <= {MANTISSA - 1}, not {bits}")
        self.reduced, self.bits = reduced, bits
        self.keep_above = 1 / (1 + exp(PUBLISHED_THRESHOLD[reduced] if threshold is None else threshold))

    def change(self) -> Tensor:
        """dF [J] in nats, in double precision."""
        mean, deviation = self.moments()
        return evidence_of_spike(mean, deviation) if self.reduced == "normal" else evidence_of_bits(
            mean, deviation, self.bits
        )  # fmt: skip

    def score(self) -> Tensor:
        """Posterior probability of the prior that leaves the channel open."""
        return torch.sigmoid(-self.change()).to(self.mean.dtype)


def evidence_of_spike(mean: Tensor, deviation: Tensor, place: float = LOW, spike: float = SPIKE) -> Tensor:
    """dF in nats for a truncated log-normal p' at `place` with deviation `spike` (BMRS_N).

    With p log-uniform on an interval of length L and N the normal density of log theta:

        dF = log L - log Z_q - log Z_p' + log N(mean; place, deviation^2 + spike^2) + log Z_q',

    Z being the masses in the interval of q, p' and of the product of both, which is normal with the precisions added.
    """
    variance, narrow = deviation.square(), spike**2
    both = variance + narrow
    density = -0.5 * (mean - place).square() / both - 0.5 * (2 * pi * both).log()
    joint = variance * narrow / both
    middle = place + (mean - place) * (narrow / both)
    reduced = log_normal_mass(LOW, HIGH, torch.full_like(mean, place), torch.full_like(mean, spike))
    masses = log_normal_mass(LOW, HIGH, middle, joint.sqrt()) - log_normal_mass(LOW, HIGH, mean, deviation) - reduced
    return log(HIGH - LOW) + density + masses


def evidence_of_bits(mean: Tensor, deviation: Tensor, bits: int) -> Tensor:
    """dF in nats for a log-uniform p' on [2^-23, 2^-bits] (BMRS_U): log of the mass of q there over that of p."""
    low, high = -MANTISSA * log(2.0), -bits * log(2.0)
    inside = log_normal_mass(low, high, mean, deviation) - log_normal_mass(LOW, HIGH, mean, deviation)
    return inside - log((high - low) / (HIGH - LOW))
