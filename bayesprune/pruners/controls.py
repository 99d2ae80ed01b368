"""Controls that keep foresight honest: does a method's choice of weights matter, or only how many each layer keeps?

Frankle et al. (arXiv 2009.08576) found that shuffling the masks inside the layers, or drawing the weights anew, does
not hurt methods that prune at initialisation.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import nn

from bayesprune.training import TrainState

Prune = Callable[[TrainState], None]


def shuffle(state: TrainState) -> None:
    """Move the entries of every layer's mask about at random; each layer keeps as many weights."""
    for name, mask in state.masks.items():
        state.masks[name] = mask.flatten()[torch.randperm(mask.numel())].view_as(mask)


def fresh(state: TrainState) -> None:
    """Draw all weights anew, as the layers' own `reset_parameters` do; the masks stay."""
    for module in state.network.modules():
        reset = getattr(module, "reset_parameters", None)
        if isinstance(module, nn.Module) and callable(reset):
            reset()


CONTROLS: dict[str, Callable[[TrainState], None]] = {"shuffle": shuffle, "fresh": fresh}


def controlled(prunes: Sequence[Prune], control: str) -> list[Prune]:
    """All rounds as one, and after it a control, on the weights that were there before."""
    return [partial(_prune_and_control, prunes, CONTROLS[control])]


def _prune_and_control(prunes: Sequence[Prune], control: Callable[[TrainState], None], state: TrainState) -> None:
    before = {name: value.clone() for name, value in state.network.state_dict().items()}
    for prune in prunes:
        prune(state)
    state.network.load_state_dict(before)  # pruned weights are zero by now, and a shuffled mask may want them
    control(state)
    state.apply_masks()
