"""The table of functions: each is called, and says what the table says of it."""

import operator
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, fx
from torch.nn import functional

from bayesprune.structure.functions import ADDITIONS, MOVES, PASSES, POOLS, PRODUCTS, SAME_SIGN, called

ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "reshape": ((2, -1),), "view": (2, -1), "permute": ((0, 1, 3, 2),), "transpose": (2, 3), "unflatten": (1, (2, 2)),
    "expand": (2, 4, 6, 6), "getitem": (0,), "index_select": (1, torch.tensor([2, 0])), "narrow": (1, 1, 2),
    "roll": (1, 2), "pixel_shuffle": (2,), "to": (torch.float64,), "unsqueeze": (0,),
    "type_as": (torch.zeros(1, dtype=torch.float64),), "feature_dropout": (0.5, False), "alpha_dropout": (0.5, False),
    "dropout": (0.5, False), **{f"dropout{d}d": (0.5, False) for d in (1, 2, 3)},
}  # fmt: skip
NAMES = sorted(SAME_SIGN - {"boolean_dispatch"})


def function_of(name: str) -> Callable[..., Tensor]:
    for owner in (functional, torch, operator, Tensor):
        if callable(getattr(owner, name, None)):
            found: Callable[..., Tensor] = getattr(owner, name)
            return found
    raise LookupError(name)


def read_by(name: str, maps: Tensor) -> Tensor:
    """Maps [2, 4, 6, 6] with as many axes as a function's name asks for."""
    if name.endswith(("pool3d", "dropout3d")):
        return maps[:, :, None].expand(2, 4, 2, 6, 6)
    return maps.flatten(2) if name.endswith(("pool1d", "dropout1d")) else maps


def said(name: str, values: Tensor) -> Tensor:
    """What a function says."""
    return function_of(name)(values, *(ARGUMENTS.get(name, (2,) if "pool" in name else ())))


@pytest.mark.parametrize("name", NAMES)
def test_zeros_stay_zeros_and_no_sign_turns(name: str) -> None:
    torch.manual_seed(0)
    maps = read_by(name, torch.rand(2, 4, 6, 6))
    assert not said(name, torch.zeros_like(maps)).any()
    outputs = said(name, maps)
    assert bool((outputs >= 0).all()) and bool(outputs.any())
    if name in PASSES:
        torch.testing.assert_close(outputs, maps)


def test_each_name_stands_in_one_set() -> None:
    sets = (PASSES, POOLS, MOVES, ADDITIONS, PRODUCTS)
    assert sum(map(len, sets)) == len(frozenset[str]().union(*sets))


def test_functions_and_methods_are_called_by_their_names() -> None:
    class Network(torch.nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            pooled = functional.max_pool2d(inputs, 2)
            pooled += functional.adaptive_avg_pool2d(inputs, 3)
            return torch.mul(pooled + inputs.mean(), 2.0).flatten(1)

    graph = fx.Tracer().trace(Network())
    names = [called(node) for node in graph.nodes if node.op.startswith("call")]
    assert names == ["max_pool2d", "adaptive_avg_pool2d", "add", "mean", "add", "mul", "flatten"]
