"""Data whose answer is known: what is real is kept, and nothing else."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import bayesprune as bp
from bayesprune.data import from_tensors
from bayesprune.run.pruned import Pruned
from bayesprune.structure import find

COUNT, FEATURES = 1500, 50
SEEDS = [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in (1, 2))]
SIGNS = torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0])
PRICE = 30.0
"""Nats: noise explains a dozen of training, a real input hundreds."""


def drawn(seed: int) -> tuple[Tensor, list[int], torch.Generator]:
    """Inputs, the five that are real, and the generator for the targets."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(COUNT, FEATURES, generator=generator)
    real = torch.randperm(FEATURES, generator=generator)[:5].sort().values
    return rows, real.tolist(), generator


def pruned_of(rows: Tensor, targets: Tensor, seed: int, outputs: int, task: str | None = None) -> Pruned:
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Linear(FEATURES, 12), nn.ReLU(), nn.Linear(12, outputs))
    data = from_tensors(rows, targets, task=task)
    settings: dict[str, Any] = {"epochs": 30, "batch_size": 50, "seed": seed, "progress": False}
    return bp.prune(network, data, "parsimonious", price=PRICE, **settings)


@pytest.mark.parametrize("seed", SEEDS)
def test_linear_gaussian_regression(seed: int) -> None:
    rows, real, generator = drawn(seed)
    targets = 100 + 10 * (rows[:, real] @ SIGNS + 0.5 * torch.randn(COUNT, generator=generator))
    pruned = pruned_of(rows, targets, seed, 1)
    assert pruned.kept["inputs"] == real
    assert pruned.evaluation.r2 > 0.8
    assert 0.85 < pruned.evaluation.coverage < 0.95  # learnt noise is of the right size
    assert 5 < pruned.evaluation.rmse < 10  # in the unit of the targets, of which 5 is noise


@pytest.mark.parametrize("seed", SEEDS)
def test_log_linear_counts(seed: int) -> None:
    rows, real, generator = drawn(seed)
    counts = torch.poisson((0.5 * rows[:, real] @ SIGNS + 0.5).clamp(max=4).exp(), generator=generator)
    pruned = pruned_of(rows, counts, seed, 1, "counts")
    assert pruned.kept["inputs"] == real
    assert pruned.evaluation.d2 > 0.5
    assert float((pruned.predict(rows).mean() / counts.mean()).log().abs()) < 0.2


@pytest.mark.parametrize("seed", SEEDS)
def test_independent_tags(seed: int) -> None:
    """Each of four tags says the sign of one input, with noise."""
    rows, real, generator = drawn(seed)
    noise = 0.5 * torch.randn(COUNT, 4, generator=generator)
    pruned = pruned_of(rows, (2 * rows[:, real[:4]] + noise > 0).long(), seed, 4)
    assert pruned.task is not None and pruned.task.name == "multi-label"
    assert pruned.kept["inputs"] == real[:4]
    assert pruned.evaluation.tag_accuracy > 0.85


