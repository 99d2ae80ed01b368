"""When a gate is bound to close: the attraction sets that justify removing it early.

Both sets are derived here (they are not quoted from a paper). One gate with outgoing weights w scales u = z w; its data
term phi(u) has a gradient no longer than kappa, the steepness, so that |phi(w) - phi(0)| <= kappa ||w||. The bound
may hold at each moment for another phi: the rest of the network may learn meanwhile.
"""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from bayesprune.errors import SettingError

Number = Tensor | float


@dataclass(frozen=True, eq=False)
class AttractionSet:
    """Pairs (||w||, theta) from which a gate closes for good under gradient flow, whatever its data term does.

    With dw/dt = -theta grad phi(w) - lam w and dtheta/dt = Proj[-(phi(w) - phi(0)) - c], the norm r = ||w|| obeys

        dr/dt <= kappa theta - lam r,    dtheta/dt <= kappa r - c.

    The bounding system is linear and monotone; its equilibrium is a saddle, and the half plane below the saddle's
    stable line is forward invariant and leads to theta = 0. Where kappa^2 < lam c the saddle lies above theta = 1 and
    every pair is attracted, because decay alone brings the weights below c/kappa. For a linear phi no larger set
    would do.

    Attributes:
        steepness: kappa > 0, a bound on the length of the data term's gradient in u; a number or one for each gate.
        decay: lam > 0, weight decay.
        price: c > 0, price per example (ln gamma / N).

    Raises:
        SettingError: one of them is not finite and greater than 0.
    """

    steepness: Number
    decay: Number
    price: Number

    def __post_init__(self) -> None:
        _check_positive(self, "without {name} > 0 nothing draws a gate to 0")

    @property
    def rate(self) -> Tensor:
        """The bounding system's growing eigenvalue mu = (-lam + sqrt(lam^2 + 4 kappa^2))/2, per unit of time."""
        kappa, lam, _ = self._values()
        return 2 * kappa**2 / (lam + torch.sqrt(lam**2 + 4 * kappa**2))  # without the cancellation at kappa << lam

    @property
    def saddle(self) -> tuple[Tensor, Tensor]:
        """The equilibrium (r*, theta*) = (c/kappa, lam c/kappa^2); theta* may exceed 1."""
        kappa, lam, c = self._values()
        return c / kappa, lam * c / kappa**2

    def field(self, norm: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Right-hand side (dr/dt, dtheta/dt) of the bounding system, without the projection."""
        kappa, lam, c = self._values()
        return kappa * theta - lam * norm, kappa * norm - c

    def side(self, norm: Tensor, theta: Tensor) -> Tensor:
        """kappa (r - r*) + (mu + lam)(theta - theta*): negative below the saddle's stable line, and s' = mu s."""
        kappa, lam, _ = self._values()
        least, chance = self.saddle
        return kappa * (norm - least) + (self.rate + lam) * (theta - chance)

    def contains(self, norm: Tensor, theta: Tensor) -> Tensor:
        """Whether gates with outgoing weights of this norm and this theta are bound to close: bool."""
        return (self.side(norm, theta) < 0) | self._everywhere()

    def time_to_close(self, norm: Tensor, theta: Tensor) -> Tensor:
        """Time until theta is 0 for good at the latest; infinite outside the set.

        Below the stable line s grows like -|s| e^(mu t), and r = theta = 0 at s = -(c + (mu + lam) theta*) at the
        latest. Where every pair is attracted, r <= kappa/lam + (r0 - kappa/lam)+ e^(-lam t) gives a second bound.
        """
        kappa, lam, c = self._values()
        side, chance = self.side(norm, theta), self.saddle[1]
        empty = c + (self.rate + lam) * chance
        # At the origin the two logarithms differ by rounding only, which must not make a time negative.
        below = ((torch.log(empty) - torch.log(-side)) / self.rate).clamp_min(0)
        infinite = torch.full_like(below, torch.inf)
        excess = (norm - kappa / lam).clamp_min(0)
        everywhere = torch.where(self._everywhere(), (theta + kappa / lam * excess) / self._fall(), infinite)
        return torch.minimum(torch.where(side < 0, below, infinite), everywhere)

    def _everywhere(self) -> Tensor:
        return self._fall() > 0

    def _fall(self) -> Tensor:
        """The rate at which theta falls once decay has brought the weights down; > 0 where kappa^2 < lam c."""
        kappa, lam, c = self._values()
        return c - kappa**2 / lam

    def _values(self) -> tuple[Tensor, Tensor, Tensor]:
        return _tensor(self.steepness), _tensor(self.decay), _tensor(self.price)


@dataclass(frozen=True, eq=False)
class StepAttraction:
    """Pairs (||w||, theta) from which training's own steps bring theta to 0.

    Adam is not gradient flow: whatever the gradient, a coordinate moves by about the learning rate a step. Theta has
    a step of its own, 1/(c T) at the full price c. So only two bounds are used,

        r_(k+1) <= r_k + speed,    theta_(k+1) <= max(0, theta_k - gate_step (price - kappa r_k)),

    and theta reaches 0 if kappa r < price and theta <= gate_step (price - kappa r)^2 / (2 kappa speed). No larger set
    would do for these bounds (but for the last of the steps).

    Attributes:
        steepness: kappa > 0, of the data term's gradient in u.
        price: r c > 0, the price per example at this step, ramp included.
        gate_step: of theta for a unit of gradient, 1/(c T).
        speed: largest change of ||w|| in a step.

    Raises:
        SettingError: one of them is not finite and greater than 0.
    """

    steepness: Number
    price: Number
    gate_step: Number
    speed: Number

    def __post_init__(self) -> None:
        _check_positive(self, "give bounds > 0")

    def contains(self, norm: Tensor, theta: Tensor) -> Tensor:
        """Whether theta is bound to reach 0: bool."""
        kappa, pull = _tensor(self.steepness), self.price - self.steepness * norm
        return (pull > 0) & (theta <= self.gate_step * pull**2 / (2 * kappa * self.speed))

    def steps_to_close(self, norm: Tensor, theta: Tensor) -> Tensor:
        """Steps in which theta reaches 0 at the latest; infinite outside the set."""
        fall = self.gate_step * (self.price - self.steepness * norm)
        brake = _tensor(self.gate_step * self.steepness * self.speed)
        steps = 2 * theta / (fall + torch.sqrt((fall**2 - 2 * brake * theta).clamp_min(0)))
        return torch.where(self.contains(norm, theta), steps.ceil(), torch.full_like(steps, torch.inf))


def _tensor(value: Number) -> Tensor:
    """A number in double precision: without dimensions it leaves the type of the gates it meets as it is."""
    return value if isinstance(value, Tensor) else torch.tensor(value, dtype=torch.float64)


def _check_positive(bounds: AttractionSet | StepAttraction, cure: str) -> None:
    """Refuse fields that are not finite and greater than 0."""
    for field in fields(bounds):
        value = _tensor(getattr(bounds, field.name))
        good = value.isfinite() & (value > 0)
        if not bool(good.all()):
            worst = float(value[~good].flatten()[0]) if value.dim() else float(value)
            raise SettingError(f"{field.name} must be finite and > 0, not {worst}: {cure.format(name=field.name)}")
