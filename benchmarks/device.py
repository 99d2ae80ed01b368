"""What a step costs on a device, what a compact network gains there, and whole runs to an accuracy.

    python -m benchmarks.device [--device auto] [--batch 1024] [--data cifar10] [--quick]

One script of less than 8 minutes on a data-centre GPU; `--seconds` leaves out what would begin later. All data lie on
the device. Steps are those of the training loop with all that belongs to them, by the wall clock around many of them,
in float32 and bf16: plain training, gates that learn, and fixed structure under noise, of LeNet-5 and VGG-16-BN. Then
images a second through the dense network and one with a third of its channels; then VGG-16-BN and ResNet-20 are pruned
to a share of their multiply-accumulates in bf16, which on CUDA comes with channels last. `--quick` is for a processor:
small networks, few examples of noise, few steps.
"""

import argparse
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

import torch
from torch import nn

import bayesprune as bp
from bayesprune.data import Data, from_tensors, load
from bayesprune.data.placing import placed
from bayesprune.devices import CPU, Place, place_of
from bayesprune.experiments.methods import METHODS
from bayesprune.models import VGG16, LeNet5, ResNet20
from bayesprune.models.networks.resnet import SmallResNet
from bayesprune.run.environment import computing_at, environment
from bayesprune.run.running import initial_state
from bayesprune.run.settings import RunSettings
from bayesprune.training import Phase, Progress, TrainState, train

Make = Callable[[], nn.Module]

KEPT = 1 / 3
"""Share of the channels that the compact network keeps."""


@dataclass(frozen=True)
class Sizes:
    """How much is done.

    Attributes:
        batch: examples a step.
        warm: steps before those that count.
        steps: that count.
        epochs: of a whole run.
        networks: of steps and throughput, by name.
        runs: of whole runs, by name.
    """

    batch: int
    warm: int
    steps: int
    epochs: int
    networks: Mapping[str, Make]
    runs: Mapping[str, Make]


def full(batch: int) -> Sizes:
    """For a GPU."""
    steps: dict[str, Make] = {"LeNet-5": lambda: LeNet5(input_shape=(3, 32, 32)), "VGG-16-BN": vgg16}
    return Sizes(batch, 20, 60, 20, steps, {"VGG-16-BN": vgg16, "ResNet-20": ResNet20})


def quick(batch: int) -> Sizes:
    """To see on a processor that all of it runs."""
    small: dict[str, Make] = {"small LeNet": lambda: LeNet5((4, 6, 8), (3, 32, 32))}
    return Sizes(min(batch, 32), 2, 3, 2, small, small | {"small ResNet": lambda: ShortResNet((4, 8, 16))})


def vgg16() -> VGG16:
    """Without a hidden linear layer."""
    return VGG16((64, 64, 128, 128, *[256] * 3, *[512] * 6))


class ShortResNet(SmallResNet):
    """One block a stage."""

    blocks = 1


def noise(examples: int = 160) -> Data:
    """Pictures of nothing, where the real ones are not at hand."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand(examples, 3, 32, 32, generator=generator)
    return from_tensors(pixels, torch.arange(examples) % 10, seed=0, name="noise")


class Clock:
    """Times the steps after the first ones; the device is waited for at both ends."""

    def __init__(self, place: Place, warm: int, total: int) -> None:
        self._place, self._marks, self._times = place, (warm, total), [0.0, 0.0]

    def __call__(self, now: Progress) -> None:
        """After a step."""
        if now.step in self._marks:
            self._times[self._marks.index(now.step)] = time(self._place)

    def milliseconds(self) -> float:
        """Of a step."""
        warm, total = self._marks
        return 1e3 * (self._times[1] - self._times[0]) / (total - warm)


def time(place: Place) -> float:
    """Seconds, once a device has done all that it was given."""
    if place.device.type != CPU:
        torch.get_device_module(place.device).synchronize()
    return perf_counter()


def begin(network: nn.Module, data: Data, place: Place, settings: RunSettings) -> tuple[TrainState, list[Phase]]:
    """A run's state on a device, and its phases."""
    state = initial_state(network, data, settings)
    state.move(place)
    phases = list(METHODS[settings.method].plan(state, placed(data, place), settings).phases)
    state.move(place)
    return state, phases


