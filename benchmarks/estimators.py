"""Every estimator of the gates' gradient against brute force, on a network frozen early and late in training.

LeNet-300-100 is trained by the library's own pruning phase (seed 0, default price) on MNIST, or on the bundled
mnist5k where MNIST is not at hand, and frozen after a fifth of the phase and at its end. The truth are all single
flips of every gate, written out by hand for this network, on some images and several draws of all other gates. Units:
the price c of a gate per example.

- bias: root mean square over a layer's gates of (mean estimate - truth), what noise explains taken out; 0 where
  noise explains all;
- std: root mean square standard deviation of one step of 100 images;
- sign: share of gates for which the mean estimate gives d + c the right sign;
- time: processor time of forward pass, estimate and backward pass, over that of a plain forward and backward pass of
  the same network.

    python -m benchmarks.estimators [--quick]
"""

import argparse
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from statistics import median
from time import process_time

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bayesprune.data import Data, load
from bayesprune.errors import DataUnavailableError
from bayesprune.inference.elbo import MiniBatch
from bayesprune.inference.estimators import (
    DisARM,
    GateEstimator,
    LinearisedFlips,
    SalientFlips,
    SampledLabelCurvature,
    ScoreFunction,
    StraightThrough,
    UniformFlips,
)
from bayesprune.inference.guides import GateGuide
from bayesprune.inference.objective import gate_optimizer, guide_of
from bayesprune.inference.parsimonious import Parsimonious
from bayesprune.models import LeNet300
from bayesprune.models.gated import GatedModel
from bayesprune.models.priors.gates import FlatteningGatePrior
from bayesprune.run.running import initial_state
from bayesprune.run.settings import RunSettings
from bayesprune.structure import Structure
from bayesprune.structure.selectors import Selected
from bayesprune.training import TrainState, train

BATCH, EARLY = 100, 0.2
"""Images a step, and the share of the pruning phase after which the network is frozen first."""

ESTIMATORS: tuple[tuple[str, GateEstimator, bool], ...] = (
    ("`straight-through`", StraightThrough(), False),
    ("`curvature` (default)", SampledLabelCurvature(), False),
    ("`salient-flips`, 300 a step", SalientFlips(), False),
    ("uniform flips with control variate, 300", UniformFlips(control=True), False),
    ("`uniform-flips`, 300", UniformFlips(), False),
    ("`disarm`", DisARM(), True),
    ("`score-function`, 4 draws", ScoreFunction(), True),
    ("`linearised-flips`", LinearisedFlips(), False),
)
"""Name, estimator, and whether it is measured on undecided gates only (it gives the others no gradient)."""


@dataclass(frozen=True)
class Frozen:
    """A network in mid-training.

    Attributes:
        network, structure: as they were.
        theta: inclusion probabilities [J].
        price: c per example.
    """

    network: nn.Module
    structure: Structure
    theta: Tensor
    price: float


def any_data() -> Data:
    """MNIST, or what is bundled."""
    try:
        return load("mnist", download=False)
    except DataUnavailableError:
        return load("mnist5k")


def freeze(state: TrainState) -> Frozen:
    """A copy without the hooks of the run."""
    network = deepcopy(state.network)
    for module in network.modules():
        module._forward_pre_hooks.clear()
    prices = gate_optimizer(state).prices
    assert prices is not None
    return Frozen(network, state.structure, guide_of(state).theta.detach().clone(), float(prices[0]))


def early_and_late(data: Data) -> list[Frozen]:
    """Train, and freeze twice."""
    settings = RunSettings(method="parsimonious").with_defaults(data.train)
    torch.manual_seed(0)
    state = initial_state(LeNet300(), data, settings)
    phase = Parsimonious().plan(state, data, settings).phases[0]
    kept: list[Frozen] = []

    def keep(state: TrainState) -> None:
        if state.phase_step in (round(EARLY * phase.steps), phase.steps):
            kept.append(freeze(state))

    watched = replace(phase, updates=[*phase.updates, keep])
    train(state, [watched], data, batch_size=settings.batch_size, seed=0, validate=False)
    return kept


def layers_of(frozen: Frozen, inputs: Tensor) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
    """What fc1 reads [N, F], and weight and bias of the three layers."""
    features, first = inputs.flatten(1), frozen.network.get_submodule("fc1")
    if isinstance(first, Selected):
        features = first.select(features)
        first = first.get_submodule("layer")
    layers = [first, frozen.network.get_submodule("fc2"), frozen.network.get_submodule("fc3")]
    pairs = [(layer.get_parameter("weight").detach(), layer.get_parameter("bias").detach()) for layer in layers]
    assert sum(weight.shape[1] for weight, _ in pairs) == len(frozen.theta)
    return features, pairs


