"""What is said of a network before it is trained, and what a run leaves as the user set it."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from bayesprune.data import Data, from_loaders, from_tensors
from bayesprune.errors import NetworkError, SettingError
from bayesprune.experiments.methods import METHODS
from bayesprune.run.pruned import Pruned
from bayesprune.run.running import run
from bayesprune.run.settings import RunSettings

LABELS = torch.arange(61) % 3
ROWS = torch.randn(61, 6, generator=torch.Generator().manual_seed(0)) + LABELS[:, None]


def run_with(network: nn.Module, data: Data, method: str = "dense", **changes: Any) -> Pruned:
    plain: dict[str, Any] = {"method": method, "epochs": 1, "batch_size": 16}
    return run(METHODS[method], network, data, RunSettings(**plain | changes))


def rows() -> Data:
    return from_tensors(ROWS, LABELS)


class TwoHeads(nn.Module):
    """Says more in training."""

    def __init__(self, kind: type = tuple) -> None:
        super().__init__()
        self.kind, self.body, self.head, self.extra = kind, nn.Linear(6, 8), nn.Linear(8, 3), nn.Linear(8, 3)

    def forward(self, inputs: Tensor) -> Any:
        hidden = self.body(inputs).relu()
        logits, extra = self.head(hidden), self.extra(hidden)
        if not self.training:
            return logits
        return {"logits": logits, "extra": extra} if self.kind is dict else self.kind((logits, extra))


@pytest.mark.parametrize("kind", [tuple, list, dict])
def test_the_first_of_several_outputs_is_trained_on(kind: type) -> None:
    torch.manual_seed(0)
    network = TwoHeads(kind)
    with pytest.warns(UserWarning, match="in training the network returns several outputs: it is trained on the first"):
        pruned = run_with(network, rows(), "l1-units", budget="macs=50%")
    small: Any = pruned.network
    assert small.extra.weight.shape == small.head.weight.shape and small.head.weight.shape[1] < 8
    kept = pruned.kept["body"]
    assert torch.equal(small.extra.weight, network.extra.weight[:, kept])  # cut, not trained
    assert not torch.equal(small.head.weight, network.head.weight[:, kept])
    assert type(small.train()(ROWS)) is kind and not small._forward_hooks


class FailsInTraining(nn.Module):
    """Cannot be trained on such inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.extra = nn.Linear(6, 3), nn.Linear(7, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.body(inputs) + (self.extra(inputs) if self.training else 0)
        return outputs


def test_a_network_that_fails_in_training_is_refused_before_it() -> None:
    with pytest.raises(NetworkError, match=r"shape \(6,\) in evaluation mode and fails on them in training mode"):
        run_with(FailsInTraining(), rows())


def test_a_last_batch_of_one_from_a_loader() -> None:
    network = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3))

    def loaded(**options: Any) -> Data:
        examples = TensorDataset(ROWS, LABELS)
        return from_loaders(*(DataLoader(examples, **options) for _ in range(3)), classes=3)

    with pytest.raises(SettingError, match="has one of 61 examples.*drop_last=True or another batch_size"):
        run_with(network, loaded(batch_size=20))
    batches = [list(range(start, min(start + 12, 61))) for start in range(0, 61, 12)]
    with pytest.raises(SettingError, match="has one of 61 examples"):
        run_with(network, loaded(batch_sampler=batches))
    assert run_with(network, loaded(batch_size=20, drop_last=True)).history[0]["steps"] == 3
    assert run_with(network, loaded(batch_size=16)).history[0]["steps"] == 4


def test_normalisation_without_statistics_needs_more_than_one_example() -> None:
    network = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5, track_running_stats=False), nn.Linear(5, 3))
    with pytest.raises(NetworkError, match="not one, which measuring it needs .*give '1' track_running_stats=True"):
        run_with(network, rows())
    pictures = from_tensors(ROWS.reshape(61, 1, 2, 3), LABELS)
    maps = nn.Sequential(
        nn.Conv2d(1, 4, 1), nn.BatchNorm2d(4, track_running_stats=False), nn.Flatten(), nn.Linear(24, 3)
    )
    assert run_with(maps, pictures).history[0]["steps"] == 3


def test_probabilities_are_warned_of() -> None:
    network = nn.Sequential(nn.Linear(6, 3), nn.Softmax(1))
    with pytest.warns(UserWarning, match="outputs are probabilities, and logits are expected: leave the last softmax"):
        run_with(network, rows())
    run_with(nn.Sequential(nn.Linear(6, 3), nn.LogSoftmax(1)), rows())  # its logarithms are logits, and nothing is said


@pytest.mark.parametrize("network_trains", [True, False])
def test_frozen_normalisation_stays_frozen(network_trains: bool) -> None:
    network: Any = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3)).train(network_trains)
    norm: Any = network[1].eval()
    norm.requires_grad_(network_trains)
    norm.running_mean.copy_(torch.arange(5.0))
    trained: Any = run_with(network, rows()).network
    assert torch.equal(trained[1].running_mean, torch.arange(5.0)) and int(trained[1].num_batches_tracked) == 0
    assert not torch.equal(trained[0].weight, network[0].weight)
    thawed: Any = run_with(network.train().requires_grad_(True), rows()).network
    assert not torch.equal(thawed[1].running_mean, torch.arange(5.0))


class OwnTrain(nn.Sequential):
    """Keeps its normalisation in evaluation mode by a `train` of its own."""

    def train(self, mode: bool = True) -> "OwnTrain":
        super().train(mode)
        self[1].eval()
        return self


def test_normalisation_that_its_network_keeps_frozen_stays_frozen() -> None:
    network: Any = OwnTrain(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3)).eval()
    network[1].running_mean.copy_(torch.arange(5.0))
    trained: Any = run_with(network, rows()).network
    assert torch.equal(trained[1].running_mean, torch.arange(5.0))
    assert not torch.equal(trained[0].weight, network[0].weight)


class AlwaysDropping(nn.Module):
    """Dropout in evaluation mode, too."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(6, 8), nn.Linear(8, 3)

    @classmethod
    def started(cls) -> "AlwaysDropping":
        """The same weights each time."""
        network = cls()
        for value in network.parameters():
            nn.init.normal_(value, generator=torch.Generator().manual_seed(0))
        return network

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.head(nn.functional.dropout(self.body(inputs).relu(), 0.2, training=True))
        return logits


def test_networks_that_drop_always_and_that_cast_are_pruned() -> None:
    pruned = run_with(AlwaysDropping(), rows(), "l1-units", budget="macs=50%")
    assert len(pruned.kept["body"]) < 8
    torch.manual_seed(9)
    again = run_with(AlwaysDropping.started(), rows()).evaluation.nll
    torch.manual_seed(10)
    assert run_with(AlwaysDropping.started(), rows()).evaluation.nll == again  # drawn from the run's seed
    casting: Any = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)).double()
    casting.register_forward_pre_hook(lambda _, given: (given[0].double(),))
    pruned = run_with(casting, rows(), "l1-units", budget="macs=50%")
    assert {value.dtype for value in pruned.network.parameters()} == {torch.float64} and len(pruned.kept["0"]) < 8
