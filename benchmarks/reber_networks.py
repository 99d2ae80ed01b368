"""How long the networks of the study of random graphs take to train, on one core; the target is 3 minutes on average.

    python -m benchmarks.reber_networks [--graphs 3] [--steps 3]

For each kind of cell the first graphs of both families of `bayesprune paper hidden-structures --part reber`. A few
training steps with 128 strings (forward, backward, clipping, Adam) are timed in seconds of the processor, after one
that is not, and multiplied by the steps of 15 epochs. What a run does besides (looking into the network, validation,
tests) is left out: about a tenth more.
"""

import argparse
from time import process_time

import torch
from torch.nn.functional import cross_entropy

from bayesprune.data import Data, load, steps_per_epoch
from bayesprune.experiments.papers.hidden_structures.reber_runs import CELLS, REBER, cell_of, reber_rows
from bayesprune.experiments.papers.rows import Row
from bayesprune.models import networks  # noqa: F401  # fills the registry
from bayesprune.run.networks import NetworkSpec
from bayesprune.training import adam

TARGET = 180.0
"""Seconds a network."""


def main() -> None:
    """Print a line for each kind of cell, and the mean over the study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--graphs", type=int, default=3)
    parser.add_argument("--steps", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    data, total = load(REBER), 0.0
    for cell, count in CELLS.items():
        rows = [row for row in reber_rows() if cell_of(row) == cell and row.seeds[0] < given.graphs]
        times = [seconds(row, data, given.steps) for row in rows]
        total += 2 * count * sum(times) / len(times)
        print(f"{cell:5} {sum(times) / len(times):6.1f} s a network ({min(times):.1f} to {max(times):.1f})", flush=True)
    study = 2 * sum(CELLS.values())
    print(f"the study's {study} networks: {total / study:.1f} s on average; target {TARGET:.0f} s")


def seconds(row: Row, data: Data, steps: int) -> float:
    """Of the processor, for all training steps of a network."""
    torch.manual_seed(0)
    network = NetworkSpec(row.network).build()
    optimizer = adam(1e-3, clip=5.0)(network.parameters())
    begin = 0.0
    for done, (inputs, classes) in enumerate(data.train.batches(row.settings.batch_size, seed=0), 1):
        if done == 2:
            begin = process_time()
        optimizer.zero_grad()
        cross_entropy(network(inputs), classes).backward()
        optimizer.step()
        if done == steps + 1:
            break
    epochs = row.settings.epochs or 0
    return (process_time() - begin) / steps * epochs * steps_per_epoch(data.train, row.settings.batch_size)


if __name__ == "__main__":
    main()
