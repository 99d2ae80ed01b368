"""Monte Carlo dropout: the loss against all draws, the prediction against dropout written by hand."""

from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import bayesprune as bp
from bayesprune.data import Data
from bayesprune.errors import NetworkError, SettingError
from bayesprune.models import LeNet300
from bayesprune.pruners.dropout import DropoutLoss, DropoutOptions, open_chances
from bayesprune.run.draw_average import DrawAverage
from bayesprune.run.pruned import Pruned
from bayesprune.run.running import initial_state
from bayesprune.run.settings import RunSettings
from bayesprune.tasks import Classification

GIVEN: dict[str, Any] = {"widths": (12, 8), "batch_size": 50, "progress": False}


def trained(data: Data, **settings: Any) -> Pruned:
    return bp.prune("lenet300", data, "mc-dropout", **{"epochs": 4} | GIVEN | settings)


@pytest.fixture(scope="module")
def pruned(small_data: Data) -> Pruned:
    return trained(small_data, rate=0.25, draws=6, seed=2)


def average_of(pruned: Pruned) -> DrawAverage:
    assert isinstance(pruned.network, DrawAverage)
    return pruned.network


def test_the_prediction_averages_dropout_by_hand(pruned: Pruned, small_data: Data) -> None:
    inputs, _ = next(iter(small_data.test.batches(60)))
    module = average_of(pruned)
    network = module.network
    assert isinstance(network, LeNet300) and module.gates.shape == (6, 36 + 12 + 8)
    pixels, hidden = module.gates[:, :36], module.gates[:, 36:]
    assert bool((pixels == 1).all()) and hidden.unique().tolist() == pytest.approx([0, 1 / 0.75])
    chances = []
    for row in hidden:
        first = network.fc1(inputs.flatten(1)).relu() * row[:12]
        chances.append(network.fc3(network.fc2(first).relu() * row[12:]).softmax(1))
    torch.testing.assert_close(module(inputs).exp(), torch.stack(chances).mean(0))


def enumerated(network: nn.Sequential, inputs: Tensor, labels: Tensor, rate: float) -> float:
    """The mean loss of one example over all draws of its hidden gates."""
    total = 0.0
    for setting in product((0.0, 1.0), repeat=4):
        gates = torch.tensor(setting)
        weight = float(((1 - rate) ** gates * rate ** (1 - gates)).prod())
        hidden = network[0](inputs).tanh() * gates / (1 - rate)
        total += weight * float(cross_entropy(network[2](hidden), labels).detach())
    return total


