"""What a step of each variational method costs: one step of its pruning phase next to a plain step of the same network.

All sides run in one process on one thread and take turns, step by step, on one batch, so that a machine's noise hits
all of them; only ratios are judged. Networks keep their full size: gates and scales go back to where they began after
each step. Methods are found in the table: those that give the loop a guide.

    python -m benchmarks.family [--network lenet300|lenet5|all] [--data NAME] [--quick]

Processor time, medians of single steps.
"""

import argparse
from copy import deepcopy
from functools import partial
from time import process_time

import torch
from torch import Tensor, nn

from bayesprune.data import Data, load
from bayesprune.errors import NetworkError
from bayesprune.experiments.methods import METHODS
from bayesprune.inference.objective import GUIDE, guide_of
from bayesprune.run import running
from bayesprune.run.settings import RunSettings
from bayesprune.training import TrainState
from bayesprune.training.phase import Phase, make_optimizers
from benchmarks._pairing import Step, paired
from benchmarks.training_cost import BATCH, CASES, EPOCHS, Case, PlainTraining, warm_network


def begun(name: str, network: nn.Module, data: Data) -> tuple[TrainState, Phase] | None:
    """A method's state and pruning phase, ready for a step; None for a method without a guide.

    Args:
        name: in the table of methods.
        network: with the weights to begin with; it is copied.
        data: what the run would learn from.
    """
    method = METHODS[name]
    if method.needs:  # a size, which no method with a guide needs
        return None
    settings = RunSettings(method=name, epochs=EPOCHS)
    state = running.initial_state(network, data, settings)
    try:
        phase = method.plan(state, data, settings).phases[0]
    except NetworkError:  # it is for residual networks
        return None
    if GUIDE not in state.modules:
        return None
    make_optimizers(state, phase)
    phase.objective.attach(state)
    state.network.train()
    return state, phase


def family_step(state: TrainState, phase: Phase, inputs: Tensor, labels: Tensor) -> Step:
    """A step: loss, gradients, all optimizers; then what has one entry a gate goes back to where it began.

    Probabilities that projected steps move begin at 1/2, so that all gates stay undecided. Updates between steps
    (holding, shrinking) are left out.

    Args:
        state: as `begun` gives it.
        phase: likewise.
        inputs: of the batch, [B, ...].
        labels: [B].
    """
    guide = guide_of(state)
    if isinstance(guide.theta, nn.Parameter) and guide.theta.requires_grad:
        guide.theta.data.fill_(0.5)
    gates: list[Tensor] = [*guide.gate_parameters()]
    start = [parameter.detach().clone() for parameter in gates]

    def step() -> None:
        for optimizer in state.optimizers.values():
            optimizer.zero_grad(set_to_none=True)
        phase.objective.loss(state, inputs, labels).backward()
        for optimizer in state.optimizers.values():
            optimizer.step()
        with torch.no_grad():
            torch._foreach_copy_(gates, start)

    return step


def family_table(case: Case, data: Data, steps: int) -> dict[str, float]:
    """Print a row for each method; returns its step's time over that of the plain step.

    Args:
        case: of the network.
        data: whose first batch is taken.
        steps: rounds.
    """
    inputs, labels = next(iter(data.train.batches(BATCH, seed=0)))
    network = warm_network(case, data)
    found = {name: ready for name in METHODS if (ready := begun(name, network, data)) is not None}
    sides: list[Step] = [partial(PlainTraining(deepcopy(network)), inputs, labels)]
    sides += [family_step(*ready, inputs, labels) for ready in found.values()]
    plain, *times = paired(sides, steps, warm_up=5, clock=process_time)
    print(f"\n### {case.title}: one step at full size, batch {BATCH}\n")
    print("| step | ms | of the plain step |\n|---|---|---|")
    print(f"| plain | {plain:.2f} | 1.00 |")
    for name, taken in zip(found, times, strict=True):
        print(f"| {name} | {taken:.2f} | {taken / plain:.2f} |")
    return {name: taken / plain for name, taken in zip(found, times, strict=True)}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=[*CASES, "all"], default="lenet300")
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--quick", action="store_true", help="a quarter of the steps")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    data = load(arguments.data)
    for name in CASES if arguments.network == "all" else [arguments.network]:
        case = CASES[name]
        family_table(case, data, case.steps // 4 if arguments.quick else case.steps)


if __name__ == "__main__":
    main()