def losses_above(layer: int, before: Tensor, gates: Sequence[Tensor], pairs: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """Logits of the network from the values `before` the nonlinearity of a layer."""
    for weight_bias, gate in zip(pairs[layer + 1 :], gates[layer + 1 :], strict=True):
        before = (before.relu() * gate) @ weight_bias[0].T + weight_bias[1]
    return before


@torch.no_grad()
def single_flips(frozen: Frozen, inputs: Tensor, labels: Tensor) -> Tensor:
    """Mean of l(z_j = 1) - l(z_j = 0) over images, all other gates drawn once for each image: [J]."""
    features, pairs = layers_of(frozen, inputs)
    gates = torch.bernoulli(frozen.theta.expand(len(inputs), -1)).split([w.shape[1] for w, _ in pairs], 1)
    reads, answers = features, []
    for layer, (weight, bias) in enumerate(pairs):
        before = (reads * gates[layer]) @ weight.T + bias
        base = cross_entropy(losses_above(layer, before, gates, pairs), labels, reduction="none")
        for unit in range(weight.shape[1]):
            drawn = gates[layer][:, unit]
            moved = torch.addr(before, (1 - 2 * drawn) * reads[:, unit], weight[:, unit])
            other = cross_entropy(losses_above(layer, moved, gates, pairs), labels, reduction="none")
            answers.append(((2 * drawn - 1) * (base - other)).mean())
        reads = before.relu()
    return torch.stack(answers)


@dataclass(frozen=True)
class Measured:
    """Moments of an estimator over steps, for each gate, and its median time in seconds."""

    mean: Tensor
    variance: Tensor
    steps: int
    seconds: float


def measure(frozen: Frozen, chosen: GateEstimator, inputs: Tensor, labels: Tensor, steps: int) -> Measured:
    """Estimates of so many steps, each of images of its own."""
    network = deepcopy(frozen.network)
    model = GatedModel(network, frozen.structure, FlatteningGatePrior(torch.ones_like(frozen.theta)), len(inputs))
    guide = GateGuide(model, frozen.theta)
    estimates, times = [], []
    for _ in range(steps):
        rows = torch.randint(len(inputs), (BATCH,))
        batch, wanted = inputs[rows], labels[rows]
        guide.zero_grad()
        network.zero_grad()
        begin = process_time()
        chosen.loss(MiniBatch(model, guide, batch, wanted), guide.theta).backward()
        times.append(process_time() - begin)
        assert guide.theta.grad is not None
        estimates.append(guide.theta.grad.clone())
    model.close()
    stacked = torch.stack(estimates).double()
    return Measured(stacked.mean(0), stacked.var(0), steps, median(times))


def plain_seconds(frozen: Frozen, inputs: Tensor, labels: Tensor, steps: int) -> float:
    """Median time of a forward and backward pass without gates."""
    network, times = deepcopy(frozen.network), []
    for _ in range(steps):
        network.zero_grad()
        begin = process_time()
        cross_entropy(network(inputs[:BATCH]), labels[:BATCH]).backward()
        times.append(process_time() - begin)
    return median(times)


def row(
    name: str, measured: Measured, truth: Tensor, doubt: Tensor, frozen: Frozen, undecided: bool, plain: float
) -> str:
    """One line of the table; `doubt` is the variance of the truth [J]."""
    cells: list[list[str]] = [[], [], []]
    interior = (frozen.theta > 0) & (frozen.theta < 1)
    for place in frozen.structure.slices().values():
        chosen = torch.zeros_like(interior)
        chosen[place] = True
        if undecided:
            chosen &= interior
        if not chosen.any():
            for cell in cells:
                cell.append("-")
            continue
        difference = (measured.mean - truth)[chosen] / frozen.price
        noise = (measured.variance / measured.steps + doubt)[chosen] / frozen.price**2
        right = (measured.mean + frozen.price > 0) == (truth + frozen.price > 0)
        bias, spread = difference.square().mean() - noise.mean(), measured.variance[chosen].mean()
        # within three standard errors, those of a mean of squared Gaussian noise, nothing was seen
        seen = bias > 3 * (2 * noise.square().sum()).sqrt() / len(noise)
        cells[0].append(f"{float(bias) ** 0.5:.1f}" if seen else "0")
        cells[1].append(f"{float(spread) ** 0.5 / frozen.price:.0f}")
        cells[2].append(f"{float(right[chosen].float().mean()):.2f}".removeprefix("0"))
    return f"| {name} | {' | '.join(' / '.join(cell) for cell in cells)} | {measured.seconds / plain:.1f} |"


def table(frozen: Frozen, data: Data, images: int, draws: int, steps: int, say: Callable[[str], None]) -> None:
    """Truth and every estimator of one frozen network."""
    inputs, labels = next(iter(data.train.batches(images, seed=1)))
    torch.manual_seed(1)
    flips = torch.stack([single_flips(frozen, inputs, labels) for _ in range(draws)]).double()
    truth, doubt = flips.mean(0), flips.var(0) / draws
    alive = "-".join(str(place.stop - place.start) for place in frozen.structure.slices().values())
    interior = int(((frozen.theta > 0) & (frozen.theta < 1)).sum())
    size = " / ".join(
        f"{float(truth[place].square().mean()) ** 0.5 / frozen.price:.1f}"
        for place in frozen.structure.slices().values()
    )
    say(f"{alive} gates there, {interior} undecided; root mean square truth {size} c (inputs / fc1 / fc2)\n")
    say("| estimator | bias | std | sign | time |\n|---|---|---|---|---|")
    plain = plain_seconds(frozen, inputs, labels, steps)
    for name, chosen, undecided in ESTIMATORS:
        measured = measure(frozen, chosen, inputs, labels, steps)
        say(row(name, measured, truth, doubt, frozen, undecided, plain))
    say("")


def main() -> None:
    """Print two tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer images, draws and steps, on the bundled digits")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    data = load("mnist5k") if quick else any_data()
    images, draws, steps = (300, 4, 40) if quick else (1000, 8, 400)
    print(f"{data.name}, {images} images, {draws} draws of the gates, {steps} steps of {BATCH} images")
    for title, frozen in zip(("early", "late"), early_and_late(data), strict=True):
        print(f"\n{title}: ", end="")
        table(frozen, data, images, draws, steps, print)


if __name__ == "__main__":
    main()
