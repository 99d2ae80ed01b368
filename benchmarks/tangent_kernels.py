"""What a step of tangent transfer costs: time and memory of two ways to its kernels, and what was tried besides.

    python -m benchmarks.tangent_kernels [--quick]

A step is the loss of a batch and its gradient: teacher's outputs and kernel, student's outputs and kernel, backward
pass. "Factorised" is the library's; "contraction" has the same loss from all Jacobians (`torch.func`). The network is
at 3 % density. Times are medians of steps that take turns on one thread, in processor seconds (with two threads: wall
time of both sides).

Memory is what one step needs besides what its process held before, each side in a process of its own: after a step of 2
samples, so that libraries are loaded, the size of the process is taken down, and after the step that counts the largest
size it ever had. It is what the system gave out, buffers of the libraries among it. What was freed after the step of 2
samples but not given back to the system is used again, so that both sides look smaller by a few MiB at most.
"""

import argparse
import subprocess
import sys
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import perf_counter, process_time
from unittest import mock

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from bayesprune.models import LeNet5, LeNet300
from bayesprune.structure import weights_of
from bayesprune.tangent import kernels
from bayesprune.tangent.masks import released
from bayesprune.tangent.objective import Distances, TangentTransfer, masked
from bayesprune.training.initial import glorot
from benchmarks._pairing import Step, paired

BATCH, QUICK_BATCH, DENSITY = 64, 8, 0.03
TIME, MEMORY, PLAIN = 1 / 3, 1 / 4, 20.0
"""At most: of contraction's time, of its memory, and of a plain training step of LeNet-300-100."""

Kernel = Callable[[nn.Module, Tensor, Tensor, dict[str, Tensor]], tuple[Tensor, Tensor]]
"""From a network, two batches and parameters to the kernel between the batches and the outputs of both."""


@dataclass(frozen=True, eq=False)
class Problem:
    """A student at the start of its transfer, and a batch.

    Attributes:
        network: the student's.
        teacher: parameters by name.
        masks: of the weights.
        inputs: [B, ...].
        objective: of the transfer.
    """

    network: nn.Module
    teacher: dict[str, Tensor]
    masks: dict[str, Tensor]
    inputs: Tensor
    objective: TangentTransfer

    @classmethod
    def of(cls, network: nn.Module, batch: int) -> "Problem":
        """With Glorot's weights, 3 % of them, and random images."""
        glorot(network)
        masks = released({name: weight.detach().abs() for name, weight in weights_of(network).items()}, DENSITY)
        teacher = {name: value.detach().clone() for name, value in network.named_parameters()}
        return cls(network, teacher, masks, torch.randn(batch, 1, 28, 28), TangentTransfer(DENSITY))

    def in_float64(self) -> "Problem":
        """The same in twice the bits."""
        return self._each(deepcopy(self.network).double(), lambda tensor: tensor.double())

    def channels_last(self) -> "Problem":
        """The same with channels next to each other in memory."""

        def turned(tensor: Tensor) -> Tensor:
            return tensor.contiguous(memory_format=torch.channels_last) if tensor.dim() == 4 else tensor

        network = deepcopy(self.network)
        for parameter in network.parameters():
            parameter.data = turned(parameter.data)
        return self._each(network, turned)

    def _each(self, network: nn.Module, change: Callable[[Tensor], Tensor]) -> "Problem":
        """With another network, and all tensors changed."""
        teacher, masks = (
            {name: change(tensor) for name, tensor in tensors.items()} for tensors in (self.teacher, self.masks)
        )
        return replace(self, network=network, teacher=teacher, masks=masks, inputs=change(self.inputs))

    def halves(self) -> tuple[Tensor, Tensor]:
        """Between which the kernel is taken."""
        count = len(self.inputs) // 2
        return self.inputs[:count], self.inputs[count:]


def factorised(problem: Problem) -> None:
    """A step as the library has it."""
    problem.network.zero_grad(set_to_none=True)
    found = problem.objective.distances(problem.network, problem.teacher, problem.masks, problem.inputs)
    problem.objective.weighed(found).backward()


