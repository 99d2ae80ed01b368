"""Controls that keep foresight honest: does a method's choice of weights matter, or only how many each layer keeps?

Frankle et al. (arXiv 2009.08576) found that shuffling the masks inside the layers, or drawing the weights anew, does
not hurt methods that prune at initialisation.
"""

from collections.abc import Sequence
from functools import partial

import torch
from torch import nn

from bayesprune.errors import SettingError
from bayesprune.training import Start, TrainState
from bayesprune.training.initial import INITIAL


def shuffle(state: TrainState) -> None:
    """Move the entries of every layer's mask about at random; each layer keeps as many weights."""
    for name, mask in state.masks.items():
        state.masks[name] = mask.flatten()[torch.randperm(mask.numel()).to(mask.device)].view_as(mask)


def shuffle_inputs(state: TrainState) -> None:
    """Move a mask's entries about within every unit, which keeps as many inputs; in a convolution kernel's columns.

    It is the random control of Liu and Zenke's code (arXiv 2006.08228), which shuffles along the first axis of weights
    [inputs, outputs] and [height, width, inputs, outputs]. In a kernel only the rows change places.
    """
    for name, mask in state.masks.items():
        axis = 1 if mask.dim() == 2 else 2
        order = torch.rand(mask.shape).argsort(axis).to(mask.device)
        state.masks[name] = mask.gather(axis, order)


def fresh(state: TrainState, initial: str = "own") -> None:
    """Draw all weights anew, as the layers' own `reset_parameters` do, or by name; the masks stay."""
    for module in state.network.modules():
        reset = getattr(module, "reset_parameters", None)
        if isinstance(module, nn.Module) and callable(reset):
            reset()
    INITIAL[initial](state.network)


def check_movable(control: str | None, state: TrainState) -> None:
    """Refuse to move masks about in a network that was pruned before: pruned weights would come back.

    Raises:
        SettingError: names the control.
    """
    if control in ("shuffle", "shuffle-inputs") and state.masks:
        raise SettingError(
            f"control={control!r} moves masks about, and the network has masks of an earlier pruning, or of a graph: "
            "leave it out, or start from a network that was not pruned"
        )


CONTROLS: dict[str, Start] = {
    "shuffle": shuffle,
    "shuffle-inputs": shuffle_inputs,
    "fresh": fresh,
}


def controlled(prunes: Sequence[Start], control: str, initial: str = "own") -> list[Start]:
    """All rounds as one, and after it a control, on the weights that were there before.

    Args:
        prunes: the rounds.
        control: by name.
        initial: what fresh weights are drawn by; "own" is the layers' own way.
    """
    chosen = partial(fresh, initial=initial) if control == "fresh" else CONTROLS[control]
    return [partial(_prune_and_control, prunes, chosen)]


def _prune_and_control(prunes: Sequence[Start], control: Start, state: TrainState) -> None:
    before = {name: value.clone() for name, value in state.network.state_dict().items()}
    for prune in prunes:
        prune(state)
    state.network.load_state_dict(before)  # pruned weights are zero by now, and a shuffled mask may want them
    control(state)
    state.apply_masks()
