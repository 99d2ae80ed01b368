"""The runs of the pruning experiments of arXiv 2107.12917, and of methods that prune before training, as data.

Networks, rates and training are the paper's (from its authors' code); the repeats are two by default where the paper
has 10 to 25, and experiment 5 trains for 2 epochs after each step, where a setting left over from experiment 4 gave
it 25.
"""

from dataclasses import replace

from bayesprune.experiments.papers.hidden_structures import reber_runs, rnn_runs
from bayesprune.experiments.papers.hidden_structures.reber_runs import REBER, reber_rows
from bayesprune.experiments.papers.hidden_structures.structured_runs import STRUCTURED, structured_rows
from bayesprune.experiments.papers.parsimonious import runs as parsimonious
from bayesprune.experiments.papers.rows import Row, varied
from bayesprune.run.settings import RunSettings

DATA, QUICK_DATA = "mnist@10000", "mnist5k"
WEIGHTS = {"mlp": 79_400, "lenet300": 266_200}
LEAST = {"mlp": 500, "lenet300": 2_000}
"""Weights at which iterative pruning ends."""

METHODS = ("random", "class-distributed", "class-uniform", "magnitude", "obd")
FORESIGHT = ("snip", "logit-snip", "grasp", "synflow")
CONTROLS = ("shuffle", "fresh")
PRUNING, BEFORE = "pruning", "foresight"
LONGER = "longer"
"""The factor of runs that train on for 50 epochs after one step."""

BASE = RunSettings(
    "dense", "mlp", DATA, epochs=200, batch_size=64, inputs="none", options={"training": "plain"}
)  # fmt: skip
_FEW, _FEWER = 30, 20
"""Epochs of the quick study's dense networks, on fewer images, and of methods that prune before training."""

_NETS, _LONGER = 4, 50
_SPARSEST, _SPARSEST_NOISE = 0.02, 0.1
"""The lowest density of methods that prune before training, and the noise there: 0.3 was worse on validation data."""
_THREE = (0, 1, 2)


def part_of(row: Row) -> str:
    """The part of the study a row belongs to."""
    found = rnn_runs.part_of(row)
    return found or next((part for part in (BEFORE, STRUCTURED, REBER) if row.factor.startswith(part)), PRUNING)


def method_of(row: Row) -> str:
    """The paper's name of an experiment's method."""
    method = row.factor.partition(": ")[2]
    return "class-blinded" if method == "magnitude" else method


def plan(repeats: int) -> list[Row]:
    """The rows; `repeats` runs of each begin with the same dense network, of short ones five at least."""
    seeds, more = tuple(range(repeats)), tuple(range(max(repeats, 5)))
    experiments = [*_iterative(seeds), *_one_shot(more), *_deep(seeds), *_longer(more), *_others(seeds)]
    others = [*structured_rows(), *reber_rows(), *rnn_runs.rnn_rows(repeats)]
    return [*_bases(), *experiments, *_foresight(), *others]


def quick(row: Row) -> Row:
    """The short runs of a row."""
    if part_of(row) == REBER:
        return reber_runs.quick(row)
    if rnn_runs.part_of(row) is not None:
        return rnn_runs.quick(row)
    row = row.on(QUICK_DATA)
    if part_of(row) == STRUCTURED:
        return parsimonious.quick(row)
    start = None if row.start is None else replace(row.start, epochs=_FEW)
    settings = replace(row.settings, epochs=_FEWER if part_of(row) == BEFORE else _FEW)
    return replace(row, settings=settings, seeds=row.seeds[: row.quick], start=start)


def base(net: int = 0, network: str = "mlp") -> RunSettings:
    """A dense network that others begin with."""
    return replace(BASE, seed=net, network=network)


def pruned(method: str, schedule: str, density: float, network: str = "mlp", **options: object) -> RunSettings:
    """A method on a trained dense network."""
    own = {"prune_share": 0.0, "schedule": schedule, "least": 1, **options}
    return varied(replace(BASE, network=network), method=method, density=density, options=own)


def _bases() -> list[Row]:
    """The dense networks, each a row, since each has pruned ones of its own."""
    nets = [Row("dense", f"784-100-10, net {net}", base(net), (net,), int(net == 0)) for net in range(_NETS)]
    return [*nets, Row("dense", "784-300-100-10", base(0, "lenet300"), (0,), 1)]


