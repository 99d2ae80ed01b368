"""The condition under which two convolutions are one, against both functions over many geometries."""

from itertools import product

import pytest
import torch
from torch import nn

from bayesprune.layers.linear import composed, why_not_one


@pytest.mark.parametrize("kernel", [1, 2, 3])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("padding", [0, 1, 2])
@pytest.mark.parametrize("outer", [0, 1, 2])
@pytest.mark.parametrize("bias", [False, True])
def test_the_condition_at_borders_is_exact(kernel: int, stride: int, padding: int, outer: int, bias: bool) -> None:
    """Where it holds both convolutions are one; where it does not, one would be another function."""
    torch.manual_seed(0)
    for size, dilation in product(range(5, 10), (1, 2)):
        if dilation * (kernel - 1) + 1 > size + 2 * padding:
            continue
        first = nn.Conv1d(2, 3, kernel, stride, padding, dilation, bias=bias).double()
        made = (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
        if made + 2 * outer < 2:
            continue
        second = nn.Conv1d(3, 2, 2, 1, outer).double()
        inputs = torch.rand(3, 2, size, dtype=torch.float64)
        one = composed(first, second)(inputs)
        two = second(first(inputs))
        assert one.shape == two.shape
        same = torch.allclose(one, two, atol=1e-12)
        assert same == (why_not_one(first, second, (size,)) == ""), (size, dilation)
