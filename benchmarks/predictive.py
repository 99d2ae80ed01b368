"""Posterior draws' predictions against plain forward passes of the same examples, and what a tree of draws takes.

LeNet-5 at the size that pruning leaves it (about 160 gates, `benchmarks.evidence`), 1,000 draws of its gates; weights
are random, which costs as much as trained ones. Predictions come with the log-likelihood of every example and the mean
of all draws, once without and once with targets drawn from each draw's law. A plain pass is the compact network's, as
often as there are draws. Draws of which many are equal, as after training, take fewer passes: the second row. One
thread; both sides by turns.
"""

import argparse
from dataclasses import dataclass
from time import process_time
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from bayesprune.batches import call
from bayesprune.data import Data, load
from bayesprune.run.predictive import predictive
from bayesprune.structure import Structure, evaluating
from benchmarks._pairing import paired
from benchmarks.evidence import cases, compacted

DRAWS = 1_000
LIMIT = 5.0
"""Predictions may take so many times as long as plain passes."""


@dataclass(frozen=True, eq=False)
class Subject:
    """What `predictive` needs of a run."""

    network: nn.Module
    structure: Structure
    data: Data

    def run(self) -> Any:
        """It as far as `predictive` looks at it."""
        return SimpleNamespace(
            network=self.network,
            structure=self.structure,
            task=self.data.task,
            likelihood=self.data.task.likelihood(),
            settings=SimpleNamespace(output=""),
            data_summary={"split_sizes": self.data.split_sizes},
            raw_split=lambda _: None,
            _data=self.data,
        )


def subject(data: Data) -> Subject:
    """LeNet-5 cut to the size that pruning leaves."""
    case = cases()[1]
    structure = compacted(case, next(iter(data.test.batches(2)))[0])
    return Subject(case.network, structure, data)


def gates_of(chosen: Subject, draws: int, uncertain: int, seed: int = 0) -> Tensor:
    """Draws [1, D, J] in which so many gates are open or closed by chance and all others are open."""
    generator = torch.Generator().manual_seed(seed)
    found = torch.ones(1, draws, chosen.structure.gate_count, dtype=torch.uint8)
    own = torch.randperm(chosen.structure.gate_count, generator=generator)[:uncertain]
    found[..., own] = (torch.rand(1, draws, len(own), generator=generator) < 0.8).to(torch.uint8)
    return found


@torch.no_grad()
def plain(chosen: Subject, draws: int, examples: int) -> None:
    """As many forward passes of the compact network as there are draws, in batches as large."""
    batches = [inputs for inputs, _ in chosen.data.test.batches(min(1_000, examples))][: -(-examples // 1_000)]
    with evaluating(chosen.network):
        for inputs in batches:
            for _ in range(draws):
                call(chosen.network, inputs)


def measure(chosen: Subject, draws: int, examples: int, uncertain: int) -> list[float]:
    """How many times as long as plain passes predictions take: without targets drawn, and with."""
    run, gates = chosen.run(), gates_of(chosen, draws, uncertain)

    def predict(sampled: bool) -> None:
        predictive(run, gates, split="test", examples=examples, sampled=sampled)

    sides = [lambda: plain(chosen, draws, examples), lambda: predict(False), lambda: predict(True)]
    base, *others = paired(sides, 1, warm_up=0, clock=process_time)
    return [other / base for other in others]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the draws")
    draws = DRAWS // 10 if parser.parse_args().quick else DRAWS
    torch.set_num_threads(1)
    torch.manual_seed(0)
    chosen = subject(load("mnist5k"))
    examples = len(chosen.data.test)
    print(f"LeNet-5, {chosen.structure.gate_count} gates, {draws:,} draws, {examples:,} images, one thread")
    print(f"time over that of {draws:,} plain passes; at most {LIMIT:g}\n")
    print("| uncertain gates | different draws | predictions | with drawn targets |")
    print("|---|---|---|---|")
    for uncertain in (chosen.structure.gate_count, 5):
        different = len(gates_of(chosen, draws, uncertain)[0].unique(dim=0))
        once, sampled = measure(chosen, draws, examples, uncertain)
        print(f"| {uncertain} | {different:,} | {once:.2f} | {sampled:.2f} |")


if __name__ == "__main__":
    main()
