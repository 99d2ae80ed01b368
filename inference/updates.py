"""What happens to the gates between optimizer steps: settling, shrinking, deciding, keeping the trace."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from bayesprune.errors import SettingError
from bayesprune.inference.objective import gate_optimizer, guide_of
from bayesprune.inference.removal import Closed, RemovalRule
from bayesprune.run.method import GatePosterior
from bayesprune.training import TrainState


@dataclass(frozen=True)
class Shrink:
    """Every so many steps remove the channels of gates that the rule lets go, never a group's last one.

    Attributes:
        every: steps.
        rule: closed gates by default.
    """

    every: int = 100
    rule: RemovalRule = field(default_factory=Closed)

    def __post_init__(self) -> None:
        if self.every < 1:
            raise SettingError(f"shrink every must be >= 1 step, not {self.every}")

    def __call__(self, state: TrainState) -> None:
        """Let the rule see the step; shrink when it is time."""
        self.rule.observe(state)
        if state.phase_step % self.every == 0:
            remove(state, ~self.rule.removable(state))


@dataclass(frozen=True)
class Settle:
    """Sets the horizon of the step to come, so that marginal gates reach 0 or 1 towards the end.

    Attributes:
        horizon: the horizon after so many steps of the phase.
    """

    horizon: Callable[[int], float]

    def __call__(self, state: TrainState) -> None:
        """Set it."""
        gate_optimizer(state).horizon = self.horizon(state.phase_step)


def remove(state: TrainState, open_gates: Tensor) -> None:
    """Shrink the network to the open gates; every group keeps at least the gate with the largest theta."""
    theta = guide_of(state).theta.detach()
    protected = state.structure.protect(open_gates, theta)
    if not bool(protected.all()):
        state.shrink(protected)


def decide(state: TrainState) -> None:
    """End of pruning: keep theta > 1/2, close the rest, and remember what was undecided.

    Afterwards every gate is 0 or 1: `values["theta"]` [J at the start] holds theta before this last decision.
    """
    theta = guide_of(state).theta
    state.values["theta"] = full_theta(state)
    remove(state, theta.detach() > 0.5)
    with torch.no_grad():
        guide_of(state).theta.fill_(1.0)


def full_theta(state: TrainState) -> Tensor:
    """theta [J at the start]: 0 where the gate was removed."""
    full = torch.zeros(state.structure.initial_gate_count)
    full[state.structure.original_gates()] = guide_of(state).theta.detach()
    return full


def describe(state: TrainState) -> dict[str, object]:
    """Entries of an epoch's record: undecided gates and open gates a group; keeps theta's trace on the way."""
    theta = guide_of(state).theta.detach()
    if "theta" not in state.values:
        state.values.setdefault("trace", []).append(full_theta(state))
        state.values.setdefault("trace_steps", []).append(state.step)
    alive = {name: int((theta[place] > 0).sum()) for name, place in state.structure.slices().items()}
    return {"undecided": int(((theta > 0) & (theta < 1)).sum()), "alive": alive}


def posterior(state: TrainState) -> GatePosterior:
    """What the finished run says of the structure."""
    decided = torch.zeros(state.structure.initial_gate_count, dtype=torch.uint8)
    decided[state.structure.original_gates()] = 1
    trace = state.values.get("trace") or [state.values["theta"]]
    steps = state.values.get("trace_steps") or [0]
    return GatePosterior(state.values["theta"], decided, torch.stack(list(trace)), torch.tensor(steps))
