"""The flattening hyper-prior over a gate's prior inclusion probability, and what eliminating it leaves.

Everything is computed from the price L = ln(gamma), never from gamma itself: gamma overflows single precision
at L = 88 and cancels in gamma - 1 near L = 0. Branches are chosen with `torch.where` whose unused side is fed
a harmless argument, because a NaN slope on an unused side would still reach the gradient.
"""

import math

import torch
from pyro.distributions import TorchDistribution
from torch import Size, Tensor
from torch.distributions import constraints

from bayesprune.errors import SettingError
from bayesprune.models.priors._settings import SCALAR, Shape, as_float_tensor, require

# Taylor coefficients: (e^x - 1)/x, and (1/2 - mean)/L in powers of L^2 (Bernoulli numbers over (2n)!)
_RELATIVE_EXPONENTIAL = tuple(1.0 / math.factorial(k + 1) for k in range(6))
_VARIANCE = (1 / 12, -1 / 720, 1 / 30240, -1 / 1209600, 1 / 47900160)


def _polynomial(x: Tensor, coefficients: tuple[float, ...]) -> Tensor:
    """The polynomial with these coefficients, lowest power first, by Horner's rule."""
    total = torch.full_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        total = total * x + coefficient
    return total


def _fall(price: Tensor) -> Tensor:
    """-|L|, with the slope of L (not 0) at L = 0."""
    return torch.where(price > 0, -price, price)


def _rise(price: Tensor) -> Tensor:
    """max(L, 0), with slope 0 (not 1/2) at L = 0, the partner of `_fall`."""
    return torch.where(price > 0, price, torch.zeros_like(price))


def _relative_exponential(x: Tensor) -> Tensor:
    """(e^x - 1)/x for x <= 0, 1 at x = 0."""
    near = x > -0.01
    far = torch.where(near, -torch.ones_like(x), x)
    series = _polynomial(torch.where(near, x, torch.zeros_like(x)), _RELATIVE_EXPONENTIAL)
    return torch.where(near, series, torch.expm1(far) / far)


def _log_mixture(pi: Tensor, price: Tensor, shift: Tensor) -> Tensor:
    """Return log((1 - pi) + gamma pi) - shift, for a shift of 0 or max(L, 0); exact slopes at both ends."""
    near = price.abs() < 1
    close = torch.log1p(torch.expm1(torch.where(near, price, torch.zeros_like(price))) * pi) - shift
    # below the smallest normal number 1/pi overflows; for L <= 0 the first-order form is exact there
    smallest = torch.where(price > 0, torch.zeros_like(price), torch.finfo(price.dtype).tiny)
    at_zero, at_one = pi <= smallest, pi >= 1
    inside = torch.where(at_zero | at_one, 0.5 * torch.ones_like(pi), pi)
    far = torch.logaddexp(torch.log1p(-inside) - shift, torch.log(inside) + (price - shift))
    # the slope at an end saturates at the largest float
    cap = math.log(torch.finfo(price.dtype).max) - 1.0
    limited = price.clamp(-cap, cap)
    far = torch.where(at_zero, torch.expm1(limited) * pi - shift, far)
    far = torch.where(at_one, (price - shift) + torch.expm1(-limited) * (1 - pi), far)
    return torch.where(near, close, far)


def _mean_and_variance(price: Tensor) -> tuple[Tensor, Tensor]:
    """Mean 1/L - 1/(gamma - 1) and variance (1/2 - mean)/L."""
    near = price.abs() < 0.3
    series = _polynomial(torch.where(near, price, torch.zeros_like(price)) ** 2, _VARIANCE)
    fall = torch.where(near, -torch.ones_like(price), _fall(price))
    positive = torch.exp(fall) / torch.expm1(fall) - 1 / fall  # the mean for L = |L|
    mean = torch.where(near, 0.5 - price * series, torch.where(price > 0, positive, 1 - positive))
    return mean, torch.where(near, series, (positive - 0.5) / fall)


def _log_gamma(gamma: Tensor | float | None, log_gamma: Tensor | float | None, validate: bool) -> Tensor:
    """The price L = ln(gamma) from whichever of the two was given."""
    if (gamma is None) == (log_gamma is None):
        given = "neither was" if gamma is None else "both were"
        raise SettingError(f"exactly one of gamma and log_gamma must be given, but {given}; give one of them")
    if log_gamma is not None:
        price = as_float_tensor(log_gamma)
        if validate or not isinstance(log_gamma, Tensor):
            cure = "0 means no preference, above 0 closes gates"
            require("log_gamma", price, price.isfinite(), "finite", cure)
        return price
    cure = "1 means no preference, above 1 closes gates; for extreme prices give log_gamma"
    if isinstance(gamma, Tensor):
        value = as_float_tensor(gamma)
        if validate:
            require("gamma", value, (value > 0) & value.isfinite(), "finite and greater than 0", cure)
        return value.log()
    assert gamma is not None
    number = torch.tensor(float(gamma), dtype=torch.float64)
    require("gamma", number, (number > 0) & number.isfinite(), "finite and greater than 0", cure)
    return as_float_tensor(math.log(gamma))


