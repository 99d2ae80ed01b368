"""Means first: a network learns with plain weights before their deviations and, where asked, its gates move."""

from torch import Tensor

from bayesprune.inference import onset
from bayesprune.inference.ramp import LearningRamp, Ramp
from bayesprune.training import TrainState

DEVIATION_SHARE = 0.1
"""Share of a phase in which deviations learn beside the means before gates do: each weight that is not needed costs up
to ln(slab/deviation) nats until it has learnt its deviation, and a node has hundreds."""

SHARE, LATEST = 0.025, 0.4
"""Shares of the pruning phase: over which the loss is averaged, and after which the deviations learn at the latest."""

LONGEST = 1_200
"""A longer phase waits no longer than one of so many steps: the posterior needs the rest."""


def make_warm_up(steps: int, *, gates_wait: bool = False) -> LearningRamp:
    """Waits until the loss has fallen and is level, at most 0.4 of a phase of so many steps.

    Why: a weight that starts at a small deviation costs ln(slab/deviation) nats and gets them back at once by a larger
    deviation, and a network whose weights are noise has no gradient left to learn by. On a residual network of 5,700
    weights and 1,257 examples deviations reached the slab in 90 steps, and the loss never fell.

    Args:
        steps: of the phase.
        gates_wait: whether the ramp's factor, for which gates wait, then rises over `DEVIATION_SHARE` of the phase.
    """
    steps = min(steps, LONGEST)
    rise = round(DEVIATION_SHARE * steps) if gates_wait else 0
    return LearningRamp(rise, round(LATEST * steps), max(5.0, SHARE * steps))


def observe(warm_up: Ramp | None, ramp: Ramp | None, state: TrainState, loss: float | Tensor) -> None:
    """Show a loss to the ramps, once to each where both are the same, and to what all wait for (`onset`)."""
    for one in {id(each): each for each in (warm_up, ramp) if each is not None}.values():
        one.observe(state, loss)
    onset.observe(state, loss)
