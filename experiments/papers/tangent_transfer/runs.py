"""The runs of the study of neural tangent transfer (arXiv 2006.08228), as data.

Networks, steps, rates and training are those of its authors' code and of the notebooks that come with it: 3 % of the
weights, 18,720 steps of transfer, 50 epochs of training. The transfer from one data set to another is of our making:
the authors' code can do it, their figures could not be read.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from bayesprune.experiments.papers.rows import Row, varied
from bayesprune.run.settings import RunSettings
from bayesprune.store.identity import canonical_json

DATA, OTHER, QUICK_DATA = "mnist", "fashion-mnist", "mnist5k"
PERCEPTRON, SHORT, FULL, TRANSFER = "lenet300", "lenet5", "lenet5-full", "transfer"
"""The parts; the full transfer of LeNet-5 takes days on a processor, so that it is made only where it is asked for."""

STEPS, BATCH, EPOCHS = 18_720, 64, 50
SHORT_STEPS, SHORT_BATCH, SHORT_EPOCHS = 300, 32, 10
SHORTER_STEPS, SHORTEST_STEPS = 5_000, 2_000
"""Of LeNet-300-100; the projected kernel, whose steps cost more, is held against the first of them."""

OTHER_STEPS, OTHER_EPOCHS = 5_000, 20
"""Of the transfer from one data set to another."""

NTT, RANDOM, UNIFORM, DENSE = "ntt", "random (released)", "random (uniform)", "dense"
FOREIGN, OWN = "ntt, on other data", "ntt, on the same data"
CONTROLS = ("shuffle", "shuffle-inputs", "fresh")
THREE = (0, 1, 2)

_TRAINING = {"training": "adam"}
_LAYERWISE = {"allocation": "class-uniform", "initial": "glorot"}
_BASE = RunSettings("ntt", "lenet300", DATA, epochs=EPOCHS, batch_size=BATCH, density=0.03, options=_TRAINING)
_QUICK = {"lenet300": (400, 16, 4), "lenet5": (4_000, 8, 2)}
"""The quick study's share of the steps of transfer (one in so many), its examples a step, and its epochs."""


def part_of(row: Row) -> str:
    """The part of the study a row belongs to."""
    return row.factor.partition(": ")[0]


def plan(repeats: int) -> list[Row]:
    """The rows; their seeds are settled."""
    return [*_perceptron(), *_short(), *_full(), *_between(DATA, OTHER, 1), *_between(OTHER, DATA, 0)]


def quick(row: Row) -> Row:
    """The short run of a row, on the bundled digits alone."""
    share, batch, epochs = _QUICK[row.network]
    options: dict[str, Any] = {}
    if "steps" in row.settings.options:
        steps = max(3, row.settings.options["steps"] // share)
        options = {"steps": steps, "transfer_batch": batch, "every": 2}
    if "transfer_data" in row.settings.options:
        options["transfer_data"] = QUICK_DATA
    return replace(row, settings=varied(row.settings, epochs=epochs, options=options), seeds=row.seeds[: row.quick])


def with_steps(rows: Sequence[Row], steps: int) -> list[Row]:
    """The rows with so many steps of every transfer; one that differed from an earlier one in them only is left out."""
    found: dict[str, Row] = {}
    for row in rows:
        if "steps" in row.settings.options:
            row = replace(row, settings=varied(row.settings, options={"steps": steps}))
        found.setdefault(row.factor + canonical_json(row.settings.to_json()), row)
    return list(found.values())


def ntt(network: str, steps: int, batch: int, epochs: int, **options: Any) -> RunSettings:
    """Neural tangent transfer, and so many epochs of training."""
    own = {"steps": steps, "transfer_batch": batch, "masks": "released", "initial": "glorot", **options}
    return varied(_BASE, network=network, epochs=epochs, options=own)


def baseline(method: str, network: str, epochs: int, **options: Any) -> RunSettings:
    """A method that chooses weights at the start, the same share of every layer, of Glorot's weights."""
    return varied(_BASE, method=method, network=network, epochs=epochs, options={**_LAYERWISE, **options})


def randoms(network: str, epochs: int) -> dict[str, RunSettings]:
    """The two random baselines by name: the one of the authors' code, and one that is uniform in each layer."""
    return {
        RANDOM: baseline("magnitude", network, epochs, prune_share=0, control="shuffle-inputs"),
        UNIFORM: baseline("random", network, epochs),
    }


def _perceptron() -> list[Row]:
    """LeNet-300-100: what is published, other choices before training, controls; with one seed other transfers."""
    usual = ("lenet300", STEPS, BATCH, EPOCHS)
    others = {
        **randoms("lenet300", EPOCHS),
        "magnitude": baseline("magnitude", "lenet300", EPOCHS, prune_share=0),
        "logit-snip": baseline("logit-snip", "lenet300", EPOCHS),
        "snip": baseline("snip", "lenet300", EPOCHS),
        DENSE: replace(_BASE, method="dense", density=None),
    }
    short = ("lenet300", SHORTER_STEPS, BATCH, EPOCHS)
    controls = {f"{NTT}, {control}": ntt(*usual, control=control) for control in CONTROLS}
    variants = {
        "ntt, short": ntt(*short),
        "ntt, short, projected": ntt(*short, kernel="projected"),
        "ntt, shortest": ntt("lenet300", SHORTEST_STEPS, BATCH, EPOCHS),
    }
    three = {NTT: ntt(*usual), **others, **controls}
    return [
        *(Row(PERCEPTRON, name, settings, THREE, 1) for name, settings in three.items()),
        *(Row(PERCEPTRON, name, settings, (0,), 1) for name, settings in variants.items()),
    ]


def _short() -> list[Row]:
    """LeNet-5 with the steps that a processor can take."""
    rows = {NTT: ntt("lenet5", SHORT_STEPS, SHORT_BATCH, SHORT_EPOCHS), **randoms("lenet5", SHORT_EPOCHS)}
    return [Row(SHORT, name, settings, (0,), 1) for name, settings in rows.items()]


def _full() -> list[Row]:
    """LeNet-5 as published, as many runs as there."""
    rows = {NTT: ntt("lenet5", STEPS, BATCH, EPOCHS), **randoms("lenet5", EPOCHS)}
    return [Row(FULL, name, settings, (0, 1), 1) for name, settings in rows.items()]


def _between(data: str, other: str, short: int) -> list[Row]:
    """Training on data after transfer on other data, on the same, and after none."""
    usual = ("lenet300", OTHER_STEPS, BATCH, OTHER_EPOCHS)
    rows = {
        FOREIGN: ntt(*usual, transfer_data=other),
        OWN: ntt(*usual),
        RANDOM: randoms("lenet300", OTHER_EPOCHS)[RANDOM],
    }
    return [
        Row(f"{TRANSFER}: {data}", name, replace(settings, data=data), (0,), short) for name, settings in rows.items()
    ]
