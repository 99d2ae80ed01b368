"""What names a user's own task: all that decides what its functions give."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bayesprune.tasks import OwnTask
from bayesprune.tasks.code import said_by

FACTOR = 1.0


def scaled(factor: float) -> Any:
    return lambda outputs, targets: factor * (outputs - targets).square().mean()


def by_global(outputs: Tensor, targets: Tensor) -> Tensor:
    return FACTOR * (outputs - targets).square().mean()


def with_default(outputs: Tensor, targets: Tensor, factor: float = 1.0) -> Tensor:
    return factor * (outputs - targets).square().mean()


class Held:
    def __init__(self, factor: Any) -> None:
        self.factor = factor

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        found: Tensor = self.factor * (outputs - targets).square().mean()
        return found


def name_of(loss: Any) -> Any:
    return OwnTask(outputs=1, loss=loss).to_json()["code_digest"]


@pytest.mark.parametrize(
    "make",
    [
        scaled, Held, lambda factor: partial(with_default, factor=factor), lambda factor: Held(torch.tensor(factor)),
        lambda factor: Held(factor).__call__, lambda factor: nn.HuberLoss(delta=factor),
    ],
)  # fmt: skip
def test_what_a_function_holds_on_to_names_it(make: Any) -> None:
    assert name_of(make(1.0)) == name_of(make(1.0)) != name_of(make(10.0))


def test_a_changed_global_changes_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    before = name_of(by_global)
    assert name_of(by_global) == before
    monkeypatch.setitem(by_global.__globals__, "FACTOR", 10.0)
    assert name_of(by_global) != before


def test_what_holds_itself_has_an_end() -> None:
    one = Held(1.0)
    one.factor = one
    assert said_by(one) == said_by(one)


def test_no_address_is_part_of_a_name() -> None:
    assert said_by(Held(object())) == said_by(Held(object()))
