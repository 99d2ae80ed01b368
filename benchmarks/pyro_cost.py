"""What Pyro costs: one SVI step of ours against the same estimator written by hand without Pyro.

Both sides do the same work in one process on one thread, step by step in turn: draw gates for each example, one
forward pass, the sampled-label backward pass, the loss's backward pass, Adam on the weights with the Gaussian prior,
and the price-normalised projected step on the gates. Targets: at most 1.15x on LeNet-5 and 1.4x on LeNet-300-100
before anything is removed, and at most 1.2 ms more at the recipe's final size.

    python -m benchmarks.pyro_cost [--steps N]
"""

import argparse
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d, nll_loss

from bayesprune.data import from_tensors
from bayesprune.inference.objective import GatedObjective, guide_of
from bayesprune.inference.parsimonious import Parsimonious
from bayesprune.models import LeNet5, LeNet300
from bayesprune.run.running import initial_state
from bayesprune.run.settings import RunSettings
from bayesprune.training.phase import make_optimizers
from benchmarks._pairing import paired

BATCH, EXAMPLES, PRICE, HORIZON = 100, 55_000, 20.0, 300.0


def step_with_pyro(network: nn.Module, inputs: Tensor, labels: Tensor) -> Callable[[], None]:
    """A step of the library: the objective of the training loop, its optimizers."""
    data = from_tensors(torch.rand(300, *inputs.shape[1:]), torch.arange(300) % 10, classes=10)
    settings = RunSettings(method="parsimonious", price=PRICE, options={"price_kind": "equal", "horizon": HORIZON})
    state = initial_state(network, data, settings.with_defaults(data.train))
    phase = Parsimonious().plan(state, data, settings.with_defaults(data.train)).phases[0]
    make_optimizers(state, phase)
    objective = phase.objective
    guide = guide_of(state)
    assert isinstance(objective, GatedObjective)
    objective.size = EXAMPLES  # the recipe's N, with less data in memory
    objective.attach(state)
    state.network.train()

    def step() -> None:
        for optimizer in state.optimizers.values():
            optimizer.zero_grad(set_to_none=True)
        objective.loss(state, inputs, labels).backward()
        for optimizer in state.optimizers.values():
            optimizer.step()
        guide.theta.data.fill_(0.5)  # keep every gate undecided, so that the work stays the same

    return step


def step_by_hand(network: LeNet300 | LeNet5, inputs: Tensor, labels: Tensor) -> Callable[[], None]:
    """The same step as a user would write it for this one network."""
    forward, count = _perceptron(network) if isinstance(network, LeNet300) else _convolutional(network)
    optimizer = torch.optim.Adam(network.parameters(), 2e-3, weight_decay=1 / EXAMPLES, fused=True)
    theta, average, price = torch.full((count,), 0.5), torch.zeros(count), PRICE / EXAMPLES
    steps = 0

    def step() -> None:
        nonlocal steps
        steps += 1
        optimizer.zero_grad(set_to_none=True)
        gates = (torch.rand(len(inputs), count) < theta).float().requires_grad_(True)
        log_probs = torch.log_softmax(forward(inputs, gates), 1)
        with torch.no_grad():
            drawn = torch.multinomial(log_probs.exp(), 1).squeeze(1)
        (slope,) = torch.autograd.grad(nll_loss(log_probs, drawn, reduction="sum"), gates, retain_graph=True)
        nll_loss(log_probs, labels).backward()
        assert gates.grad is not None
        gradient = gates.grad.sum(0) + ((0.5 - gates.detach()) * slope.square()).mean(0)
        optimizer.step()
        average.mul_(0.98).add_(gradient, alpha=0.02)
        relative = average / (1 - 0.98**steps) / price + 1
        theta.sub_((relative / HORIZON).clamp_(-0.05, 0.05)).clamp_(0, 1)
        theta.fill_(0.5)

    return step


def _perceptron(network: LeNet300) -> tuple[Callable[[Tensor, Tensor], Tensor], int]:
    first, second, last = network.fc1, network.fc2, network.fc3
    a, b, c = first.in_features, first.out_features, second.out_features

    def forward(inputs: Tensor, gates: Tensor) -> Tensor:
        hidden = first(inputs.flatten(1) * gates[:, :a]).relu()
        hidden = second(hidden * gates[:, a : a + b]).relu()
        logits: Tensor = last(hidden * gates[:, a + b :])
        return logits

    return forward, a + b + c


def _convolutional(network: LeNet5) -> tuple[Callable[[Tensor, Tensor], Tensor], int]:
    conv1, conv2, first, last = network.conv1, network.conv2, network.fc1, network.fc2
    a, b, c = conv1.out_channels, conv2.out_channels, first.out_features

    def forward(inputs: Tensor, gates: Tensor) -> Tensor:
        maps = max_pool2d(conv1(inputs), 2).relu() * gates[:, :a, None, None]
        maps = max_pool2d(conv2(maps), 2).relu() * gates[:, a : a + b, None, None]
        hidden = first(maps.flatten(1)).relu() * gates[:, a + b :]
        logits: Tensor = last(hidden)
        return logits

    return forward, a + b + c


def main() -> None:
    """Print a table of the three sizes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=300)
    steps = parser.parse_args().steps
    torch.set_num_threads(1)
    torch.manual_seed(0)
    sizes: tuple[tuple[str, Callable[[], LeNet300 | LeNet5], tuple[int, ...], int], ...] = (
        ("LeNet-300-100, whole", LeNet300, (1, 28, 28), steps),
        ("LeNet-300-100, 155-93-51", partial(LeNet300, (93, 51), (1, 1, 155)), (1, 1, 155), steps),
        ("LeNet-5, whole", LeNet5, (1, 28, 28), max(steps // 5, 20)),
    )
    print(f"{'network':28} {'by hand ms':>11} {'with Pyro ms':>13} {'ratio':>6} {'more ms':>8}")
    for name, make, shape, count in sizes:
        inputs, labels = torch.rand(BATCH, *shape), torch.randint(10, (BATCH,))
        by_hand, with_pyro = paired(
            [step_by_hand(make(), inputs, labels), step_with_pyro(make(), inputs, labels)], count, warm_up=10
        )
        print(f"{name:28} {by_hand:11.2f} {with_pyro:13.2f} {with_pyro / by_hand:6.2f} {with_pyro - by_hand:8.2f}")


if __name__ == "__main__":
    main()