def with_kernel(problem: Problem, kernel: Kernel, wanted: tuple[Tensor, Tensor] | None = None) -> None:
    """A step with kernels got in another way; `wanted` are the teacher's kernel and outputs where they are known."""
    problem.network.zero_grad(set_to_none=True)
    theirs = of_teacher(problem, kernel) if wanted is None else wanted
    student = masked(problem.network, problem.masks)
    ours = kernel(problem.network, *problem.halves(), student)
    kernels_apart, outputs_apart = ((one - other).square().mean() for one, other in zip(ours, theirs, strict=True))
    norm = torch.stack([student[name].square().sum() for name in weights_of(problem.network)]).sum()
    problem.objective.weighed(Distances(kernels_apart, outputs_apart, norm)).backward()


def of_teacher(problem: Problem, kernel: Kernel) -> tuple[Tensor, Tensor]:
    """The teacher's kernel and outputs."""
    with torch.no_grad():
        return kernel(problem.network, *problem.halves(), problem.teacher)


def by_factors(network: nn.Module, first: Tensor, second: Tensor, given: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """The library's way."""
    return kernels.kernel_and_outputs(network, first, second, parameters=given)


def by_contraction(
    network: nn.Module, first: Tensor, second: Tensor, given: dict[str, Tensor]
) -> tuple[Tensor, Tensor]:
    """From all Jacobians; the outputs are one forward pass more, which costs next to nothing beside them."""
    kernel = kernels.contracted_kernel(network, first, second, parameters=given)
    return kernel, functional_call(network, given, (torch.cat([first, second]),))


def batched(problem: Problem) -> None:
    """The library's step with one batched backward pass for all logits, instead of one a logit."""
    with mock.patch.object(kernels, "output_slopes", batched_slopes):
        factorised(problem)


def batched_slopes(outputs: Tensor, at: list[Tensor], *, create_graph: bool) -> list[Tensor]:
    """As `output_slopes`: gradients [B, K, ...] of every logit at tensors [B, ...]."""
    seeds = torch.eye(outputs.shape[1], dtype=outputs.dtype)[:, None, :].expand(-1, len(outputs), -1)
    found = torch.autograd.grad(
        outputs, at, seeds, create_graph=create_graph, retain_graph=True, is_grads_batched=True, materialize_grads=True
    )
    return [gradients.transpose(0, 1) for gradients in found]


def on_threads(count: int, step: Step) -> None:
    """A step on so many threads."""
    torch.set_num_threads(count)
    step()
    torch.set_num_threads(1)


WAYS: dict[str, Callable[[Problem], None]] = {
    "factorised": factorised,
    "contraction": partial(with_kernel, kernel=by_contraction),
    "batched": batched,
}
"""By name, for processes of their own."""


def sizes() -> tuple[float, float]:
    """MiB that this process holds, and the most that it ever held.

    Where Linux tells them, from there: `getrusage` of a new process begins with the size of the one that started it.
    Elsewhere both are the most.
    """
    status = Path("/proc/self/status")
    lines = [line.split() for line in status.read_text().splitlines()] if status.exists() else []
    found = {line[0]: int(line[1]) / 1024 for line in lines if line[0] in ("VmRSS:", "VmHWM:")}
    if len(found) == 2:
        return found["VmRSS:"], found["VmHWM:"]
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 1024)
    return most, most


def memory_here(way: str, batch: int) -> float:
    """MiB that a step of LeNet-5 needs besides what this process holds after a step of 2 samples."""
    problem = Problem.of(LeNet5(), batch)
    WAYS[way](replace(problem, inputs=problem.inputs[:2]))
    before = sizes()[0]
    WAYS[way](problem)
    return sizes()[1] - before


def memory(way: str, batch: int) -> float:
    """The same, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.tangent_kernels", "--memory", way, "--batch", str(batch)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def ways_table(batch: int, steps: int) -> None:
    """LeNet-5: factorised against contraction, in time and memory."""
    problem = Problem.of(LeNet5(), batch)
    times = paired([partial(way, problem) for way in WAYS.values()], steps, warm_up=1, clock=process_time)
    peaks = [memory(way, batch) for way in WAYS]
    print(f"\n### LeNet-5, one student step at batch {batch}\n")
    print(
        "| kernels | ms | of contraction | target | peak MiB | of contraction | target |\n|---|---|---|---|---|---|---|"
    )
    whole = list(WAYS).index("contraction")
    for way, ms, size in zip(WAYS, times, peaks, strict=True):
        shares = ms / times[whole], size / peaks[whole]
        judged = [verdict(share, most) for share, most in zip(shares, (TIME, MEMORY), strict=True)]
        time, room = judged if way == "factorised" else ("", "")
        print(f"| {way} | {ms:.0f} | {shares[0]:.2f} | {time} | {size:.0f} | {shares[1]:.2f} | {room} |", flush=True)


def plain_table(batch: int, steps: int) -> None:
    """LeNet-300-100: a step of the transfer against one of plain training, Adam's part with both."""
    problem = Problem.of(LeNet300(), batch)
    plain, ours = paired(plain_sides(problem), steps, warm_up=2, clock=process_time)
    print(f"\n### LeNet-300-100, one step at batch {batch}, with Adam's\n")
    print("| step | ms | of plain | target |\n|---|---|---|---|")
    print(f"| plain training | {plain:.2f} | 1.0 | |")
    print(f"| transfer | {ours:.2f} | {ours / plain:.1f} | {verdict(ours / plain, PLAIN)} |", flush=True)


