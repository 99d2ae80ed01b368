"""No score leaves a trace: parameters, buffers, gradients, flags and modes are as before."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, nn

from bayesprune.pruners.problem import Problem
from bayesprune.pruners.saliency import (
    exact_diagonal,
    grasp,
    hutchinson_diagonal,
    logit_snip,
    obd,
    snip,
    synflow,
    taylor,
)

if TYPE_CHECKING:
    from tests.bayesprune.pruners.saliency.conftest import Lab

SCORES: dict[str, Callable[[Problem], dict[str, Tensor]]] = {
    "snip": snip,
    "logit_snip": logit_snip,
    "taylor": partial(taylor, batches=2, examples=12),
    "grasp": partial(grasp, per_class=3),
    "synflow": synflow,
    "obd": partial(obd, diagonal=exact_diagonal),
    "obd estimated": partial(obd, diagonal=partial(hutchinson_diagonal, draws=2)),
}


def network_with_history() -> nn.Module:
    """Of mixed modes, with a frozen layer, gradients, and statistics of data seen before."""
    network = nn.Sequential(
        nn.Conv2d(1, 3, 2), nn.BatchNorm2d(3), nn.ReLU(inplace=True), nn.Dropout(0.5), nn.Flatten(), nn.Linear(12, 3)
    )
    network(torch.randn(5, 1, 3, 3)).square().sum().backward()
    network[0].requires_grad_(False)
    network[1].eval()
    return network


def everything_about(network: nn.Module) -> tuple[dict[str, Tensor], list[bool], list[bool], list[int]]:
    state = {name: value.clone() for name, value in network.state_dict().items()}
    gradients = {
        f"{name} gradient": value.grad.clone() for name, value in network.named_parameters() if value.grad is not None
    }
    hooks = [len(module._forward_hooks) for module in network.modules()]
    flags = [parameter.requires_grad for parameter in network.parameters()]
    return state | gradients, flags, [module.training for module in network.modules()], hooks


@pytest.mark.parametrize("name", SCORES)
def test_nothing_changes(name: str, lab: "Lab") -> None:
    network = network_with_history()
    before = everything_about(network)
    scores = SCORES[name](lab.problem(network, lab.data((1, 3, 3), precision=torch.float32)))
    after = everything_about(network)
    assert after[1:] == before[1:]
    assert list(after[0]) == list(before[0])
    assert all(torch.equal(after[0][key], value) for key, value in before[0].items())
    assert list(scores) == ["0.weight", "5.weight"]
    for key, score in scores.items():
        weight = network.get_parameter(key)
        assert score.shape == weight.shape and score.dtype == weight.dtype and not score.requires_grad
        assert bool((score != 0).any())


@pytest.mark.parametrize("name", SCORES)
def test_the_same_seed_gives_the_same_scores(name: str, lab: "Lab") -> None:
    problem = lab.problem(network_with_history(), lab.data((1, 3, 3), precision=torch.float32))
    found = []
    for _ in range(2):
        torch.manual_seed(5)
        found.append(SCORES[name](problem))
    assert all(torch.equal(found[0][key], found[1][key]) for key in found[0])