def step_times(make: Make, data: Data, place: Place, sizes: Sizes) -> dict[str, float]:
    """Milliseconds of each kind of step."""
    chosen: dict[str, tuple[str, int, bool]] = {
        "plain": ("dense", 0, False), "pruning": ("parsimonious", 0, False), "fixed": ("parsimonious", 1, False),
        "fixed, compact": ("parsimonious", 1, True),
    }  # fmt: skip
    found = {}
    for kind, (method, number, compact) in chosen.items():
        settings = RunSettings(method, epochs=1000, batch_size=sizes.batch, noise=0.0 if method == "dense" else 0.2)
        torch.manual_seed(0)
        state, phases = begin(make(), data, place, settings)
        if compact:
            state.shrink(some_channels(state))
        total = sizes.warm + sizes.steps
        phase = replace(phases[number], steps=total, start=None, batch_size=sizes.batch)
        clock = Clock(place, sizes.warm, total)
        train(state, [phase], placed(data, place), batch_size=sizes.batch, seed=0, progress=clock, validate=False)
        found[kind] = clock.milliseconds()
    return found


def some_channels(state: TrainState) -> torch.Tensor:
    """A share of every group's gates, bool [J]."""
    open_gates = torch.zeros(state.structure.gate_count, dtype=torch.bool)
    for place in state.structure.slices().values():
        open_gates[place.start : place.start + max(1, round(KEPT * (place.stop - place.start)))] = True
    return state.structure.protect(open_gates, torch.ones(len(open_gates)))


@torch.inference_mode()
def throughput(make: Make, data: Data, place: Place, sizes: Sizes) -> dict[str, float]:
    """Images a second through the dense and the compact network."""
    torch.manual_seed(0)
    state, _ = begin(make(), data, place, RunSettings("dense", epochs=1, batch_size=sizes.batch))
    inputs = next(iter(placed(data, place).train.batches(sizes.batch)))[0]
    found = {}
    for kind in ("dense", "compact"):
        if kind == "compact":
            with torch.inference_mode(False):
                state.shrink(some_channels(state))
        state.network.eval()
        with place.computing():
            for _ in range(sizes.warm):
                state.network(inputs)
            start = time(place)
            for _ in range(sizes.steps):
                state.network(inputs)
            found[kind] = sizes.steps * len(inputs) / (time(place) - start)
    return found


def whole_run(make: Make, data: Data, place: Place, sizes: Sizes) -> dict[str, Any]:
    """A run to an accuracy with a compact network, in bf16."""
    torch.manual_seed(0)
    start = perf_counter()
    pruned = bp.prune(
        make(), data, "parsimonious", budget="macs=30%", epochs=sizes.epochs, batch_size=sizes.batch, seed=0,
        device=str(place.device), precision="bf16", progress=False,
    )  # fmt: skip
    share = pruned.evaluation.macs / sum(layer.macs for layer in pruned.dense_layers)
    return {
        "accuracy": pruned.evaluation.accuracy, "share of MACs": share, "training seconds": pruned.seconds,
        "all seconds": perf_counter() - start,
    }  # fmt: skip


@contextmanager
def at(place: Place) -> Iterator[None]:
    """Torch's settings as in a run at a place."""
    with environment(), computing_at(place):
        yield


def said(values: dict[str, Any], unit: str = "") -> str:
    """On one line."""
    return ", ".join(f"{name} {value:,.4g}{unit}" for name, value in values.items())


def main(arguments: list[str] | None = None) -> None:
    """Print everything as it is measured."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--seconds", type=float, default=420.0)
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    sizes = quick(given.batch) if given.quick else full(given.batch)
    data = noise() if given.quick else load(given.data)
    start, device = perf_counter(), str(place_of(given.device, "float32").device)
    name = torch.cuda.get_device_name() if device.startswith("cuda") else device
    print(f"{name}, torch {torch.__version__}, {data.name}, batch {sizes.batch}", flush=True)
    parts: list[tuple[str, Callable[[], str]]] = []
    for network, make in sizes.networks.items():
        for precision in ("float32", "bf16"):
            place = place_of(device, precision)
            parts.append((f"step of {network} in {precision}", in_place(step_times, make, data, place, sizes, " ms")))
            parts.append((f"images a second, {network} in {precision}", in_place(throughput, make, data, place, sizes)))
    for network, make in sizes.runs.items():
        place = place_of(device, "bf16")
        parts.append((f"whole run of {network}", in_place(whole_run, make, data, place, sizes)))
    for title, measure in parts:
        late = perf_counter() - start > given.seconds
        print(f"{title}: {'left out, for time' if late else measure()}", flush=True)


def in_place(
    measure: Callable[..., dict[str, Any]], make: Any, data: Data, place: Place, sizes: Sizes, unit: str = ""
) -> Callable[[], str]:
    """A measurement to be made later, as a line."""

    def line() -> str:
        with at(place):
            return said(measure(make, data, place, sizes), unit)

    return line


if __name__ == "__main__":
    main()
