"""The short way to a fused Adam step."""

from copy import deepcopy

import pytest
import torch
from torch import nn

from bayesprune.training import adam
from bayesprune.training.adam import FusedAdam, fused_adam


def network(seed: int) -> nn.Sequential:
    """A small convolutional network."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 5), nn.BatchNorm1d(5))


def give_gradients(one: nn.Module, step: int) -> None:
    """Random gradients; the first layer has none at every third step."""
    generator = torch.Generator().manual_seed(step)
    for place, parameter in enumerate(one.parameters()):
        noise = torch.randn(parameter.shape, generator=generator)
        parameter.grad = None if place < 2 and step % 3 == 0 else noise


def test_it_takes_the_steps_of_torch_to_the_last_bit() -> None:
    """Through decay, missing gradients, a changed rate, and a state dict that goes from one to the other."""
    mine, theirs = network(0), network(0)
    own = fused_adam(list(mine.parameters()), 2e-3, 1e-3)
    torchs = torch.optim.Adam(theirs.parameters(), lr=2e-3, weight_decay=1e-3, fused=True)
    assert type(own) is FusedAdam
    for step in range(40):
        if step == 20:  # each goes on from the other's state
            own.load_state_dict(deepcopy(torchs.state_dict()))
        for optimizer in (own, torchs):
            optimizer.param_groups[0]["lr"] = 2e-3 / (1 + step)
        give_gradients(mine, step)
        give_gradients(theirs, step)
        own.step()
        torchs.step()
        for one, other in zip(mine.parameters(), theirs.parameters(), strict=True):
            assert torch.equal(one, other), step
    assert own.state_dict().keys() == torchs.state_dict().keys()


@pytest.mark.parametrize("mixed", [False, True])
def test_other_types_take_torchs_own_step(mixed: bool) -> None:
    """Float64, and two types at once."""
    one = network(0)
    (one[3] if mixed else one).double()
    optimizer = fused_adam(list(one.parameters()), 1e-3, 0.0)
    assert type(optimizer) is torch.optim.Adam
    give_gradients(one.float(), 1)  # a step works
    optimizer.step()


def test_longer_gradients_are_scaled_down() -> None:
    """Against gradients that are scaled by hand before torch's own step; shorter ones stay."""
    for clip in (0.5, 1e6):
        mine, theirs = network(0), network(0)
        clipped = adam(2e-3, clip=clip)(mine.parameters())
        torchs = torch.optim.Adam(theirs.parameters(), lr=2e-3)
        for step in range(5):
            give_gradients(mine, step)
            give_gradients(theirs, step)
            present = [one.grad for one in theirs.parameters() if one.grad is not None]
            length = float(torch.cat([one.flatten() for one in present]).norm())
            for gradient in present:
                gradient.mul_(min(1.0, clip / (length + 1e-6)))  # as torch's clip_grad_norm_ has it
            clipped.step()
            torchs.step()
        for one, other in zip(mine.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
