"""A law of the user's own in the same frame: a subclass of `Relative` is a method."""

from typing import Any

import torch
from torch import Tensor, nn

from bayesprune.data import Data
from bayesprune.inference.multipliers.law import MultiplierLaw
from bayesprune.inference.multipliers.method import Relative
from bayesprune.inference.multipliers.options import MultiplierOptions
from bayesprune.models import LeNet300
from bayesprune.run.running import run
from bayesprune.run.settings import RunSettings
from bayesprune.training import TrainState


class Soft(MultiplierLaw):
    """Multipliers sigmoid(logit), without noise, at a price of 30 nats each; a channel goes at 1/2."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.logit = nn.Parameter(torch.full((count,), 1.0))

    def draw(self, shape: torch.Size, gates: Tensor | None = None) -> Tensor:
        return (self.logit if gates is None else self.logit[gates]).sigmoid().expand(shape)

    def penalty(self) -> Tensor:
        return 30 * self.logit.sigmoid()

    def fixed(self) -> Tensor:
        return self.logit.sigmoid()

    def score(self) -> Tensor:
        return self.logit.sigmoid()


class SoftMultipliers(Relative):
    name, summary, options = "soft", "soft multipliers", MultiplierOptions

    def law(self, state: TrainState, options: Any) -> MultiplierLaw:
        return Soft(state.structure.gate_count)


def test_a_method_of_ones_own_prunes(small_data: Data) -> None:
    torch.manual_seed(0)
    options = {"gate_learning_rate": 0.1, "quiet_steps": 2, "shrink_every": 2, "input_gates": True}
    settings = RunSettings("soft", epochs=12, batch_size=40, options=options)
    pruned = run(SoftMultipliers(), LeNet300((12, 8), (1, 6, 6), 3), small_data, settings)
    assert 3 <= sum(map(len, pruned.kept.values())) < 50
    assert pruned.posterior is not None and pruned.evaluation.metrics["accuracy"] is not None
    before, after = pruned.history[0]["network_macs"], pruned.history[8]["network_macs"]
    assert after < before  # removed while it learnt