def plain_sides(problem: Problem) -> list[Step]:
    """A step of plain training with labels, and one of the transfer."""
    labels = torch.arange(len(problem.inputs)) % 10
    network = deepcopy(problem.network)
    optimizers = [torch.optim.Adam(one.parameters(), 5e-4, fused=True) for one in (network, problem.network)]

    def plain() -> None:
        optimizers[0].zero_grad(set_to_none=True)
        cross_entropy(network(problem.inputs), labels).backward()
        optimizers[0].step()

    def ours() -> None:
        factorised(problem)
        optimizers[1].step()

    return [plain, ours]


def tried_table(name: str, problem: Problem, steps: int) -> None:
    """What was tried to make a step faster, each against the library's step."""
    sides = tried(problem)
    usual, *times = paired([partial(factorised, problem), *sides.values()], steps, warm_up=1, clock=process_time)
    two: list[Step] = [partial(on_threads, count, partial(factorised, problem)) for count in (1, 2)]
    walls = paired(two, steps, warm_up=1, clock=perf_counter)
    print(f"\n### {name}, what was tried, batch {len(problem.inputs)}\n")
    print("| step | ms | of the library's |\n|---|---|---|")
    print(f"| the library's | {usual:.1f} | 1.00 |")
    for way, ms in zip(sides, times, strict=True):
        print(f"| {way} | {ms:.1f} | {ms / usual:.2f} |")
    print(f"| two threads (wall time; one thread: {walls[0]:.1f} ms) | {walls[1]:.1f} | {walls[1] / walls[0]:.2f} |")
    print(f"\nfloat32's kernel is off float64's by {rounding(problem):.1e} of its norm.", flush=True)


def tried(problem: Problem) -> dict[str, Step]:
    """Other steps, by what is other."""
    sides: dict[str, Step] = {
        "one batched backward pass for all logits": partial(batched, problem),
        "teacher's kernels kept from before": partial(
            with_kernel, problem, by_factors, of_teacher(problem, by_factors)
        ),
        "float64": partial(factorised, problem.in_float64()),
    }
    if any(isinstance(module, nn.Conv2d) for module in problem.network.modules()):
        sides["channels last"] = partial(factorised, problem.channels_last())
    return sides


def rounding(problem: Problem) -> float:
    """How far the teacher's kernel in float32 is from that in float64, as a share of its norm."""
    exact = of_teacher(problem.in_float64(), by_factors)[0]
    return float((of_teacher(problem, by_factors)[0] - exact).norm() / exact.norm())


def verdict(share: float, most: float) -> str:
    """Whether a share is at most its target."""
    return f"<= {most:.2g}x: {'reached' if share <= most else 'MISSED'}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer repeats, and a small batch of LeNet-5")
    parser.add_argument("--memory", choices=list(WAYS), help="print the MiB of one step of LeNet-5 and nothing else")
    parser.add_argument("--batch", type=int, help="of LeNet-5")
    given = parser.parse_args(arguments)
    batch = given.batch or (QUICK_BATCH if given.quick else BATCH)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    if given.memory:
        print(memory_here(given.memory, batch))
        return
    ways_table(batch, 2 if given.quick else 5)
    plain_table(BATCH, 5 if given.quick else 100)
    tried_table("LeNet-300-100", Problem.of(LeNet300(), BATCH), 3 if given.quick else 50)
    tried_table("LeNet-5", Problem.of(LeNet5(), batch), 2 if given.quick else 5)


if __name__ == "__main__":
    main()
