"""What the rule of a law does to the network: channels go during training and at the end, multipliers are folded in."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from bayesprune.inference.deciding import settle
from bayesprune.inference.differences import Choice
from bayesprune.inference.multipliers.guide import multiplier_guide
from bayesprune.inference.multipliers.objective import pruned_multipliers
from bayesprune.inference.review import fell
from bayesprune.inference.updates import remove
from bayesprune.structure import fold_multipliers
from bayesprune.training import Memory, TrainState


@dataclass(frozen=True)
class RemoveQuiet:
    """After every step: hold the law's parameters, count how long the rule has let channels go, and remove those.

    Attributes:
        steps: for which the rule must have let a channel go, without a break.
        every: steps between removals; 0 leaves all to the end.
    """

    steps: int
    every: int

    @torch.no_grad()
    def __call__(self, state: TrainState) -> None:
        """Hold, count and remove."""
        guide = multiplier_guide(state)
        guide.law.hold()
        if not self.every:
            return
        guide.quiet.copy_(torch.where(guide.stays, 0.0, guide.quiet + 1))
        if state.phase_step % self.every == 0:
            remove(state, (guide.quiet < self.steps).cpu())


@dataclass
class Emptied(Memory):
    """Groups all of whose channels the rule let go; the best one of each stayed."""

    names: list[str] = field(default_factory=list)


class Apply:
    """The end: channels stay by the rule, one a group at least, and their multipliers become part of the weights.

    Args:
        began: the gates, of all there ever were, that the run began with.
    """

    def __init__(self, began: Tensor) -> None:
        self.began = began

    def __call__(self, state: TrainState) -> None:
        """Fold, decide and shrink."""
        guide = multiplier_guide(state)
        score = guide.theta.detach().cpu()
        stays = score > guide.law.keep_above
        places = state.structure.slices()
        state.memory(Emptied).names = [name for name, place in places.items() if not bool(stays[place].any())]
        chosen = state.structure.consistent(state.structure.protect(stays, score))
        fold_multipliers(state.network, state.structure, pruned_multipliers(state))
        state.masks |= guide.weight_masks()
        state.apply_masks()
        settle(state, Choice(chosen), self.began, guide.law.keep_above)


def review(state: TrainState, validation: int = 0) -> list[str]:
    """Lines where the rule has closed whole layers, and where the network once was better.

    Args:
        state: of the finished run.
        validation: examples of the validation split.
    """
    names, worse = state.memory(Emptied).names, fell(state, validation)
    if not names:
        return worse
    return [
        *worse,
        f"the rule let go of every channel of {', '.join(map(repr, names))}, and the best one was kept: give a smaller "
        "weight of the penalty, a longer warm_up or more epochs",
    ]
