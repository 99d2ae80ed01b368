"""Which layer a network's multiply-accumulates belong to, and what becomes of those that belong to none."""

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from bayesprune.data import Data
from bayesprune.errors import BudgetError
from bayesprune.evaluation.cost import cost
from bayesprune.experiments.methods import method
from bayesprune.run.pruned import Pruned
from bayesprune.run.running import run
from bayesprune.run.settings import RunSettings
from bayesprune.structure import OTHER, MacCounter, compact, find, idle_layers, layer_costs
from bayesprune.structure.expected import ExpectedCost


class Functional(nn.Module):
    """Weights used by functions only."""

    def __init__(self) -> None:
        super().__init__()
        self.own, self.fc = nn.Parameter(torch.randn(5, 8)), nn.Linear(5, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        return functional.linear(functional.linear(inputs, self.own).relu(), self.fc.weight, self.fc.bias)


class TimeFirst(nn.Module):
    """A linear layer whose first axis is not the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.fc = nn.Linear(4, 8), nn.Linear(8, 3)

    def forward(self, series: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.a(series.transpose(0, 1)).mean(0))
        return logits


class Recurrent(nn.Module):
    """A recurrent layer between linear ones, of which `first` can be pruned."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(36, 12), nn.Linear(12, 14)
        self.gru, self.head = nn.GRU(7, 5, batch_first=True), nn.Linear(5, 3)

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.second(self.first(images.flatten(1)).relu())
        logits: Tensor = self.head(self.gru(hidden.view(-1, 2, 7))[0][:, -1])
        return logits


GRU = 2 * 3 * 5 * (7 + 5)


class Adapted(nn.Linear):
    """A layer with layers inside."""

    def __init__(self) -> None:
        super().__init__(8, 8)
        self.down, self.up = nn.Linear(8, 8, bias=False), nn.Linear(8, 8, bias=False)

    def forward(self, inputs: Tensor) -> Tensor:
        adapted: Tensor = super().forward(inputs) + self.up(self.down(inputs))
        return adapted


class Tied(nn.Module):
    """Two layers of one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.fc = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 3)
        self.b.weight = self.a.weight

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.b(self.a(inputs)))
        return logits


class Idle(nn.Module):
    """A layer that never runs, and one that runs in training only."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.never, self.out = nn.Linear(36, 12), nn.Linear(50, 50), nn.Linear(12, 3)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.out(self.a(images.flatten(1)).relu())
        return logits


def rows(network: nn.Module, example: Tensor) -> dict[str, tuple[int, int]]:
    """Multiply-accumulates and positions of every row, which add up to what the counter finds."""
    counted = layer_costs(network, example)
    with torch.no_grad(), MacCounter() as counter:
        network.eval()(example[:1])
    assert sum(layer.macs for layer in counted) == counter.macs
    return {layer.name: (layer.macs, layer.positions) for layer in counted}


def test_what_functions_multiply_has_a_row_in_common() -> None:
    assert rows(Functional(), torch.zeros(2, 8)) == {"fc": (0, 0), OTHER: (55, 0)}
    counted = cost(Functional(), torch.zeros(2, 8))
    assert (counted.macs, counted.weights, counted.params) == (55, 15, 58)
    assert sum(layer.params for layer in counted.layers) == 58
    assert counted.layers[-1].kind == "unattributed"


def test_the_first_axis_need_not_be_the_batch() -> None:
    assert rows(TimeFirst(), torch.zeros(2, 7, 4)) == {"a": (7 * 32, 7), "fc": (24, 1)}


def test_recurrent_layers_and_computed_weights_and_layers_in_layers() -> None:
    expected = {"first": (432, 1), "second": (168, 1), "head": (15, 1), "gru": (GRU, 2)}
    assert rows(Recurrent(), torch.zeros(2, 1, 6, 6)) == expected
    computed = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(8, 5)), nn.Linear(5, 3))
    assert rows(computed, torch.zeros(2, 8)) == {"0": (40, 1), "1": (15, 1)}
    assert rows(nn.Sequential(Adapted()), torch.zeros(2, 8)) == {"0.down": (64, 1), "0.up": (64, 1), "0": (64, 1)}


