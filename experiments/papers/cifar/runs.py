"""The runs of the study on CIFAR-10 as data: networks by methods by published sizes, under two schedules."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from bayesprune.data import describe
from bayesprune.experiments.methods import METHODS
from bayesprune.experiments.papers.rows import Row, varied
from bayesprune.run.settings import RunSettings

NETWORKS = ("vgg16", "resnet20", "resnet56")
TITLES = {"vgg16": "VGG-16", "resnet20": "ResNet-20", "resnet56": "ResNet-56"}

SCHEDULES: Mapping[str, Mapping[str, Any]] = {
    "minutes": {"epochs": 30, "batch_size": 256, "learning_rate": 0.1, "precision": "bf16"},
    "published": {"epochs": 300, "batch_size": 128, "learning_rate": 0.1},
    "quick": {"epochs": 6, "batch_size": 50, "learning_rate": 0.05},
}
"""Epochs of all phases together, images a step, and the rate from which half a cosine falls to 0.

"minutes" fits minutes of one GPU, "published" takes as long as published training does, "quick" fits a processor.
"""

LONG, SMALL = "-long", "-cpu"
"""At the end of the names of parts: the published number of epochs; layer gates at a processor's size."""

SMALL_DATA, SMALL_WIDTHS = "cifar10@1000/4000", (8, 16, 32)
SMALL_EPOCHS, SMALL_BATCH, SMALL_RATE = 8, 50, 0.05
SMALL_PRICES = (200, 500, 1000)
"""Nats a section: 0.05, 0.125 and 0.25 nats a training example."""

CUTS = {"vgg16": (58.1, 66.6, 78.6), "resnet20": (50.0,), "resnet56": (47.4, 72.3)}
"""Percent of the dense network's MACs that published networks save."""

DENSE, SIZED, OWN, TRAINED = "dense", "budget", "own size", "from dense"
"""Factors: the dense network; a budget; the size that a method finds by itself; a budget, from trained weights."""

SIZED_METHODS = ("parsimonious", "l1-units", "geometric-median")
SECTION_GATES = "layer-gates"
"""The method that removes whole sections."""

OWN_METHODS = ("bc-gnj", "bc-ghs")
"""Those that published figures of VGG-16 are of; their noise decides what goes."""

GATE_RATE = 2e-3
"""Learning rate of Adam while gates learn; gradient descent begins afterwards."""

TUNING_RATE = 0.02
"""Where training begins with trained weights."""

QUICK_DATA, FALLBACK = "cifar10@500/3000", "mnist5k"
QUICK_WIDTHS = {
    "vgg16": (8, 8, 16, 16, 32, 32, 32, 64, 64, 64, 64, 64, 64, 64), "resnet20": (4, 8, 16), "resnet56": (4, 8, 16),
}  # fmt: skip
"""An eighth of VGG-16's filters, a quarter of the ResNets'."""

_SEEDS, _LONG_SEEDS = (0, 1, 2), (0,)


def plan(repeats: int = 1) -> list[Row]:
    """The rows of the study, those of the published schedule as well."""
    rows = [row for network in NETWORKS for schedule in ("minutes", "published") for row in _rows(network, schedule)]
    return [*rows, *_small_rows()]


def part_of(row: Row) -> str:
    """The network, and whether its runs are long or small."""
    ends = {SCHEDULES["published"]["epochs"]: LONG, SMALL_EPOCHS: SMALL}
    return f"{row.network}{ends.get(row.settings.epochs, '')}"


def dense_settings(network: str, schedule: str) -> RunSettings:
    """Plain training under a schedule."""
    return RunSettings(
        "dense", network, "cifar10", noise=0.0, optimizer="sgd", augment="crop-flip", **SCHEDULES[schedule]
    )


def quick(row: Row) -> Row:
    """The short runs of a row: one seed, reduced width, few images; digits where CIFAR-10 is not on this machine."""
    changes = {**SCHEDULES["quick"], "widths": QUICK_WIDTHS[row.network], "precision": "float32"}
    if row.settings.method != "dense" and _learns_gates(row.settings.method):
        changes["learning_rate"] = GATE_RATE
    short = replace(row, settings=replace(row.settings, **changes), seeds=row.seeds[: row.quick])
    return short.on(quick_data())


def quick_data() -> str:
    """A part of CIFAR-10 where it lies on this machine, in whatever form; else the bundled digits."""
    there = next(one.present for one in describe() if one.name == "cifar10")
    return QUICK_DATA if there else FALLBACK


def _rows(network: str, schedule: str) -> list[Row]:
    """All rows of a network under a schedule."""
    seeds = _SEEDS if schedule == "minutes" else _LONG_SEEDS
    dense = dense_settings(network, schedule)
    rows = [Row(DENSE, "dense", dense, seeds, 1)]
    for cut in CUTS[network]:
        for method in SIZED_METHODS:
            settings = _pruning(dense, method, budget_of(cut))
            own = int(cut == CUTS[network][0] and method != "geometric-median")
            rows.append(Row(SIZED, f"{method}, {cut:g} % cut", settings, seeds, own))
    if network == "vgg16":
        rows += [Row(OWN, method, _pruning(dense, method, None), seeds) for method in OWN_METHODS]
    if network != "vgg16":  # whose layers have no skips
        rows.append(Row(OWN, SECTION_GATES, _pruning(dense, SECTION_GATES, None), seeds, 1))
    for method in SIZED_METHODS[:2]:
        settings = _tuned(_pruning(dense, method, budget_of(CUTS[network][0])))
        rows.append(Row(TRAINED, f"{method}, {CUTS[network][0]:g} % cut, from dense", settings, seeds, start=dense))
    return rows


def _small_rows() -> list[Row]:
    """ResNet-20 at half its width on 4,000 pictures, dense and with layer gates; validation chooses the price."""
    dense = RunSettings(
        "dense", "resnet20", SMALL_DATA, widths=SMALL_WIDTHS, noise=0.0, optimizer="sgd", augment="crop-flip",
        epochs=SMALL_EPOCHS, batch_size=SMALL_BATCH, learning_rate=SMALL_RATE,
    )  # fmt: skip
    gates = replace(dense, method=SECTION_GATES, learning_rate=GATE_RATE)
    priced = [Row(OWN, f"{SECTION_GATES}, {nats} nats", replace(gates, price=nats), (0,)) for nats in SMALL_PRICES]
    return [Row(DENSE, "dense", dense, (0,)), *priced]


def budget_of(cut: float) -> str:
    """The budget that leaves what a cut in percent leaves."""
    return f"macs={100 - cut:.4g}%"


def _learns_gates(method: str) -> bool:
    return "estimator" in METHODS[method].takes or method in (*OWN_METHODS, SECTION_GATES)


def _pruning(dense: RunSettings, method: str, budget: str | None) -> RunSettings:
    """A method under the schedule of a dense run."""
    rate = GATE_RATE if _learns_gates(method) else dense.learning_rate
    return replace(dense, method=method, budget=budget, learning_rate=rate)


def _tuned(settings: RunSettings) -> RunSettings:
    """The same from trained weights: deterministic methods prune at once, and training begins at a low rate."""
    share = {} if _learns_gates(settings.method) else {"prune_share": 0.0}
    return varied(settings, options={"fixed_learning_rate": TUNING_RATE, **share})
