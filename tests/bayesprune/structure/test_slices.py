"""Slices that leave the channels alone are no obstacle; those of channels tie them."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from bayesprune.structure import find

SERIES = torch.randn(2, 1, 12, generator=torch.Generator().manual_seed(0))
Step = Callable[[Tensor], Tensor]


class Sliced(nn.Module):
    """Something is done to what the first layer writes; layers over channels or over the last axis."""

    def __init__(self, step: Step, *, linear: bool = False) -> None:
        super().__init__()
        self.step = step
        sizes = ((5, 8), (8, 6), (6, 2)) if linear else ((1, 8), (8, 6), (6, 2))
        self.a, self.b, self.c = (nn.Linear(*pair) if linear else nn.Conv1d(*pair, 1) for pair in sizes)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.c(self.b(self.step(self.a(inputs)).relu()).relu())
        return outputs


OVER_TIME: dict[str, Step] = {
    "tail": lambda h: h[..., 5:],
    "head": lambda h: h[:, :, :4],
    "from the end": lambda h: h[..., -7:],
    "both ends": lambda h: h[..., 2:-2],
    "every second": lambda h: h[..., 1::2],
    "narrow": lambda h: h.narrow(2, 3, 5),
    "one place": lambda h: h[..., 3:4],
    "two crops": lambda h: h[..., :-2] + h[..., 2:],
    "crop of a sum": lambda h: (h + h.tanh())[..., -h.shape[-1] + 2 :],
}


@pytest.mark.parametrize("name", OVER_TIME)
def test_slices_over_time_leave_the_channels_alone(name: str) -> None:
    assert find(Sliced(OVER_TIME[name]), SERIES).slices() == {"a": slice(0, 8), "b": slice(8, 14)}


@pytest.mark.parametrize("step", [lambda h: h[:, 0], lambda h: h[:, 3:], lambda h: h[:, ::2]])
def test_slices_of_tokens_leave_the_features_alone(step: Step) -> None:
    tokens = torch.randn(2, 10, 5, generator=torch.Generator().manual_seed(0))
    sizes = {group.name: group.size for group in find(Sliced(step, linear=True), tokens).groups}
    assert sizes == {"inputs": 5, "a": 8, "b": 6}


def test_slices_of_channels_tie_what_meets() -> None:
    structure = find(Sliced(lambda h: torch.cat([h[:, 4:], h[:, :4]], 1) * h), SERIES)
    assert structure.slices() == {"a": slice(0, 4), "b": slice(4, 10)}
    assert next(axis.gates.tolist() for axis in structure.axes if axis.layer == "a") == [0, 1, 2, 3] * 2
    assert structure.spread == {"a"}  # the code counts on eight channels


class Residual(nn.Module):
    """A crop counted from the end joins a shorter branch, as in WaveNet."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.branch, self.head = nn.Conv1d(1, 8, 1), nn.Conv1d(8, 8, 3), nn.Conv1d(8, 2, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        stream = self.stem(inputs)
        update = self.branch(stream).tanh()
        outputs: Tensor = self.head(stream[..., -update.shape[-1] :] + update)
        return outputs


def test_a_crop_counted_from_the_end_of_a_residual_stream() -> None:
    assert find(Residual(), SERIES).slices() == {"stem": slice(0, 8)}
