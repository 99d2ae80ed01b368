"""Random numbers by the thousand; on a processor they are made from 16-bit integers.

A small network's step would else go into drawing them. An accelerator draws its own by the way.
"""

import torch
from torch import Tensor

from bayesprune.devices import CPU

LEVELS = 2**16
"""Of a 16-bit integer."""


def draw_words(rows: int, columns: int) -> Tensor:
    """Independent int16 [rows, columns], all values equally likely; four from each number of torch's generator."""
    count = rows * columns
    random = torch.empty(max(-(-count // 4), 1), dtype=torch.int64, device=CPU).random_(-(2**63), None)
    return random.view(torch.int16)[:count].view(rows, columns)


def draw_uniform(rows: int, columns: int, deviation: float, device: torch.device | None = None) -> Tensor:
    """Uniform numbers [rows, columns] around 0 with the given standard deviation."""
    if device is not None and device.type != CPU:
        return torch.rand(rows, columns, device=device).sub_(0.5).mul_(deviation * 12**0.5)
    step = deviation * 12**0.5 / LEVELS
    return draw_words(rows, columns).to(torch.get_default_dtype()).mul_(step).add_(step / 2)


def draw_open(chances: Tensor, rows: int) -> Tensor:
    """Independent gates [rows, J], 1 with chances [J] and else 0.

    On a processor each gate is decided by a 16-bit random integer, so a chance is met to 2^-17; 0 and 1 are met
    exactly. That is six times faster than `torch.bernoulli`, which would cost as much as a layer.
    """
    chances, columns = chances.detach(), len(chances)
    made = torch.empty(rows, columns, dtype=chances.dtype, device=chances.device)
    if chances.device.type != CPU:
        return torch.lt(torch.rand_like(made), chances, out=made)
    levels = torch.round(chances * LEVELS) - LEVELS // 2
    return torch.lt(draw_words(rows, columns), levels, out=made)