class Spotter(nn.Module):
    """Embedding, convolution, the strongest place, linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.conv = nn.Embedding(20, 8), nn.Conv1d(8, 16, 3, padding=1)
        self.hidden, self.head = nn.Linear(16, 12), nn.Linear(12, 2)

    def forward(self, tokens: Tensor) -> Tensor:
        features = self.conv(self.table(tokens).transpose(1, 2)).relu().amax(2)
        logits: Tensor = self.head(self.hidden(features).relu())
        return logits


def test_tokens_of_which_three_count() -> None:
    """At 30 % of the MACs the rule is still kept, and the other 17 tokens say nothing."""
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, 20, (COUNT, 5), generator=generator)
    rule = torch.tensor([3, 7, 11])
    labels = torch.isin(tokens, rule).any(1).long()
    torch.manual_seed(0)
    data = from_tensors(tokens, labels)
    settings: dict[str, Any] = {"epochs": 30, "batch_size": 50, "progress": False, "budget": "macs=30%"}
    pruned = bp.prune(Spotter(), data, "parsimonious", **settings)
    assert pruned.evaluation.macs <= 0.3 * sum(layer.macs for layer in pruned.dense_layers)
    assert pruned.evaluation.accuracy > 0.95
    others = torch.tensor([token for token in range(20) if token not in rule])
    quiet = others[torch.randint(0, 17, (400, 5), generator=generator)]
    assert float((pruned.predict(quiet) == 0).float().mean()) > 0.9
    for token in rule.tolist():
        said = quiet.clone()
        said[:, 2] = token
        assert float((pruned.predict(said) == 1).float().mean()) > 0.9


@pytest.mark.parametrize("method", ["dense", "l1-units", "parsimonious"])
def test_balanced_weights_raise_the_recall_of_a_rare_class(method: str) -> None:
    """Five in a hundred, near the others: unweighted training gives them up."""
    generator = torch.Generator().manual_seed(0)
    labels = (torch.arange(2000) % 20 == 0).long()
    rows = torch.randn(2000, 6, generator=generator) + 1.2 * labels[:, None] * torch.tensor([1.0, 1, 0, 0, 0, 0])
    settings: dict[str, Any] = {"epochs": 15, "batch_size": 50, "progress": False}
    settings |= {"budget": "macs=70%"} if method == "l1-units" else {}

    def recalls(weights: str | None) -> tuple[float | None, ...]:
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2))
        return bp.prune(
            network, from_tensors(rows, labels, class_weights=weights), method, **settings
        ).evaluation.recalls

    plain, balanced = recalls(None)[1], recalls("balanced")[1]
    assert plain is not None and balanced is not None and balanced > plain + 0.3


def shapes(count: int, seed: int, size: int = 16) -> tuple[Tensor, Tensor]:
    """Noisy pictures [count, 1, size, size] of a square and a disc, and the class of every pixel."""
    generator = torch.Generator().manual_seed(seed)
    down, across = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    places = torch.randint(3, size - 3, (count, 2, 2, 1, 1), generator=generator)
    radii = torch.randint(2, 5, (count, 2, 1, 1), generator=generator)
    one, other = ((down - places[:, k, 0], across - places[:, k, 1]) for k in (0, 1))
    square = one[0].abs().maximum(one[1].abs()) <= radii[:, 0]
    disc = other[0] ** 2 + other[1] ** 2 <= (radii[:, 1] + 0.5) ** 2
    labels = torch.where(disc, 2, square.long())
    tones = torch.tensor([0.0, 0.8, -0.8])[labels]
    return (tones + 0.5 * torch.randn(labels.shape, generator=generator))[:, None], labels


def block(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())


class UNet(nn.Module):
    """Two steps down and up, with concatenated skip connections."""

    def __init__(self, width: int = 8, *, transposed: bool = True) -> None:
        super().__init__()
        self.down1, self.down2, self.middle = block(1, width), block(width, 2 * width), block(2 * width, 4 * width)
        self.raise2, self.raise1 = (_raise(2 * width * k, width * k, transposed=transposed) for k in (2, 1))
        self.up2, self.up1, self.head = block(4 * width, 2 * width), block(2 * width, width), nn.Conv2d(width, 3, 1)
        self.pool = nn.MaxPool2d(2)

    def forward(self, pictures: Tensor) -> Tensor:
        first = self.down1(pictures)
        second = self.down2(self.pool(first))
        raised = self.raise2(self.middle(self.pool(second)))
        raised = self.raise1(self.up2(torch.cat([second, raised], 1)))
        logits: Tensor = self.head(self.up1(torch.cat([first, raised], 1)))
        return logits


def _raise(inputs: int, outputs: int, *, transposed: bool) -> nn.Module:
    if transposed:
        return nn.ConvTranspose2d(inputs, outputs, 2, stride=2)
    return nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(inputs, outputs, 1))


@pytest.mark.parametrize("transposed", [True, False])
def test_concatenated_skip_connections_are_found(transposed: bool) -> None:
    """Every layer but the last can be narrowed by itself; `find` compares gated and compacted copies."""
    structure = find(UNet(transposed=transposed).eval(), shapes(4, 0)[0])
    assert sorted(group.size for group in structure.groups) == [8, 8, 8, 16, 16, 16, 32]
    assert list(structure.whole) == ["head"]


@pytest.mark.long
@pytest.mark.parametrize("transposed", [True, False])
def test_a_u_net_keeps_its_mean_iou_at_half_the_macs(transposed: bool) -> None:
    data = from_tensors(*shapes(600, 0))
    torch.manual_seed(0)
    network = UNet(transposed=transposed)
    settings: dict[str, Any] = {"epochs": 20, "batch_size": 20, "progress": False}
    dense = bp.prune(network, data, "dense", **settings).evaluation
    pruned = bp.prune(network, data, "parsimonious", budget="macs=50%", **settings).evaluation
    assert dense.mean_iou > 0.8 and pruned.macs <= 0.5 * dense.macs
    assert pruned.mean_iou > dense.mean_iou - 0.02
