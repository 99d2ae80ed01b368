"""Layer gates on residual networks: error, cost and sections left at several prices, next to dense training.

    python -m benchmarks.layer_gates [--network perceptron|convolutional|digits-perceptron|digits-convolutional]
        [--data NAME] [--epochs N] [--seeds N] [--batch-size N] [--rows dense,layer-gates:100,complexity-aware:beta=4]

The networks named digits-... are small, and on scikit-learn's 8x8 digits: 1,000 to train, 400 to validate, 397 to test.

A row is a method, or a method with a price in nats or with options; dense training has equally many epochs. Errors are
of the last epoch on the validation split and on the test split. Seconds are those of training, on one thread; latency
is the median of a pass with 64 examples.
"""

import argparse
import warnings
from statistics import mean
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

import bayesprune as bp
from bayesprune.data import from_tensors
from bayesprune.run.pruned import Pruned

ROWS = "dense,layer-gates,complexity-aware,complexity-aware:beta=4,complexity-aware:alpha=0,complexity-aware:nu=0.1"


class ResidualPerceptron(nn.Module):
    """784-100, eight sections 100-50-100, 10: 159,400 multiply-accumulates, half of them in the sections."""

    inputs, width, hidden, depth = 784, 100, 50, 8

    def __init__(self) -> None:
        super().__init__()
        inputs, width, hidden = self.inputs, self.width, self.hidden
        self.stem, self.head = nn.Linear(inputs, width), nn.Linear(width, 10)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, width)) for _ in range(self.depth)
        )

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, 10] of images [B, 1, H, W]."""
        hidden = self.stem(images.flatten(1)).relu()
        for block in self.blocks:
            hidden = hidden + block(hidden)
        logits: Tensor = self.head(hidden)
        return logits


class DigitsPerceptron(ResidualPerceptron):
    """64-32, four sections 32-16-32, 10."""

    inputs, width, hidden, depth = 64, 32, 16, 4


class Block(nn.Module):
    """Two convolutions and a skip, with a projection where width or stride change."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(outputs), nn.BatchNorm2d(outputs)
        same = stride == 1 and inputs == outputs
        self.skip = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps [B, C, H, W]."""
        branch = self.bn2(self.conv2(self.bn1(self.conv1(maps)).relu()))
        outputs: Tensor = (self.skip(maps) + branch).relu()
        return outputs


class SmallResNet(nn.Module):
    """A convolution of stride 2, six blocks of widths 8, 16 and 32, a linear layer."""

    stride = 2
    widths: tuple[tuple[int, int, int], ...] = (
        (8, 8, 1), (8, 8, 1), (8, 16, 2), (16, 16, 1), (16, 32, 2), (32, 32, 1),
    )  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(1, 8, 3, self.stride, 1, bias=False), nn.BatchNorm2d(8)
        self.fc = nn.Linear(self.widths[-1][1], 10)
        self.blocks = nn.Sequential(*(Block(*width) for width in self.widths))

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, 10] of images [B, 1, H, W]."""
        logits: Tensor = self.fc(self.blocks(self.bn(self.conv(images)).relu()).mean((2, 3)))
        return logits


class DigitsResNet(SmallResNet):
    """A convolution of stride 1 and three blocks of widths 8 and 16."""

    stride, widths = 1, ((8, 8, 1), (8, 16, 2), (16, 16, 1))


DIGITS = "digits-"
NETWORKS: dict[str, type[nn.Module]] = {
    "perceptron": ResidualPerceptron, "convolutional": SmallResNet,
    "digits-perceptron": DigitsPerceptron, "digits-convolutional": DigitsResNet,
}  # fmt: skip


def digits() -> bp.Data:
    """Scikit-learn's digits, values from 0 to 1, in an order that is drawn once."""
    from sklearn.datasets import load_digits

    images, labels = (torch.tensor(each) for each in load_digits(return_X_y=True))
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    splits = [(images[at].float().view(-1, 1, 8, 8) / 16, labels[at]) for at in order.tensor_split([1000, 1400])]
    (inputs, targets), validation, test = splits
    return from_tensors(inputs, targets, validation=validation, test=test, name="digits")


def request(row: str) -> tuple[str, dict[str, Any]]:
    """A method and its settings: "layer-gates:100", "complexity-aware:beta=4"."""
    method, _, rest = row.partition(":")
    settings: dict[str, Any] = {}
    for part in filter(None, rest.split(";")):
        name, _, value = part.rpartition("=")
        settings[name or "price"] = float(value)
    return method, settings


def pruned_by(row: str, network: str, data: Any, epochs: int, seed: int, batch_size: int) -> Pruned:
    """One run of a row."""
    method, settings = request(row)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = NETWORKS[network]()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bp.PruningWarning)
        return bp.prune(made, data, method, epochs=epochs, seed=seed, batch_size=batch_size, progress=False, **settings)


def latency(network: nn.Module, side: int) -> float:
    """Milliseconds of a pass with 64 images of so many rows, the median of 30."""
    images, found = torch.randn(64, 1, side, side), []
    with torch.inference_mode():
        for _ in range(30):
            begun = perf_counter()
            network(images)
            found.append(1e3 * (perf_counter() - begun))
    return sorted(found)[15]


def line(row: str, runs: list[Pruned], side: int) -> str:
    """Means over the seeds; errors of the validation split also seed by seed."""
    results = [run.result() for run in runs]
    sections = [sum(kept == [0] for name, kept in run.kept.items() if name.endswith(".section")) for run in runs]
    validation = [100 * (1 - run.history[-1]["validation_accuracy"]) for run in runs]
    by_seed = ", ".join(f"{one:.2f}" for one in validation)
    tested = mean(100 * (1 - one["accuracy"]) for one in results)
    return (
        f"| {row} | {mean(validation):.2f} ({by_seed}) | {tested:.1f} "
        f"| {' '.join(map(str, sections))} | {mean(one['macs'] for one in results):,.0f} "
        f"| {mean(one['params'] for one in results):,.0f} | {mean(one['train_macs_ratio'] for one in results):.2f} "
        f"| {mean(run.seconds for run in runs):.0f} | {mean(latency(run.network, side) for run in runs):.2f} |"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=NETWORKS, default="perceptron")
    parser.add_argument("--data", default="mnist5k")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", default=ROWS)
    parser.add_argument("--batch-size", type=int, default=100)
    given = parser.parse_args()
    small = given.network.startswith(DIGITS)
    data = digits() if small else bp.load_data(given.data)
    print("| row | validation error % | test error % | sections left | MACs | params | train MACs | s | ms |")
    print("|---|---|---|---|---|---|---|---|---|")
    for row in given.rows.split(","):
        runs = [
            pruned_by(row, given.network, data, given.epochs, seed, given.batch_size) for seed in range(given.seeds)
        ]
        print(line(row, runs, 8 if small else 28), flush=True)


if __name__ == "__main__":
    main()
