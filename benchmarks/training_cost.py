"""What pruning costs next to plain training: one step, a whole run, and the compact network's forward pass.

All sides run in one process on one thread and take turns, step by step or epoch by epoch, so that a machine's noise
hits all of them; only ratios are judged.

    python -m benchmarks.training_cost [--network lenet300|lenet5|all] [--only steps|run|forward] [--quick]

Medians of single steps; the whole run's training seconds as in its result, against plain training that takes turns
with it in bursts and is scaled up to as many epochs. "Own ms" is a step's time beyond straight-through's, which draws
gates and has no estimate of its own.
"""

import argparse
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from itertools import count, islice
from time import perf_counter, process_time

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bayesprune.data import Data, load
from bayesprune.inference.estimators import ESTIMATORS
from bayesprune.inference.objective import GatedObjective, guide_of
from bayesprune.inference.parsimonious import Parsimonious
from bayesprune.models import LeNet5, LeNet300
from bayesprune.run import running
from bayesprune.run.settings import RunSettings
from bayesprune.training import Progress
from bayesprune.training.phase import make_optimizers
from benchmarks._pairing import Step, paired

BATCH, EPOCHS = 100, 40
EVERY, BURST = 100, 8
"""Steps of a pruning run from one burst of plain training to the next, and steps of a burst."""


@dataclass(frozen=True)
class Case:
    """A network and its targets: one step and one run as multiples of plain training, and how much faster it gets."""

    title: str
    make: type[LeNet300] | type[LeNet5]
    step: float
    run: float
    forward: float | None
    steps: int


CASES = {
    "lenet300": Case("LeNet-300-100", LeNet300, 2.2, 0.45, None, 200),
    "lenet5": Case("LeNet-5", LeNet5, 1.8, 0.20, 4.0, 30),
}


class PlainTraining:
    """Dense training as a user would write it; called with a batch it makes one step."""

    def __init__(self, network: nn.Module) -> None:
        self._network = network
        self._optimizer = torch.optim.Adam(network.parameters(), 2e-3, fused=True)

    def __call__(self, inputs: Tensor, labels: Tensor) -> None:
        """One step on inputs [B, ...] and labels [B]."""
        self._optimizer.zero_grad(set_to_none=True)
        cross_entropy(self._network(inputs), labels).backward()
        self._optimizer.step()


def pruning_step(network: nn.Module, data: Data, estimator: str, inputs: Tensor, labels: Tensor) -> Step:
    """A step of the pruning phase, with every gate held undecided so that the network keeps its full size."""
    settings = RunSettings(method="parsimonious", estimator=estimator, price=20.0, epochs=EPOCHS)
    state = running.initial_state(network, data, settings)
    phase = Parsimonious().plan(state, data, settings).phases[0]
    make_optimizers(state, phase)
    objective = phase.objective
    assert isinstance(objective, GatedObjective)
    objective.attach(state)
    state.network.train()
    theta = guide_of(state).theta

    def step() -> None:
        for optimizer in state.optimizers.values():
            optimizer.zero_grad(set_to_none=True)
        objective.loss(state, inputs, labels).backward()
        for optimizer in state.optimizers.values():
            optimizer.step()
        theta.data.fill_(0.5)

    return step


def warm_network(case: Case, data: Data) -> nn.Module:
    """A network after some steps of dense training: how often drawn labels are the true ones depends on that."""
    network = case.make()
    step = PlainTraining(network)
    for batch in islice(data.train.batches(BATCH, seed=1), case.steps):
        step(*batch)
    return network


def steps_table(case: Case, data: Data, steps: int) -> None:
    """One full-size step with each estimator against the plain step."""
    inputs, labels = next(iter(data.train.batches(BATCH, seed=0)))
    network = warm_network(case, data)
    names = list(ESTIMATORS)
    sides: list[Step] = [partial(PlainTraining(deepcopy(network)), inputs, labels)]
    sides += [pruning_step(network, data, name, inputs, labels) for name in names]
    plain, *times = paired(sides, steps, warm_up=5, clock=process_time)
    straight = times[names.index("straight-through")]
    print(f"\n### {case.title}: one step at full size, batch {BATCH}\n")
    print("| step | ms | of the plain step | own ms | target |\n|---|---|---|---|---|")
    print(f"| plain | {plain:.2f} | 1.00 | | |")
    for name, taken in zip(names, times, strict=True):
        target = verdict(taken / plain, case.step) if name == "curvature" else ""
        print(f"| {name} | {taken:.2f} | {taken / plain:.2f} | {taken - straight:.2f} | {target} |")


