"""What happens to the gates between optimizer steps: settling, holding, shrinking, keeping the trace."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from bayesprune.devices import CPU
from bayesprune.errors import SettingError
from bayesprune.inference.deciding import Decision, full
from bayesprune.inference.last_seen import LastSeen, look
from bayesprune.inference.objective import gate_optimizer, guide_of
from bayesprune.inference.removal import Closed, RemovalRule
from bayesprune.inference.watch import Best, slower
from bayesprune.models.prices import Price
from bayesprune.pruners.rounding import rounded_gates
from bayesprune.run.method import GatePosterior
from bayesprune.training import Memory, TrainState


@dataclass(frozen=True)
class Shrink:
    """Every so many steps remove the channels of gates that the rule lets go, never a group's last one.

    Attributes:
        every: steps.
        rule: closed gates by default.
        round_to: every group keeps a multiple of so many channels; of closed ones those that are worth most stay.
    """

    every: int = 100
    rule: RemovalRule = field(default_factory=Closed)
    round_to: int = 1

    def __post_init__(self) -> None:
        if self.every < 1:
            raise SettingError(f"shrink every must be >= 1 step, not {self.every}")

    def __call__(self, state: TrainState) -> None:
        """Let the rule see the step; shrink when it is time."""
        self.rule.observe(state)
        if state.phase_step % self.every == 0:
            look(state)
            closed = self.rule.removable(state).cpu()
            usefulness = -gate_optimizer(state).average(guide_of(state).theta).cpu()
            order = usefulness.argsort(stable=True)
            remove(state, rounded_gates(state.structure, ~closed, order[closed[order]], self.round_to, up=True))


@dataclass(frozen=True)
class Settle:
    """Sets the horizon of the step to come: shorter towards the end, for marginal gates; longer after undone rises.

    Attributes:
        horizon: the horizon after so many steps of the phase.
    """

    horizon: Callable[[int], float]

    def __call__(self, state: TrainState) -> None:
        """Set it."""
        gate_optimizer(state).horizon = self.horizon(state.phase_step) * slower(state)


@torch.no_grad()
def hold_last(state: TrainState) -> None:
    """Keep one gate open wherever all would close: the best of every group, and of what a layer reads or writes.

    A network with a layer that passes nothing learns nothing, so all its other gates would look useless. An update of
    the loop; it projects theta onto what is left of the box without those points.
    """
    theta = guide_of(state).theta
    is_open = theta >= 0.5
    if state.structure.sections:  # what is inside a section is needed until that is closed
        gates = state.structure.section_gates.to(theta.device)
        is_open = is_open.index_copy(0, gates, theta[gates] > 0)
    if theta.device.type != CPU:
        theta.masked_fill_(state.held().reopened(is_open, theta) & ~is_open, 1.0)
        return
    if state.structure.passes_on(is_open):
        return
    needed = state.structure.protect(is_open, theta) & ~is_open
    theta.masked_fill_(needed, 1.0)


def of_gates(state: TrainState, name: str, said: object) -> Tensor:
    """What a part of the user's says of the gates, bool [J], on the CPU.

    Raises:
        SettingError: naming the part, where it says anything else.
    """
    wanted = state.structure.gate_count
    if isinstance(said, Tensor) and said.dtype == torch.bool and tuple(said.shape) == (wanted,):
        return said.detach().cpu()
    given = f"{said.dtype} {list(said.shape)}" if isinstance(said, Tensor) else type(said).__name__
    raise SettingError(f"{name} gives {given}: torch.bool [{wanted}] is needed, one for each gate that is left")


def remove(state: TrainState, open_gates: Tensor) -> None:
    """Shrink the network to the open gates; every group keeps at least the gate with the largest theta."""
    theta = guide_of(state).theta.detach().cpu()
    protected = state.structure.protect(open_gates, theta)
    if not bool(protected.all()):
        state.shrink(protected)


@dataclass
class Trace(Memory):
    """Inclusion probabilities [J at the start] after every epoch of pruning, and the steps done by then."""

    theta: list[Tensor] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)


def describe(state: TrainState, price: Price | None = None, alive: float = 0.0) -> dict[str, object]:
    """Entries of an epoch's record; keeps theta's trace on the way.

    They are undecided gates, open gates a group, how often a rise was undone, and at a price what is open costs (nats).

    Args:
        state: of the run.
        price: of what is open.
        alive: gates count as open whose inclusion probability is above this.
    """
    theta, trace = guide_of(state).theta.detach().cpu(), state.memory(Trace)
    if state.memory(Decision).theta is None:
        trace.theta.append(full(state, theta))
        trace.steps.append(state.step)
    above = {name: int((theta[place] > alive).sum()) for name, place in state.structure.slices().items()}
    undecided = int(((theta > 0) & (theta < 1)).sum())
    record: dict[str, object] = {"undecided": undecided, "alive": above, "undone": state.memory(Best).undone}
    if price is not None:
        gates = state.structure.protect(theta > 0.5, theta).to(theta.dtype)
        record["price"] = price.total(state.structure, state.expected_cost(), gates)
    return record


def posterior(state: TrainState, price: Price | None = None, size: int = 1) -> GatePosterior:
    """What the finished run says of the structure.

    Args:
        state: of the run.
        price: of open gates; None where there is none to speak of.
        size: training examples N.
    """
    decided = torch.zeros(state.structure.initial_gate_count, dtype=torch.uint8)
    decided[state.structure.original_gates()] = 1
    decision, trace = state.memory(Decision), state.memory(Trace)
    assert decision.theta is not None and decision.reason is not None
    theta = torch.stack(trace.theta or [decision.theta])
    steps = torch.tensor(trace.steps or [0])
    nats = None if price is None else full(state, _prices(state, price))
    rise = state.memory(LastSeen).rise
    seen = None if rise is None else size * rise
    return GatePosterior(decision.theta, decided, theta, steps, decision.reason, nats, seen)


@torch.no_grad()
def _prices(state: TrainState, price: Price) -> Tensor:
    """By how many nats the price of what is open falls when each gate [J] alone closes."""
    cost, gates = state.expected_cost(), torch.ones(state.structure.gate_count, dtype=torch.float64)
    whole, saved = price.total(state.structure, cost, gates), torch.zeros_like(gates)
    for gate in range(len(gates)):
        gates[gate] = 0
        saved[gate] = whole - price.total(state.structure, cost, gates)
        gates[gate] = 1
    return saved.clamp_min(0)
