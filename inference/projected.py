"""The step on inclusion probabilities: price-normalised, averaged, projected onto [0, 1]."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from bayesprune.errors import SettingError


class ProjectedGateDescent(Optimizer):
    """theta <- clip01(theta - clip((m/c + r)/T, -limit, limit)), m the moving average of the data gradient d.

    c is the price per training example (ln gamma / N), r the ramp's factor at this step, and d = dC/dtheta. The step
    is divided by the price, so theta falls from 1 to 0 in T steps when a unit is useless, whatever gamma, N or layer;
    the preconditioning keeps all vertices (recipe, section 1). It is an update that autograd knows nothing of.

    Attributes:
        prices: c [J] before the ramp; set by the objective at every step.
        ramp: r in [0, 1], likewise.
        stands_for: steps that theta's gradient stands for, likewise; 0 where this step has no estimate of it. A step
            without one moves theta by the average as it is; an estimate that stands for k steps enters the averages
            with the weight of k equal ones, so that their memory lasts equally many steps.
        waits: whether theta stays where it is, likewise; the averages go on.
        opens: whether theta rises by the limit instead of waiting, likewise.

    Args:
        parameters: theta; its `grad` holds d + r c.
        horizon: T.
        smoothing: of the moving average.
        limit: largest step.
        slow_smoothing: of a second average of d + r c, for the safe removal rule; None keeps none.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        horizon: float,
        *,
        smoothing: float = 0.98,
        limit: float = 0.05,
        slow_smoothing: float | None = None,
    ) -> None:
        if not horizon >= 1:
            raise SettingError(f"horizon must be >= 1 step, not {horizon}")
        if not 0 <= smoothing < 1:
            raise SettingError(f"smoothing must lie in [0, 1), not {smoothing}")
        if not limit > 0:
            raise SettingError(f"limit must be > 0, not {limit}")
        if slow_smoothing is not None and not 0 <= slow_smoothing < 1:
            raise SettingError(f"slow_smoothing must lie in [0, 1), not {slow_smoothing}")
        self.prices: Tensor | None = None
        self.ramp, self.stands_for, self.waits, self.opens = 1.0, 1, False, False
        self._smoothing, self._limit, self._slow = smoothing, limit, slow_smoothing
        super().__init__(parameters, {"horizon": float(horizon)})

    @property
    def horizon(self) -> float:
        """T in steps; kept among the groups' settings, so that `state_dict` holds it."""
        horizon: float = self.param_groups[0]["horizon"]
        return horizon

    @horizon.setter
    def horizon(self, horizon: float) -> None:
        for group in self.param_groups:
            group["horizon"] = horizon

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]  # no closure is used
        """One projected step of every gate."""
        if self.prices is None:
            raise SettingError("set `prices` before the first step")
        for group in self.param_groups:
            for theta in group["params"]:
                self._step(theta, self.prices, group["horizon"])

    def gate_step(self, prices: Tensor) -> Tensor:
        """Theta's step [J] for a unit of gradient, 1/(c T); where c T is so short that the limit cuts, limit/c."""
        return min(1 / self.horizon, self._limit) / prices

    def average(self, theta: nn.Parameter) -> Tensor:
        """The moving average m [J] of the data gradient, per training example; 0 before the first step."""
        memory = self.state.get(theta)
        if not memory:
            return torch.zeros_like(theta)
        average: Tensor = memory["average"] / (1 - self._smoothing ** memory["count"])
        return average

    def slow_average(self, theta: nn.Parameter) -> Tensor:
        """The slow average of d + r c [J], per training example.

        Raises:
            SettingError: none is kept.
        """
        if self._slow is None:
            raise SettingError("no slow average is kept: give slow_smoothing, e.g. 0.998")
        memory = self.state[theta]
        average: Tensor = memory["slow"] / (1 - self._slow ** memory["count"])
        return average

    def _step(self, theta: nn.Parameter, prices: Tensor, horizon: float) -> None:
        if self.stands_for:
            self._take_in(theta, prices)
        elif theta not in self.state:
            return  # nothing is known of the gates yet
        if self.waits:
            theta.add_(self._limit * self.opens).clamp_(0, 1)
            return
        step = ((self.average(theta) / prices + self.ramp) / horizon).clamp_(-self._limit, self._limit)
        theta.sub_(step).clamp_(0, 1)

    def _take_in(self, theta: nn.Parameter, prices: Tensor) -> None:
        """Bring the averages up to date."""
        memory: dict[str, Any] = self.state[theta]
        if not memory:
            memory["count"] = 0
            memory["average"] = torch.zeros_like(theta)
            if self._slow is not None:
                memory["slow"] = torch.zeros_like(theta)
        assert theta.grad is not None
        memory["count"] += self.stands_for
        data = torch.sub(theta.grad, prices, alpha=self.ramp)
        memory["average"].lerp_(data, 1 - self._smoothing**self.stands_for)
        if self._slow is not None:
            memory["slow"].lerp_(theta.grad, 1 - self._slow**self.stands_for)
