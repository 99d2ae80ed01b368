"""Controls that keep foresight honest: does a method's choice of weights matter, or only how many each layer keeps?

Frankle et al. (arXiv 2009.08576) found that shuffling the masks inside the layers, or drawing the weights anew, does
not hurt methods that prune at initialisation.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import nn

from bayesprune.initial import INITIAL
from bayesprune.training import TrainState

Prune = Callable[[TrainState], None]


def shuffle(state: TrainState) -> None:
    """Move the entries of every layer's mask about at random; each layer keeps as many weights."""
    for name, mask in state.masks.items():
        state.masks[name] = mask.flatten()[torch.randperm(mask.numel())].view_as(mask)


def fresh(state: TrainState, initial: str | None = None) -> None:
    """Draw all weights anew, as the layers' own `reset_parameters` do or by name; the masks stay."""
    for module in state.network.modules():
        reset = getattr(module, "reset_parameters", None)
        if isinstance(module, nn.Module) and callable(reset):
            reset()
    if initial is not None:
        INITIAL[initial](state.network)


CONTROLS: dict[str, Callable[[TrainState], None]] = {"shuffle": shuffle, "fresh": fresh}


def controlled(prunes: Sequence[Prune], control: str, initial: str | None = None) -> list[Prune]:
    """All rounds as one, and after it a control, on the weights that were there before.

    Args:
        prunes: the rounds.
        control: by name.
        initial: the name of what fresh weights are drawn by, where it is not the layers' own way.
    """
    chosen = partial(fresh, initial=initial) if control == "fresh" else CONTROLS[control]
    return [partial(_prune_and_control, prunes, chosen)]


def _prune_and_control(prunes: Sequence[Prune], control: Callable[[TrainState], None], state: TrainState) -> None:
    before = {name: value.clone() for name, value in state.network.state_dict().items()}
    for prune in prunes:
        prune(state)
    state.network.load_state_dict(before)  # pruned weights are zero by now, and a shuffled mask may want them
    control(state)
    state.apply_masks()