@pytest.mark.parametrize("consistency", [0.0, 2.0])
def test_the_loss_has_the_mean_over_all_draws(consistency: float) -> None:
    """20,000 draws, within 5 standard errors of the sum over the 16 settings; with consistency it is more."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3)).eval()
    inputs, labels = torch.randn(1, 3), torch.tensor([1])
    data = bp.data.from_tensors(torch.randn(60, 3), torch.arange(60) % 3, seed=0)
    state = initial_state(network, data, RunSettings("mc-dropout", inputs="none"))
    assert state.structure.gate_count == 4
    loss = DropoutLoss(open_chances(state.structure, 0.3), consistency=consistency)
    loss.attach(state)
    several = inputs.expand(20_000, 3), labels.expand(20_000)
    outputs: list[Tensor] = []
    handle = state.network.register_forward_hook(lambda *said: outputs.append(said[2].detach()))
    found = float(loss.loss(state, *several).detach())
    handle.remove()
    loss.detach()
    assert not any(module._forward_pre_hooks for module in state.network.modules())
    said, wanted = outputs[0], enumerated(network, inputs, labels, 0.3)
    losses = cross_entropy(said, labels.expand(len(said)), reduction="none")
    error = float(losses.std() / len(losses) ** 0.5)
    assert float(losses.mean()) == pytest.approx(wanted, abs=5 * error)
    if not consistency:
        assert found == pytest.approx(wanted, abs=5 * error)
        return
    laws = [torch.distributions.Categorical(logits=half) for half in said.chunk(2)]
    both = sum(torch.distributions.kl_divergence(laws[a], laws[1 - a]) for a in (0, 1))
    assert isinstance(both, Tensor)
    assert found == pytest.approx(float(losses.mean() + 0.5 * consistency * both.mean()), rel=1e-4)


def test_hidden_channels_are_dropped_and_nothing_else() -> None:
    """Of a convolutional network whole channels; flattened features and pixels have no dropout of their own."""
    network = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 4), nn.ReLU(), nn.Linear(4, 3))
    inputs = torch.randn(90, 1, 6, 6)
    data = bp.data.from_tensors(inputs, torch.arange(90) % 3, seed=0)
    state = initial_state(network, data, RunSettings("mc-dropout", flatten_inputs=True, inputs="all"))
    chances = open_chances(state.structure, 0.2)
    found = {name: chances[place].unique().tolist() for name, place in state.structure.slices().items()}
    assert found == {"inputs": [1.0], "3.inputs": [1.0], "0": [pytest.approx(0.8)], "3": [pytest.approx(0.8)]}


def test_it_counts_every_pass_and_comes_back_from_disk(pruned: Pruned, small_data: Data, tmp_path: Path) -> None:
    row = pruned.result()
    assert (row["draws"], row["macs"], row["params"], row["density"]) == (6, 6 * 552, 552 + 23, 1)
    assert row["train_macs_ratio"] == pytest.approx(1, rel=1e-12)
    again = bp.load(pruned.save(tmp_path))
    inputs, _ = next(iter(small_data.test.batches(60)))
    assert torch.equal(again.network(inputs), pruned.network(inputs)) and again.result() == row
    assert again.evaluate(small_data).metrics == pytest.approx(pruned.evaluation.metrics)
    raw = small_data.normalisation.undo(inputs)
    torch.testing.assert_close(pruned.pipeline()(raw), pruned.network(inputs), rtol=1e-4, atol=1e-4)


def test_draws_come_from_the_seed(pruned: Pruned, small_data: Data) -> None:
    same, other = (average_of(trained(small_data, rate=0.25, draws=6, seed=seed)) for seed in (2, 3))
    assert torch.equal(same.gates, average_of(pruned).gates) and not torch.equal(other.gates, same.gates)


def test_many_draws_are_unsure_where_one_network_is_not(small_data: Data) -> None:
    """The mean of predictions has at least the mean entropy: entropy is concave."""
    pruned = trained(small_data, rate=0.5, draws=40, learning_rate=0.02)
    module = average_of(pruned)
    inputs, _ = next(iter(small_data.test.batches(60)))
    single = [
        DrawAverage(module.network, module._structure, row[None], Classification(3)).eval()(inputs)
        for row in module.gates
    ]
    of_mean, of_each = (-(one.exp() * one).sum(-1) for one in (module(inputs), torch.stack(single)))
    gain = (of_mean - of_each.mean(0)).detach()
    assert float(gain.min()) > -1e-5 and float(gain.mean()) > 0.01


@pytest.mark.parametrize("rate", [0, 1, 1.5, -0.1, 0.999, "0.5"])
def test_rates_that_drop_nothing_or_everything_are_refused(rate: Any, small_data: Data) -> None:
    with pytest.raises(SettingError, match="rate must be"):
        trained(small_data, rate=rate)
    with pytest.raises(SettingError, match="rate must be"):
        DropoutOptions(rate=rate)


def test_what_cannot_be_done_is_refused(small_data: Data) -> None:
    with pytest.raises(SettingError, match="draws must be an integer >= 1, not 0"):
        trained(small_data, draws=0)
    with pytest.raises(NetworkError, match="this network has none that can be closed"):
        bp.prune(nn.Sequential(nn.Flatten(), nn.Linear(36, 3)), small_data, "mc-dropout", epochs=1)