def _iterative(seeds: tuple[int, ...]) -> list[Row]:
    """Experiments 1 to 3: on until hardly a weight is left."""
    density = LEAST["mlp"] / WEIGHTS["mlp"]
    rows = []
    for method in METHODS:
        for rate in (0.7, 0.6, 0.5, 0.4, 0.25):
            settings = pruned(method, "percentage", density, rate=rate, retrain=2)
            for net in range(_NETS):
                short = int(rate == 0.7 and net == 0)
                rows.append(Row(f"1: {method}", f"{rate:.0%}, net {net}", settings, seeds, short, base(net)))
        for rate in (0.25, 0.5, 0.75):
            for most, until in ((2, False), (10, True)):
                settings = pruned(
                    method, "percentage", density, rate=rate, retrain=most, until_validation=until
                )  # fmt: skip
                name = f"{rate:.0%}, {'at most 10' if until else '2'} epochs"
                rows.append(Row(f"2: {method}", name, settings, seeds, 0, base()))
        for count in (1_000, 5_000, 10_000):
            settings = pruned(method, "absolute", density, rate=count, retrain=2)
            rows.append(Row(f"3: {method}", f"{count:,} weights", settings, seeds, int(count == 10_000), base()))
    return rows


def _one_shot(seeds: tuple[int, ...]) -> list[Row]:
    """Experiment 4: one step, trained again until validation no longer improves."""
    return [
        Row(
            f"4: {method}", f"{share} %",
            pruned(method, "one-shot", round(1 - share / 100, 2), retrain=25, until_validation=True),
            seeds, int(share == 80), base(),
        )
        for method in (*METHODS, "layer-obs") for share in (80, 85, 90)
    ]  # fmt: skip


def _deep(seeds: tuple[int, ...]) -> list[Row]:
    """Experiment 5: the deeper network."""
    density, start = LEAST["lenet300"] / WEIGHTS["lenet300"], base(0, "lenet300")
    return [
        Row(
            f"5: {method}", f"{rate:.0%}",
            pruned(method, "percentage", density, "lenet300", rate=rate, retrain=2),
            seeds, int(rate == 0.75 and method == "magnitude"), start,
        )
        for method in METHODS for rate in (0.75, 0.5, 0.25)
    ]  # fmt: skip


def _longer(seeds: tuple[int, ...]) -> list[Row]:
    """One step as in experiment 4, then 50 epochs whatever validation says: pruned, with fresh weights, and whole."""
    kinds = {
        "class-blinded, 80 %": pruned("magnitude", "one-shot", 0.2, retrain=_LONGER),
        "class-uniform, 80 %": pruned("class-uniform", "one-shot", 0.2, retrain=_LONGER),
        "class-blinded, 80 %, weights drawn anew": pruned(
            "magnitude", "one-shot", 0.2, retrain=_LONGER, control="fresh"
        ),
        "nothing removed": pruned("magnitude", "one-shot", 1.0, retrain=_LONGER),
    }
    return [
        Row(LONGER, name, settings, seeds, int(name != "class-uniform, 80 %"), base())
        for name, settings in kinds.items()
    ]


def _others(seeds: tuple[int, ...]) -> list[Row]:
    """What pruning is compared with: dropout and weight decay."""
    dropout = [
        Row("dropout", f"{share:g}", varied(BASE, noise=(share / (1 - share)) ** 0.5), seeds, int(share == 0.2))
        for share in (0.1, 0.2, 0.3, 0.4, 0.5)
    ]
    decay = [
        Row("weight decay", f"{decay:g}", varied(BASE, options={"fixed_decay": decay}), seeds, int(decay == 0.005))
        for decay in (0.05, 0.005, 5e-4, 8e-5)
    ]
    return [*dropout, *decay]


def _foresight() -> list[Row]:
    """Methods that prune before training, and whether their choice of weights matters; the recipe's training."""
    rows = []
    for method in (*FORESIGHT, "random"):
        for density in (0.05, _SPARSEST):
            noise = _SPARSEST_NOISE if density == _SPARSEST else None
            settings = RunSettings(
                method, "lenet300", "mnist", epochs=40, noise=noise, density=density, options={"least": 1}
            )  # fmt: skip
            rows.append(Row(f"{BEFORE}: lenet300", f"{method}, {density:.0%}", settings, _THREE, int(density == 0.05)))
            if density == _SPARSEST and method != "random":
                for control in CONTROLS:
                    row = varied(settings, options={"control": control})
                    short = int(method == "snip")
                    rows.append(Row(f"{BEFORE}: lenet300", f"{method}, {density:.0%}, {control}", row, _THREE, short))
    small = RunSettings(
        "snip", "lenet5", "mnist", epochs=25, noise=_SPARSEST_NOISE, density=_SPARSEST, options={"least": 1}
    )  # fmt: skip
    rows.append(Row(f"{BEFORE}: lenet5", "snip, 2%", small, _THREE))
    return rows