class Dense:
    """Plain training that takes turns with a pruning run: a burst of steps after every so many of its steps.

    Called as the run's `progress`, outside of the run's own clock.

    Attributes:
        seconds, steps: of plain training.
        pruning_cpu: processor seconds between the bursts; validation at the ends of epochs is among them.
        cpu: processor seconds of plain training.
    """

    def __init__(self, case: Case, data: Data) -> None:
        self._network, self._data = case.make(), data
        self._step = PlainTraining(self._network)
        self._batches = self._endless()
        self.seconds = self.cpu = self.pruning_cpu = 0.0
        self.steps = 0
        self._mark = process_time()

    def __call__(self, progress: Progress) -> None:
        """Take turns."""
        if progress.step % EVERY:
            return
        begin, begin_cpu = perf_counter(), process_time()
        self.pruning_cpu += begin_cpu - self._mark
        for _ in range(BURST):
            self._step(*next(self._batches))
        self._mark = process_time()
        self.seconds += perf_counter() - begin
        self.cpu += self._mark - begin_cpu
        self.steps += BURST

    def _endless(self) -> Iterator[tuple[Tensor, Tensor]]:
        for epoch in count():
            yield from self._data.train.batches(BATCH, seed=epoch)


def run_table(
    case: Case, data: Data, epochs: int, estimators: Sequence[str], consistency: float | None = None
) -> tuple[int, ...]:
    """Whole pruning runs against dense training of equal epochs; returns the first one's architecture."""
    print(f"\n### {case.title}: a whole run of {epochs} epochs\n")
    print(f"Dense training: {BURST} steps after every {EVERY} steps of the run, scaled up to equal epochs.\n")
    print("| run | training s | dense s | ratio | CPU s | dense CPU s | CPU ratio | left | test error % | target |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    widths: list[tuple[int, ...]] = []
    for name in estimators:
        settings = RunSettings(
            method="parsimonious", data="mnist", epochs=epochs, estimator=name, consistency=consistency
        )
        torch.manual_seed(0)
        dense = Dense(case, data)
        result = running.run(Parsimonious(), case.make(), data, settings, progress=dense)
        total = settings.total_steps(data.train) / dense.steps
        ratio = result.seconds / (dense.seconds * total)
        left = [len(kept) for kept in result.kept.values()]
        widths.append(tuple(left))
        target = verdict(ratio, case.run) if name == "curvature" and epochs == EPOCHS else ""
        print(
            f"| {name} | {result.seconds:.1f} | {dense.seconds * total:.1f} | {ratio:.2f} | {dense.pruning_cpu:.1f} "
            f"| {dense.cpu * total:.1f} | {dense.pruning_cpu / (dense.cpu * total):.2f} | {'-'.join(map(str, left))} "
            f"| {100 * (1 - result.evaluation.accuracy):.2f} | {target} |",
            flush=True,
        )
    return widths[0]


def forward_table(case: Case, data: Data, widths: tuple[int, ...], repeats: int) -> None:
    """The compact network's forward pass against the dense one's, batch 64."""
    assert case.forward is not None
    inputs, _ = next(iter(data.test.batches(64)))
    networks = [case.make().eval(), case.make(widths).eval()]
    with torch.inference_mode():
        sides = [partial(network, inputs) for network in networks]
        dense, compact = paired(sides, repeats, warm_up=5, clock=process_time)
    print(f"\n### {case.title}: forward pass at batch 64\n")
    print("| network | ms | times faster | target |\n|---|---|---|---|")
    print(f"| dense | {dense:.2f} | 1.0 | |")
    reached = "reached" if dense / compact >= case.forward else "MISSED"
    print(
        f"| {'-'.join(map(str, widths))} | {compact:.2f} | {dense / compact:.1f} | >= {case.forward:.0f}x: {reached} |"
    )


def verdict(ratio: float, target: float) -> str:
    """Whether a ratio is at most its target."""
    return f"<= {target}x: {'reached' if ratio <= target else 'MISSED'}"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=[*CASES, "all"], default="all")
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--quick", action="store_true", help="fewer steps and epochs, curvature only")
    parser.add_argument("--compact", default="", help="widths of the compact LeNet-5, e.g. 4,10,110; else the run's")
    parser.add_argument("--estimators", default="curvature,salient-flips", help="of the whole runs")
    parser.add_argument("--consistency", type=float, help="of the whole runs, instead of the default")
    parser.add_argument("--only", choices=["steps", "run", "forward"], help="one of the tables")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    data = load(arguments.data)
    for name in CASES if arguments.network == "all" else [arguments.network]:
        case = CASES[name]
        widths = tuple(int(width) for width in arguments.compact.split(",")) if arguments.compact else (4, 10, 110)
        if arguments.only in (None, "steps"):
            steps_table(case, data, case.steps // 4 if arguments.quick else case.steps)
        if arguments.only in (None, "run"):
            estimators = ["curvature"] if arguments.quick else arguments.estimators.split(",")
            left = run_table(case, data, 4 if arguments.quick else EPOCHS, estimators, arguments.consistency)
            widths = widths if arguments.compact or arguments.quick else left
        if arguments.only in (None, "forward") and case.forward is not None:
            forward_table(case, data, widths, 50 if arguments.quick else 200)


if __name__ == "__main__":
    main()
