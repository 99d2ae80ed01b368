"""The evidence for every unit that is left: flips replayed from the gated layer on, against one whole pass a gate.

LeNet-300-100 with about 300 gates left and LeNet-5 with about 170, on all training images of MNIST, or on the bundled
mnist5k where MNIST is not at hand; weights are random, which costs as much as trained ones. One thread. Whole passes
are timed on a part of the images, by turns with replays of the same part, and the ratio is of those two.
"""

import argparse
from dataclasses import dataclass, replace
from time import process_time

import torch
from torch import Tensor, nn

from bayesprune.data import Data, load
from bayesprune.models import LeNet5, LeNet300
from bayesprune.run.flipping import Flipping
from bayesprune.structure import Structure, compact, find
from bayesprune.structure.replay import Replay
from bayesprune.tasks.likelihood import Categorical
from benchmarks._pairing import paired
from benchmarks.estimators import any_data

PART = 1_000
"""Images on which whole passes are timed."""


@dataclass(frozen=True, eq=False)
class Case:
    """A network of which units are left: so many of each group."""

    name: str
    network: nn.Module
    left: dict[str, int]
    flatten_inputs: bool = False


def cases() -> list[Case]:
    """The two networks at the sizes that pruning leaves."""
    return [
        Case("lenet300", LeNet300(), {"inputs": 200, "fc1": 70, "fc2": 30}),
        Case("lenet5", LeNet5(), {"conv1": 6, "conv2": 13, "fc1.inputs": 100, "fc1": 51}, flatten_inputs=True),
    ]


def compacted(case: Case, example: Tensor) -> Structure:
    """The case's network cut to the first units of every group; its flattened features are those of open filters."""
    structure = find(case.network, example, flatten_inputs=case.flatten_inputs)
    gates = torch.zeros(structure.gate_count, dtype=torch.bool)
    for name, place in structure.slices().items():
        gates[place.start : place.start + case.left[name]] = True
    return compact(case.network, structure, structure.consistent(gates))


def flipping(case: Case, data: Data) -> Flipping:
    """All training images and every gate that is left, by replay."""
    example, size = next(iter(data.train.batches(2)))[0], len(data.train)
    structure = compacted(case, example)
    replay = Replay.of(case.network, structure, example)
    assert replay is not None
    return Flipping(case.network, structure, Categorical(), data.train, "", size, size, None, replay)


def differences(chosen: Flipping) -> Tensor:
    """Mean rise [J] of the loss when each gate alone closes."""
    found = torch.zeros(chosen.gates, dtype=torch.float64)
    for gates, rises in chosen.rises():
        found[gates] += rises.sum(1) / chosen.examples
    return found


def measure(case: Case, data: Data, part: int) -> str:
    """One line of the table."""
    fast = flipping(case, data)
    begin = process_time()
    differences(fast)
    seconds = process_time() - begin
    few = replace(fast, examples=min(part, fast.examples))
    whole = replace(few, replay=None)
    one, other = paired([lambda: differences(few), lambda: differences(whole)], 2, warm_up=1, clock=process_time)
    apart = float((differences(few) - differences(whole)).abs().max())
    return f"| {case.name} | {fast.gates} | {fast.examples:,} | {seconds:.1f} | {other / one:.1f} | {apart:.0e} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the bundled digits only")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    torch.manual_seed(0)
    data = load("mnist5k") if quick else any_data()
    print(f"{data.name}, one thread; time of whole passes over that of replays, on {PART:,} images\n")
    print("| network | gates | images | seconds of the processor | whole passes | largest difference, nats |")
    print("|---|---|---|---|---|---|")
    for case in cases():
        print(measure(case, data, PART))


if __name__ == "__main__":
    main()
