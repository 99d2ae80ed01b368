"""Nothing is judged before anything is learnt: prices, priors and noise wait until the loss has left that of a guess.

While a network still answers like a constant its loss has next to no gradient. Adam's steps do not know how large a
gradient is, so whatever else the objective holds moves weights and multipliers at full speed then: the Gaussian prior
takes all weights to 0, a penalty takes all multipliers to 0, deviations grow to the prior's. After that there is
nothing to learn by, and gates are decided in a network that knows nothing.

All members of the family wait in the same way. Until the loss is well below that of the best constant answer they
minimise the mean loss alone, weights have no noise, and what is learnt beside the network's parameters stays where it
is. The wait ends after a share of the pruning phase, and the run says so then.
"""

from dataclasses import dataclass

from torch import Tensor

from bayesprune.data import Data
from bayesprune.devices import random_apart
from bayesprune.evaluation.constant import best_constant
from bayesprune.inference.averages import Averages
from bayesprune.training import TrainState

LEFT, LEFT_LEVEL = 0.25, 0.05
"""A loss has left a guess's when it is below it by the first of these shares of it, or by the second and level."""

SHARE, LATEST, LONGEST = 0.025, 0.4, 1_200
"""Shares of the pruning phase: over which the loss is averaged, and after which nothing waits any more; a longer phase
averages over as many steps as one of `LONGEST`."""

LEAST_MEMORY = 5.0


@dataclass
class Onset(Averages):
    """How far a run is that waits for its loss.

    Attributes:
        guess: loss of the best constant answer; None where it is not known: then the first loss stands for it.
        latest: step of the pruning phase from which on nothing waits; 0 for runs that never wait.
        memory: of the recent average of the loss, in steps.
        begun: the step at which the wait was over; -1 while it lasts.
        left: whether the loss had left the guess's by then.
    """

    guess: float | None = None
    latest: int = 0
    memory: float = LEAST_MEMORY
    begun: int = -1
    left: bool = False


def prepare(state: TrainState, data: Data, steps: int, *, own_likelihood: bool = False) -> None:
    """Let a run wait, whose pruning phase has so many steps.

    Args:
        state: before the first step.
        data: whose training targets say what the best constant answer is.
        steps: of the pruning phase.
        own_likelihood: whether gates learn by another likelihood than the task's, whose constant is not known.
    """
    with random_apart(state.place.device, 0):  # a loader of the user's may draw
        constant = None if own_likelihood else best_constant(state.task, state.task.likelihood(), data.train)
    onset = state.memory(Onset)
    onset.guess = None if constant is None else constant.loss
    onset.latest = round(LATEST * steps)
    onset.memory = max(LEAST_MEMORY, SHARE * min(steps, LONGEST))


def waits(state: TrainState) -> bool:
    """Whether the loss still has to leave that of a guess."""
    onset = state.memory(Onset)
    return onset.begun < 0 and state.phase_step < onset.latest


def stalls(state: TrainState) -> bool:
    """Whether the run waits, and the loss is where it was at first: then noise of all kinds is left out."""
    onset = state.memory(Onset)
    return waits(state) and onset.says(onset.memory) and onset.recent > _guess(onset) * (1 - LEFT_LEVEL)


def kind(state: TrainState) -> str:
    """What a coming step does on account of the wait: draws cost, and are left out while it lasts."""
    return "stalling" if stalls(state) else "waiting" if waits(state) else ""


def since(state: TrainState) -> int:
    """Steps that were done after the wait."""
    onset = state.memory(Onset)
    return state.phase_step - max(onset.begun, 0) if onset.begun >= 0 else max(0, state.phase_step - onset.latest)


def risen(state: TrainState, steps: int) -> float:
    """What rises from 0 to 1 in equal parts over so many steps after the wait; 0 while it lasts."""
    if waits(state):
        return 0.0
    return min(1.0, (since(state) + 1) / steps) if steps else 1.0


def observe(state: TrainState, loss: float | Tensor) -> None:
    """After the loss of a step, the mean negative log-likelihood of its mini-batch."""
    onset = state.memory(Onset)
    if not waits(state):
        return
    for one in onset.arrived(state, loss):
        onset.take_in(one, onset.memory)
    if onset.seen < onset.memory:
        return
    guess = _guess(onset)
    share = LEFT_LEVEL if onset.says(onset.memory) and not onset.falls else LEFT
    if onset.recent < guess - share * abs(guess):
        onset.begun, onset.left, onset.unread = state.phase_step + 1, True, []


def direct(state: TrainState) -> None:
    """Let all that is learnt beside the network's parameters stay for the step to come, or learn at its rate."""
    for name in state.optimizers:
        if name != "network":
            hold(state, name, waits(state))


def hold(state: TrainState, name: str, stays: bool) -> None:
    """Let what an optimizer learns stay where it is for the step to come, or learn at its rate.

    Args:
        state: of the run.
        name: of the optimizer; nothing is done where there is none, or it has no rate.
        stays: whether it stays.
    """
    optimizer = state.optimizers.get(name)
    for group in () if optimizer is None else optimizer.param_groups:
        if "lr" in group:
            group.setdefault("initial_lr", group["lr"])
            group["lr"] = 0.0 if stays else group["initial_lr"]


def review(state: TrainState) -> list[str]:
    """A line where the loss never left that of a guess while it was waited for."""
    onset = state.memory(Onset)
    if onset.left or not onset.latest or not onset.seen:
        return []
    constant = "the first one" if onset.guess is None else f"that of the best constant answer ({onset.guess:.3g})"
    return [
        f"in the first {onset.latest:,} steps the loss ({onset.recent:.3g}) never fell notably below {constant}, so "
        "gates and noise were learnt in a network that knew next to nothing: give more epochs, or a learning_rate at "
        "which the network learns by itself"
    ]


def _guess(onset: Onset) -> float:
    """The loss that must be left."""
    return onset.first if onset.guess is None else onset.guess
