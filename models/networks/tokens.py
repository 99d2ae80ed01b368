"""What networks of token sequences share: how long a sequence is, and which state its answer is read from."""

from collections.abc import Sequence

import torch
from torch import Tensor

from bayesprune.errors import InputShapeError

READS = ("last_letter", "last_step")


def lengths_of(tokens: Tensor) -> Tensor:
    """[B], tokens [B, L] up to the last that is not 0; 1 for a sequence of nothing but 0."""
    places = torch.arange(1, tokens.shape[1] + 1, device=tokens.device)
    return ((tokens > 0) * places).amax(1).clamp(min=1)


def state_read(states: Tensor, lengths: Tensor, read: str) -> Tensor:
    """The states [B, H] that are read, of all [B, L, H]: at the last letter, or at the last step of the batch."""
    if read == "last_step":
        return states[:, -1]
    return states[torch.arange(len(states), device=states.device), lengths - 1]


def check_tokens(name: str, input_shape: Sequence[int]) -> None:
    """Refuse inputs that are no sequences of tokens.

    Raises:
        InputShapeError: naming the shape.
    """
    if len(tuple(input_shape)) != 1:
        raise InputShapeError(
            f"{name} cannot take inputs of shape {tuple(input_shape)}: it reads sequences of tokens, as (60,)"
        )