def test_a_tied_weight_is_stored_once() -> None:
    counted = cost(Tied(), torch.zeros(2, 8))
    assert (counted.macs, counted.weights, counted.params) == (152, 88, 107)


def test_the_expected_cost_has_the_rest_as_a_constant() -> None:
    network, example = Recurrent(), torch.randn(2, 1, 6, 6)
    structure = find(network, example, keep=["gru"])
    expected = ExpectedCost.of(network, structure, layer_costs(network, example))
    gates = torch.ones(structure.gate_count)
    assert expected(gates)[0].item() == 432 + 168 + 15 + GRU
    gates[structure.slices()["first"]] = torch.tensor([1.0] * 4 + [0.0] * 8)
    gates[structure.slices()["inputs"]] = torch.tensor([1.0] * 10 + [0.0] * 26)
    compact(network, structure, gates.bool())
    assert expected(gates)[0].item() == cost(network, example).macs == 4 * 10 + 4 * 14 + 15 + GRU


def pruned_by(name: str, network: nn.Module, data: Data, **settings: Any) -> Pruned:
    return run(method(name), network, data, RunSettings(name, epochs=2, batch_size=60, **settings))


@pytest.mark.parametrize("name", ["l1-units", "parsimonious"])
def test_a_budget_below_what_cannot_be_pruned_is_refused_before_training(name: str, small_data: Data) -> None:
    """And the budget that the message advises is met."""
    with pytest.raises(BudgetError, match=rf"{GRU} of them in operations that cannot be pruned; give budget") as caught:
        pruned_by(name, Recurrent(), small_data, budget=f"macs={GRU}", keep=("gru",))
    advised = str(caught.value).split("give budget=")[1].split(" ")[0]
    pruned = pruned_by(name, Recurrent(), small_data, budget=advised, keep=("gru",))
    assert pruned.evaluation.macs == int(advised.removeprefix("macs=")) == 1 + 14 + 15 + GRU
    assert pruned.result()["unattributed_macs"] == 0
    assert [row["macs"] for row in pruned.record().layers if row["kind"] == "GRU"] == [GRU]


def test_a_budget_is_not_met_by_doing_nothing(small_data: Data) -> None:
    flat = nn.Sequential(nn.Flatten(), nn.Linear(36, 8), Functional())
    total = 36 * 8 + 55
    pruned = pruned_by("l1-units", flat, small_data, budget="macs=60%")
    assert 55 < pruned.evaluation.macs <= 0.6 * total


def test_layers_that_never_run_count_as_parameters_only(small_data: Data) -> None:
    with pytest.warns(UserWarning, match=r"never run when the network is evaluated: 'never'; their 2,550 parameters"):
        pruned = pruned_by("magnitude", Idle(), small_data, density=0.3)
    alive, total = pruned.evaluation.nonzero_weights, 36 * 12 + 12 * 3
    assert alive == round(0.3 * total) and pruned.result()["density"] == alive / total
    assert set(pruned.densities) == {"a", "out"}
    never: Any = pruned.network.get_submodule("never")
    assert pruned.evaluation.params == total + 15 + 2550 and int(never.weight.count_nonzero()) == 2500
    assert idle_layers(pruned.network, pruned.layers) == {"never": 2550}
    with (
        pytest.warns(UserWarning, match="never"),
        pytest.raises(BudgetError, match="2,550 of them in layers that never"),
    ):
        pruned_by("l1-units", Idle(), small_data, budget="params=50%")


def test_weights_used_by_functions_are_masked_and_counted(small_data: Data) -> None:
    flat = nn.Sequential(nn.Flatten(), nn.Linear(36, 8), Functional())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pruned = pruned_by("magnitude", flat, small_data, density=0.25)
    assert pruned.evaluation.nonzero_weights == round(0.25 * (288 + 15))
    assert pruned.result()["density"] == pytest.approx(0.25, abs=0.002)
    assert set(pruned.densities) == {"1", "2.fc"}
