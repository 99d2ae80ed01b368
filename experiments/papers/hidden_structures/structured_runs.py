"""Removing channels deterministically, beside the Bayesian method: as many epochs, and no more multiply-accumulates.

Every deterministic run takes its size from the Bayesian run of the same seed. How each method spreads what it keeps
over the layers is chosen on validation data: one run for every allocation, further seeds for the best one.
"""

from bayesprune.experiments.papers.parsimonious.runs import BASE_LENET5, BASE_MLP
from bayesprune.experiments.papers.rows import Row
from bayesprune.run.settings import RunSettings

STRUCTURED = "structured"
BASES = {"lenet300": BASE_MLP, "lenet5": BASE_LENET5}
REFERENCE = "parsimonious"
METHODS = ("l1-units", "geometric-median", "taylor", "random")
"""Network slimming is not among them: neither network has batch normalisation."""

_ALIKE = ("class-blind", "class-uniform")
_GROUPS = {"lenet300": ("inputs", "fc1", "fc2"), "lenet5": ("conv1", "conv2", "fc1")}
_SHARES = {
    "lenet300": ((3, 5, 8), (1, 1, 2), (2, 1, 1), (1, 2, 2), (1, 3, 6)),
    "lenet5": ((4, 5, 3), (3, 2, 2)),
}
"""Claims of the groups; the first of each network are about the shares that the Bayesian method arrives at."""

CHOSEN: dict[tuple[str, str], str] = {
    ("lenet300", "l1-units"): "class-uniform",
    ("lenet300", "geometric-median"): "1:1:2",
    ("lenet300", "taylor"): "class-uniform",
    ("lenet300", "random"): "2:1:1",
    ("lenet5", "l1-units"): "4:5:3",
    ("lenet5", "geometric-median"): "class-uniform",
    ("lenet5", "taylor"): "class-uniform",
    ("lenet5", "random"): "4:5:3",
}
"""The allocation with the least validation error of seed 0, which further seeds are run with."""

_SEEDS = {"lenet300": (0, 1, 2, 3, 4), "lenet5": (0, 1, 2)}


def structured_rows() -> list[Row]:
    """The Bayesian runs, and every method with every allocation."""
    rows = []
    for network, base in BASES.items():
        factor = factor_of(network)
        rows.append(Row(factor, REFERENCE, base, _SEEDS[network], int(network == "lenet300")))
        for method in METHODS:
            for name, allocation in allocations(network).items():
                if (method, name) == ("random", "class-blind"):  # the same as class-uniform but for luck
                    continue
                settings = RunSettings(
                    method, network, base.data, epochs=base.epochs, options={"allocation": allocation}
                )  # fmt: skip
                seeds = _SEEDS[network][: None if CHOSEN.get((network, method)) == name else 1]
                short = int((network, method, name) == ("lenet300", "l1-units", "class-uniform"))
                rows.append(Row(factor, f"{method}, {name}", settings, seeds, short, match=REFERENCE))
    return rows


def factor_of(network: str) -> str:
    """The factor of a network's rows."""
    return f"{STRUCTURED}: {network}"


def allocations(network: str) -> dict[str, str | dict[str, float]]:
    """The allocations that a network's methods choose from, by name."""
    groups = _GROUPS[network]
    shares = {
        ":".join(map(str, each)): dict(zip(groups, map(float, each), strict=True)) for each in _SHARES[network]
    }  # fmt: skip
    return {**{name: name for name in _ALIKE}, **shares}
