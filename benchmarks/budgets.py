"""How close budgets are met, and what that costs in accuracy.

    python -m benchmarks.budgets [--data mnist] [--quick]

Two tables. The first: `parsimonious` under four budgets, LeNet-300-100 with three seeds and LeNet-5 with one. A network
must not be over its budget, and under it by at most 3 % or the cheapest channel that is not there; how many gates were
open in the end and were cut is said. The second is paired: a fixed price is run with five seeds, and the
multiply-accumulates that each run happens to end with are the budget of a second run with the same seed. Accuracy is
that on the validation split, in percent. By default on mnist5k in a few minutes.
"""

import argparse
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

import bayesprune as bp
from bayesprune.budgets.limits import SLACK
from bayesprune.errors import PruningWarning
from bayesprune.run.budget import parse_budgets
from bayesprune.run.pruned import Pruned

BUDGETS = {
    "lenet300": ("macs=10%", "params=5%", "macs=3%", "macs=8%,params=6%"),
    "lenet5": ("macs=10%", "params=5%", "macs=20%", "macs=15%,params=5%"),
}
SEEDS = {"lenet300": 3, "lenet5": 1}
EPOCHS = {"mnist5k": {"lenet300": 40, "lenet5": 20}, "mnist": {"lenet300": 40, "lenet5": 40}}
PRICES = {
    "mnist5k": {"lenet300": (4.0, 8.0), "lenet5": (8.0,)},
    "mnist": {"lenet300": (14.0, 30.0), "lenet5": (30.0,)},
}
PAIRS = 5


@dataclass(frozen=True)
class Met:
    """How a budget was met.

    Attributes:
        used: the largest share of a budget that the network uses.
        cheapest: the share that the cheapest channel more would use, so large as its layers are now.
        cut: gates that were open in the end and were closed for the budget.
    """

    used: float
    cheapest: float
    cut: int

    @property
    def holds(self) -> bool:
        """Never over, and under by little."""
        return 1 - max(SLACK, self.cheapest) - 1e-9 <= self.used <= 1


def cost_of(network: str, widths: Sequence[int]) -> dict[str, int]:
    """Multiply-accumulates and parameters of LeNet-300-100 (inputs, fc1, fc2) or LeNet-5 (conv1, conv2, fc1)."""
    one, two, three = widths
    if network == "lenet300":
        macs = one * two + two * three + 10 * three
        return {"macs": macs, "params": macs + two + three + 10}
    weights = 25 * one, 25 * one * two, 16 * two * three, 10 * three
    macs = weights[0] * 576 + weights[1] * 64 + weights[2] + weights[3]
    return {"macs": macs, "params": sum(weights) + one + two + three + 10}


def met(pruned: Pruned, network: str, budget: str, whole: Sequence[int]) -> Met:
    """How a run met its budget, counted from the widths that it has left.

    Args:
        pruned: the run.
        network: its name.
        budget: as it was given.
        whole: widths of the dense network.
    """
    widths, dense = [len(group.kept) for group in pruned.groups], cost_of(network, whole)
    allowed = {one.kind: one.limit(dense["macs"], dense["params"]) for one in parse_budgets(budget)}

    def used(counts: Sequence[int]) -> float:
        spent = cost_of(network, counts)
        return max(spent[kind] / number for kind, number in allowed.items())

    spent = {"macs": pruned.evaluation.macs, "params": pruned.evaluation.params}
    now = max(spent[kind] / number for kind, number in allowed.items())
    more = [
        [*widths[:place], widths[place] + 1, *widths[place + 1 :]] for place in range(3) if widths[place] < whole[place]
    ]
    cheapest = min((used(counts) - used(widths) for counts in more), default=1.0)
    return Met(now, cheapest, pruned.result()["cut_for_budget"])


def run(network: str, data: Any, epochs: int, seed: int, **size: Any) -> Pruned:
    """One run, silent."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PruningWarning)
        return bp.prune(network, data, epochs=epochs, seed=seed, progress=False, **size)


WHOLE = {"lenet300": (784, 300, 100), "lenet5": (20, 50, 500)}
"""Widths of the dense networks on MNIST."""


def met_rows(network: str, data: Any, epochs: int, seeds: int) -> Iterator[str]:
    """Lines of the first table."""
    for budget in BUDGETS[network]:
        for seed in range(seeds):
            pruned = run(network, data, epochs, seed, budget=budget)
            found = met(pruned, network, budget, WHOLE[network])
            gates = sum(WHOLE[network])
            yield (
                f"| {network} | {budget} | {seed} | {found.used:.4f} | {found.cut} of {gates} "
                f"| {100 * validation(pruned):.1f} | {'met' if found.holds else 'MISSED'} |"
            )


def validation(pruned: Pruned) -> float:
    """Accuracy on the validation split after the last epoch."""
    return float(pruned.history[-1]["validation_score"])


def pairs(network: str, data: Any, epochs: int, price: float, seeds: int, **settings: Any) -> list[tuple[float, float]]:
    """Validation accuracies of a fixed price, and of the budget that it happens to end with, seed by seed."""
    found = []
    for seed in range(seeds):
        fixed = run(network, data, epochs, seed, price=price, **settings)
        asked = run(network, data, epochs, seed, budget=f"macs={fixed.evaluation.macs}", **settings)
        found.append((validation(fixed), validation(asked)))
    return found


def pair_row(network: str, price: float, accuracies: Sequence[tuple[float, float]]) -> str:
    """A line of the second table."""
    differences = [100 * (asked - fixed) for fixed, asked in accuracies]
    error = stdev(differences) / len(differences) ** 0.5 if len(differences) > 1 else float("nan")
    fixed, asked = (100 * mean(side) for side in zip(*accuracies, strict=True))
    verdict = "reached" if mean(differences) >= 0 else "within error" if mean(differences) >= -2 * error else "MISSED"
    return (
        f"| {network} | {price:g} | {fixed:.2f} | {asked:.2f} | {mean(differences):+.2f} ± {error:.2f} "
        f"| >= 0: {verdict} |"
    )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=sorted(EPOCHS), default="mnist5k")
    parser.add_argument("--quick", action="store_true", help="LeNet-300-100 only, fewer epochs")
    arguments = parser.parse_args()
    data, epochs = bp.load_data(arguments.data), EPOCHS[arguments.data]
    networks = ("lenet300",) if arguments.quick else tuple(BUDGETS)
    print("| network | budget | seed | used | cut in the end | validation % | |\n|---|---|---|---|---|---|---|")
    for network in networks:
        for line in met_rows(network, data, epochs[network] // (4 if arguments.quick else 1), SEEDS[network]):
            print(line, flush=True)
    print("\n| network | price | fixed price % | its budget % | difference | target |\n|---|---|---|---|---|---|")
    for network in networks:
        for price in PRICES[arguments.data][network][: 1 if arguments.quick else 2]:
            steps = epochs[network] // (4 if arguments.quick else 1)
            print(pair_row(network, price, pairs(network, data, steps, price, PAIRS)), flush=True)


if __name__ == "__main__":
    main()
