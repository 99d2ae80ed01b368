"""The optimizer that `pyro.infer.SVI` takes for a gated network: the projected step for gates, another for the rest."""

from collections.abc import Callable, Iterable
from typing import Any

import pyro
import torch
from pyro.optim import PyroOptim
from torch import Tensor
from torch.optim import Optimizer

from bayesprune.errors import SettingError
from bayesprune.inference.fit import check_fit
from bayesprune.inference.guides import GateGuide
from bayesprune.inference.projected import ProjectedGateDescent
from bayesprune.inference.ramp import LinearRamp
from bayesprune.models.gated import GatedModel
from bayesprune.models.priors.gates import FlatteningGatePrior
from bayesprune.training.phase import MakeOptimizer, adam


class GatedOptim(PyroOptim):
    """`ProjectedGateDescent` for theta and one torch optimizer for everything else.

        optim = GatedOptim(model, guide, horizon=2000, ramp=500)
        svi = pyro.infer.SVI(model, guide, optim, loss=GatedELBO())
        svi.step(inputs, labels)

    A Pyro loss counts nats of the whole training set; gradients are divided by the model's N, so that steps are those
    of the training loop. The prices are those of the model's gate prior. With a ramp the optimizer sets them there: at
    step t they are `min(1, t / ramp)` of their height.

    Attributes:
        gates: the optimizer of theta.
        rest: that of the other parameters; None before the first step.
        steps: that were made.

    Args:
        model: whose gate prior has prices.
        guide: with theta.
        horizon: T of `ProjectedGateDescent`.
        ramp: steps until prices have their full height; 0 for none.
        prices: full prices ln gamma [J] in nats at theta [J], where they depend on it; else the gate prior's.
        rest: makes the optimizer of the other parameters; Adam with rate 1e-3 by default.
        smoothing: of `ProjectedGateDescent`, like `limit`.
        limit: largest step.

    Raises:
        SettingError: model and guide do not fit, or the gate prior has no prices.
    """

    def __init__(
        self,
        model: GatedModel,
        guide: GateGuide,
        horizon: float,
        *,
        ramp: int = 0,
        prices: Callable[[Tensor], Tensor] | None = None,
        rest: MakeOptimizer | None = None,
        smoothing: float = 0.98,
        limit: float = 0.05,
    ) -> None:
        super().__init__(torch.optim.Adam, {})  # the class that SVI asks for; what it holds is not used
        check_fit(model, guide)
        if not isinstance(model.gate_prior, FlatteningGatePrior):
            raise SettingError(
                f"the projected step needs prices, and {type(model.gate_prior).__name__} has none: "
                "take FlatteningGatePrior"
            )
        self._model, self._guide, self._prior = model, guide, model.gate_prior
        self._ramp, self._prices, self._make = LinearRamp(ramp).steps, prices, rest or adam(1e-3)
        self.gates = ProjectedGateDescent([guide.theta], horizon, smoothing=smoothing, limit=limit)
        self.rest: Optimizer | None = None
        self.steps = 0
        self._waiting: dict[str, Any] | None = None
        self._full = self._prior.log_gamma.clone()
        self._set_prices()

    def __call__(self, params: Iterable[Tensor], *args: Any, **kwargs: Any) -> None:
        """One step of every parameter that the loss has used.

        Raises:
            SettingError: theta is not among them.
        """
        theta, found = self._guide.theta, {id(p): p for p in params}
        if id(theta) not in found:
            raise SettingError("the optimizer was made for another guide: theta is none of the parameters of this step")
        if self._varies:
            gates_prices, factor = self._full, self._factor
        else:
            gates_prices, factor = self._prior.log_gamma, 1.0
        size = self._model.size
        for parameter in found.values():
            if parameter.grad is not None:
                parameter.grad.div_(size)
        self._take_up([p for p in self._ordered(found) if p is not theta])
        self.gates.prices, self.gates.ramp = gates_prices.to(theta) / size, factor
        if self.rest is not None:
            self.rest.step()
        self.gates.step()
        self.steps += 1
        self._set_prices()

    @property
    def _varies(self) -> bool:
        """Whether the optimizer is who sets the prices."""
        return bool(self._ramp) or self._prices is not None

    @property
    def _factor(self) -> float:
        """The ramp's factor at the step to come."""
        return min(1.0, (self.steps + 1) / self._ramp) if self._ramp else 1.0

    def _set_prices(self) -> None:
        """Tell the gate prior the prices of the step to come."""
        if self._prices is not None:
            self._full = self._prices(self._guide.theta.detach())
        if self._varies:
            self._prior.set_log_gamma(self._full * self._factor)

    def _ordered(self, found: dict[int, Tensor]) -> list[Tensor]:
        """Parameters in the order of guide and model, which a set has not; others by their names in Pyro's store."""
        own = [p for module in (self._guide, self._model) for p in module.parameters() if id(p) in found]
        known = {id(p) for p in own}
        store = pyro.get_param_store()
        others = [p for key, p in found.items() if key not in known]
        return list(dict.fromkeys(own)) + sorted(others, key=lambda p: str(store.param_name(p)))

    def _take_up(self, parameters: list[Any]) -> None:
        """Make the optimizer of the rest, or bring in parameters that it has not met."""
        if self.rest is None:
            if not parameters:
                return
            self.rest = self._make(parameters)
        else:
            met = {id(p) for group in self.rest.param_groups for p in group["params"]}
            new = [p for p in parameters if id(p) not in met]
            if new:
                self.rest.add_param_group({"params": new})
        if self._waiting is not None:
            self.rest.load_state_dict(self._waiting)
            self._waiting = None

    def get_state(self) -> dict[str, Any]:
        """Steps and the states of both optimizers."""
        rest = self._waiting if self.rest is None else self.rest.state_dict()
        return {"steps": self.steps, "gates": self.gates.state_dict(), "rest": rest, "full": self._full.clone()}

    def set_state(self, state_dict: dict[str, Any]) -> None:
        """Go on from a state; parameters and guide are restored by their own state dictionaries."""
        self.steps, self._full = state_dict["steps"], state_dict["full"].clone()
        self.gates.load_state_dict(state_dict["gates"])
        self._waiting = state_dict["rest"]
        if self.rest is not None and self._waiting is not None:
            self.rest.load_state_dict(self._waiting)
            self._waiting = None
        self._set_prices()

    def load(self, filename: str, map_location: Any = None) -> None:
        """Refuse Pyro's file, reading which may execute what it holds.

        Raises:
            SettingError: always.
        """
        raise SettingError("Pyro's optimizer files are pickles, which are not read here: give set_state a state")