class FlatteningHyperPrior(TorchDistribution):
    """The prior over an inclusion probability that makes the eliminated gate term linear in theta.

    Density on [0, 1]: p(pi | gamma) = (gamma - 1)/ln(gamma) / (1 + (gamma - 1) pi), uniform at gamma = 1.
    With gamma > 1 it prefers closed gates at a price of ln(gamma) nats each, with gamma < 1 open ones.
    Finite and differentiable for |ln gamma| up to about 1e4 in single and double precision. Where most of the
    mass lies below the smallest float (single precision: ln gamma above 100), samples are 0 or subnormal.

    Args:
        gamma: strength, greater than 0, any shape (the batch shape).
        log_gamma: its logarithm, instead of `gamma`; the only way to say an extreme price.
        validate_args: check parameters and values, torch's default where None; plain numbers always are.

    Raises:
        SettingError: gamma not greater than 0, a value not finite, or not exactly one of the two given.

    Source: derived from the wish for zero curvature in theta; the idea is Guenter and Sideris' (arXiv
    2205.04650), whose labelling of gamma may differ.
    """

    arg_constraints = {"log_gamma": constraints.real}
    support = constraints.unit_interval
    has_rsample = True
    log_gamma: Tensor

    def __init__(
        self,
        gamma: Tensor | float | None = None,
        *,
        log_gamma: Tensor | float | None = None,
        validate_args: bool | None = None,
    ) -> None:
        validate = bool(self._validate_args) if validate_args is None else validate_args
        self.log_gamma = _log_gamma(gamma, log_gamma, validate)
        super().__init__(self.log_gamma.shape, Size(), validate_args=validate_args)

    @property
    def gamma(self) -> Tensor:
        """exp(log_gamma); infinite or 0 where that leaves the range of floats."""
        return self.log_gamma.exp()

    @property
    def mean(self) -> Tensor:
        """1/L - 1/(gamma - 1), of the batch shape."""
        return _mean_and_variance(self.log_gamma)[0]

    @property
    def variance(self) -> Tensor:
        """(1/2 - mean)/L, of the batch shape."""
        return _mean_and_variance(self.log_gamma)[1]

    def expand(self, batch_shape: Shape, _instance: object = None) -> "FlatteningHyperPrior":
        """The same law over a larger batch shape; no memory is copied."""
        new: FlatteningHyperPrior = self._get_checked_instance(FlatteningHyperPrior, _instance)
        new.log_gamma = self.log_gamma.expand(batch_shape)
        super(FlatteningHyperPrior, new).__init__(Size(batch_shape), Size(), validate_args=False)
        new._validate_args = self._validate_args
        return new

    def log_prob(self, value: Tensor) -> Tensor:
        """Log density at `value` in [0, 1], of the broadcast shape."""
        if self._validate_args:
            self._validate_sample(value)
        pi, price = torch.broadcast_tensors(value, self.log_gamma)
        # ln((gamma - 1)/L) = max(L, 0) + ln((1 - e^-|L|)/|L|): the first part cancels inside the mixture
        return torch.log(_relative_exponential(_fall(price))) - _log_mixture(pi, price, _rise(price))

    def cdf(self, value: Tensor) -> Tensor:
        """ln(1 + (gamma - 1) pi)/L, of the broadcast shape."""
        if self._validate_args:
            self._validate_sample(value)
        pi, price = torch.broadcast_tensors(value, self.log_gamma)
        near = price.abs() < 1e-2
        far = torch.where(near, torch.ones_like(price), price)
        exact = _log_mixture(pi, far, torch.zeros_like(price)) / far
        series = _cdf_near_uniform(pi, torch.where(near, price, torch.zeros_like(price)))
        return torch.where(near, series, exact)

    def icdf(self, value: Tensor) -> Tensor:
        """(e^(uL) - 1)/(e^L - 1) for a probability u = `value` in [0, 1], of the broadcast shape."""
        u, price = torch.broadcast_tensors(value, self.log_gamma)
        fall = _fall(price)
        ratio = u * _relative_exponential(u * fall) / _relative_exponential(fall)
        quantile: Tensor = (torch.exp((u - 1) * _rise(price)) * ratio).clamp(max=1.0)
        return quantile

    def rsample(self, sample_shape: Shape = SCALAR) -> Tensor:
        """Draws by inversion, differentiable in gamma; shape `sample_shape + batch_shape`."""
        shape = self._extended_shape(Size(sample_shape))
        return self.icdf(torch.rand(shape, dtype=self.log_gamma.dtype, device=self.log_gamma.device))


