"""A clock that tells by a rule how long networks take: nothing here hangs on what else the machine does."""

from typing import Any

import pytest
from torch import nn

from bayesprune.budgets import measuring
from bayesprune.structure import MacCounter, evaluating

BASE, EACH = 0.25, 0.001
"""Milliseconds of a pass, and of a multiply-accumulate."""


def ruled_ms(network: nn.Module, example: Any) -> float:
    """Milliseconds by the rule; what a layer alone takes has no base."""
    with MacCounter() as counter, evaluating(network):
        network(example[:1])
    alone = isinstance(network, (nn.Linear, nn.Conv2d))
    return EACH * counter.macs + (0.0 if alone else BASE)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> list[nn.Module]:
    """The networks that were timed."""
    timed: list[nn.Module] = []

    def time_ms(network: nn.Module, example: Any) -> float:
        timed.append(network)
        return ruled_ms(network, example)

    monkeypatch.setattr(measuring, "time_ms", time_ms)
    return timed
