"""Random numbers by the thousand, made from 16-bit integers: a small network's step would else go into drawing them."""

import torch
from torch import Tensor

LEVELS = 2**16
"""Of a 16-bit integer."""


def draw_words(rows: int, columns: int) -> Tensor:
    """Independent int16 [rows, columns], all values equally likely; four from each number of torch's generator."""
    count = rows * columns
    random = torch.empty(max(-(-count // 4), 1), dtype=torch.int64).random_(-(2**63), None)
    return random.view(torch.int16)[:count].view(rows, columns)


def draw_uniform(rows: int, columns: int, deviation: float) -> Tensor:
    """Uniform numbers [rows, columns] around 0 with the given standard deviation."""
    step = deviation * 12**0.5 / LEVELS
    return draw_words(rows, columns).to(torch.get_default_dtype()).mul_(step).add_(step / 2)