def _cdf_near_uniform(pi: Tensor, price: Tensor) -> Tensor:
    """The cdf to fifth order in L: ln E[e^(L z)]/L for z ~ Bern(pi), by the cumulants of a Bernoulli."""
    spread, skew = pi * (1 - pi), 1 - 2 * pi
    fifth = skew * (1 - 12 * spread) / 120 + price * (1 - 30 * spread + 120 * spread**2) / 720
    return pi + price * spread * (0.5 + price * (skew / 6 + price * ((1 - 6 * spread) / 24 + price * fifth)))


def most_probable_inclusion(theta: Tensor, log_gamma: Tensor | float) -> Tensor:
    """The pi that minimises KL(Bern(theta) || Bern(pi)) - log p(pi | gamma).

    It is theta/(theta + gamma (1 - theta)), of the broadcast shape, and exactly 0 or 1 where theta is.

    Args:
        theta: inclusion probabilities of the posterior in [0, 1].
        log_gamma: ln(gamma), broadcast against `theta`.
    """
    theta, price = torch.broadcast_tensors(theta, as_float_tensor(log_gamma, like=theta))
    at_zero, at_one = theta <= 0, theta >= 1
    inside = torch.where(at_zero | at_one, 0.5 * torch.ones_like(theta), theta)
    chosen = torch.sigmoid(torch.log(inside) - torch.log1p(-inside) - price)
    cap = math.log(torch.finfo(price.dtype).max) - 1.0
    limited = price.clamp(-cap, cap)
    # first order at the ends: the value is exactly 0 or 1 and the slope 1/gamma or gamma
    chosen = torch.where(at_zero, theta * torch.exp(-limited), chosen)
    return torch.where(at_one, 1 - (1 - theta) * torch.exp(limited), chosen)


def flattened_penalty(theta: Tensor, log_gamma: Tensor | float) -> Tensor:
    """The minimum over pi of KL(Bern(theta) || Bern(pi)) - log p(pi | gamma): theta ln(gamma) + const.

    The constant is ln(ln(gamma)/(gamma - 1)); the slope in theta is ln(gamma) everywhere, which is why gates
    settle at 0 or 1. In nats, of the broadcast shape.

    Args:
        theta: inclusion probabilities of the posterior in [0, 1].
        log_gamma: ln(gamma), broadcast against `theta`.
    """
    theta, price = torch.broadcast_tensors(theta, as_float_tensor(log_gamma, like=theta))
    # theta L - max(L, 0) without the cancellation at theta near 1 and a large price
    linear: Tensor = (theta - (price > 0).to(theta.dtype)) * price
    return linear - torch.log(_relative_exponential(_fall(price)))


def _relative_entropy_part(mass: Tensor, log_ratio: Tensor) -> Tensor:
    """Return mass * log_ratio, and 0 where the mass is 0."""
    return torch.where(mass > 0, mass * log_ratio, torch.zeros_like(mass))


def bernoulli_kl(theta: Tensor, pi: Tensor | float) -> Tensor:
    """KL(Bern(theta) || Bern(pi)) in nats, with 0 log 0 = 0; infinite where pi excludes what theta allows.

    At theta exactly 0 or 1 the true slope in theta is infinite unless pi agrees; the term that is 0 log 0
    gives slope 0 there, so that decided gates carry no NaN.

    Args:
        theta: probabilities in [0, 1].
        pi: probabilities in [0, 1], broadcast against `theta`.
    """
    theta, pi = torch.broadcast_tensors(theta, as_float_tensor(pi, like=theta))
    one, half = torch.ones_like(theta), 0.5 * torch.ones_like(theta)
    opens, closes = theta > 0, theta < 1
    opened = torch.where(opens, theta, one).log() - torch.where(opens, pi, one).log()
    closed = torch.log1p(-torch.where(closes, theta, half)) - torch.log1p(-torch.where(closes, pi, half))
    return _relative_entropy_part(theta, opened) + _relative_entropy_part(1 - theta, closed)
