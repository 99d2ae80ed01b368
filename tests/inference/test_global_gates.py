"""What draws gates for each example elsewhere, where a structure's gates are global."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bayesprune.errors import UnsupportedLayerError
from bayesprune.inference.multipliers.guide import MultiplierGuide
from bayesprune.inference.references.exact import said_under
from bayesprune.models.gated import GatedModel
from bayesprune.models.priors.gates import FixedGatePrior
from bayesprune.structure import Gating, Structure
from bayesprune.structure.multipliers import normalised_gates
from bayesprune.training import NegativeLogLikelihood, TrainState
from tests.bayesprune.structure.by_hand import functional, sequences, vit


def state_of(made: tuple[nn.Module, Structure, Tensor]) -> tuple[TrainState, Tensor, Tensor]:
    network, structure, inputs = made
    return TrainState(network, structure, inputs), inputs, torch.arange(len(inputs)) % 3


def test_settings_one_after_the_other_say_what_each_says_alone() -> None:
    network, structure, inputs = sequences(nn.GRU)
    settings = (torch.rand(3, structure.gate_count) < 0.7).float()
    gating = Gating(network, structure)
    with torch.no_grad():
        said = said_under(network, gating, structure, settings, inputs)
        for row, setting in zip(said.unflatten(0, (3, -1)), settings, strict=True):
            with gating.applied(setting):
                assert torch.equal(network(inputs), row)


@pytest.mark.parametrize("consistency", [0.0, 2.0])
def test_noise_is_one_draw_a_batch(consistency: float) -> None:
    """Without noise it is the plain loss; with noise it is the loss under the draw that the seed gives."""
    state, inputs, labels = state_of(functional())
    plain = state.loss(state.outputs(inputs), labels)
    objective = NegativeLogLikelihood(0.3, consistency)
    objective.attach(state)
    torch.manual_seed(1)
    loss = objective.loss(state, inputs, labels)
    torch.manual_seed(1)
    noise = objective.draw(state, 1)[0]
    objective.detach()
    gating = Gating(state.network, state.structure)
    said = []
    for gates in (1 + noise, 1 - noise):
        with gating.applied(gates):
            said.append(state.outputs(inputs))
    expected = state.loss(said[0], labels)
    if consistency:
        differ = state.likelihood.divergence(*said).mean()
        expected = (expected + state.loss(said[1], labels)) / 2 + 0.5 * consistency * differ
    torch.testing.assert_close(loss, expected)
    assert not torch.allclose(loss, plain)
    loss.backward()
    assert all(parameter.grad is not None for parameter in state.network.parameters())


class Law(nn.Module):
    """A law whose draws are 2; nothing is learnt."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def score(self) -> Tensor:
        return torch.ones(self.count)

    def draw(self, shape: torch.Size, places: Tensor | None = None) -> Tensor:
        return torch.full(shape, 2.0)


def guide_of(made: tuple[nn.Module, Structure, Tensor]) -> MultiplierGuide:
    network, structure, _ = made
    make: Any = Law
    return MultiplierGuide(
        GatedModel(network, structure, FixedGatePrior(torch.full((structure.gate_count,), 0.5)), 4), make
    )


def test_multipliers_are_drawn_for_the_batch_and_not_for_channels_that_are_normalised() -> None:
    made = vit()
    drawn, normalised = guide_of(made).draw(4), normalised_gates(made[1])
    assert torch.equal(drawn, torch.where(normalised, 1.0, 2.0))
    assert int(normalised.sum()) == 12
    assert torch.equal(guide_of(functional()).draw(4), torch.full((14,), 2.0))


def test_nothing_but_normalised_channels_is_refused_by_name() -> None:
    network, structure, inputs = vit()
    alone = Structure(structure.groups[:1], (), (), norms=structure.norms)
    with pytest.raises(UnsupportedLayerError, match=r"normalise over the channels \('blocks.0.first'.*keep=..."):
        guide_of((network, alone, inputs))
