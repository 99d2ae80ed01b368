"""Networks that move or split their examples take one set of gates for all of them."""

import pytest
import torch
from torch import Tensor, nn

from bayesprune.errors import SettingError
from bayesprune.structure import Gating, find


class Steps(nn.Module):
    """Linear layers over tokens, with the examples along axis 0, along axis 1, or split in windows."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way, self.one, self.two = way, nn.Linear(3, 6), nn.Linear(6, 2)

    def forward(self, tokens: Tensor) -> Tensor:
        if self.way == "second":
            tokens = tokens.transpose(0, 1)
        if self.way == "windows":
            tokens = tokens.unflatten(1, (2, 2)).flatten(0, 1)
        said: Tensor = self.two(torch.relu(self.one(tokens)))
        if self.way == "second":
            said = said.transpose(0, 1)
        return said.unflatten(0, (-1, 2)).flatten(1, 2) if self.way == "windows" else said


@pytest.mark.parametrize("examples", [1, 2, 4])
@pytest.mark.parametrize(("way", "first"), [("first", True), ("second", False), ("windows", False)])
def test_found_in_numbers(way: str, first: bool, examples: int) -> None:
    """Also where there are as many tokens as examples, so that wrong gates would fit."""
    network, tokens = Steps(way).eval(), torch.randn(examples, 4, 3)
    structure = find(network, tokens)
    assert structure.examples_first == structure.per_example == first
    gates = torch.ones(examples, structure.gate_count)
    gating = Gating(network, structure)
    if first:
        with gating.applied(gates):
            network(tokens)
    else:
        with pytest.raises(SettingError, match="other things than examples along its first axis: give gates"):
            gating.applied(gates).__enter__()
    with gating.applied(gates[0]):
        network(tokens)
