"""Both ways to a kernel agree with a loop over samples and logits, and so do their gradients: networks drawn at random.

The loop is written with torch.autograd alone, without torch.func.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from bayesprune.tangent.kernels import contracted_kernel, kernel_and_outputs, tangent_kernel

ONCE = settings(max_examples=settings().max_examples // 5)
Draw = st.DrawFn
Mode = Literal["zeros", "reflect", "replicate", "circular"]
Kind = type[nn.Conv1d] | type[nn.Conv2d]


class Again(nn.Module):
    """Calls a layer twice, so that its gradients add up."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.layer(self.layer(inputs).tanh()) + inputs
        return outputs


class Tied(nn.Module):
    """Two layers with one weight; biases are their own."""

    def __init__(self, one: nn.Module, other: nn.Module) -> None:
        super().__init__()
        self.one, self.other = one, other
        other.register_parameter("weight", one.get_parameter("weight"))

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.other(self.one(inputs).sigmoid())
        return outputs


@dataclass(frozen=True)
class Case:
    """A network in float64, and two batches for it."""

    network: nn.Module
    first: Tensor
    second: Tensor

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        return dict(self.network.named_parameters())

    def masks(self) -> dict[str, Tensor]:
        """Of every second parameter; of each about half is kept."""
        chosen = list(self.parameters.items())[::2]
        return {name: (torch.rand_like(parameter) < 0.5).to(parameter) for name, parameter in chosen}


def activation(draw: Draw) -> nn.Module:
    made = [nn.ReLU(inplace=True), nn.ReLU(), nn.Tanh(), nn.PReLU(), nn.ELU(inplace=True)]
    return made[draw(st.integers(0, len(made) - 1))]


def linear(draw: Draw, reads: int, writes: int) -> nn.Linear:
    return nn.Linear(reads, writes, bias=draw(st.booleans()))


def hidden_linear(draw: Draw, layers: list[nn.Module], reads: int) -> int:
    """Adds a linear layer, or something with linear layers in it; returns how many features that writes."""
    kind = draw(st.sampled_from(["linear", "linear", "again", "tied", "norm"]))
    writes = draw(st.integers(1, 4)) if kind == "linear" else reads
    layers.append(
        {
            "linear": lambda: linear(draw, reads, writes),
            "again": lambda: Again(linear(draw, reads, reads)),
            "tied": lambda: Tied(linear(draw, reads, reads), linear(draw, reads, reads)),
            "norm": lambda: nn.LayerNorm(reads),
        }[kind]()
    )
    layers.append(activation(draw))
    return writes


def convolution(draw: Draw, kind: Kind, reads: int, writes: int, size: int) -> nn.Module:
    """One that fits maps of this size."""
    kernel = draw(st.integers(1, 3))
    dilation = draw(st.integers(1, 2)) if kernel > 1 else 1
    groups = draw(st.sampled_from([group for group in (1, 2, reads) if reads % group == writes % group == 0]))
    paddings: list[int | str] = ["same", "valid", 0, 1]
    padding = draw(st.sampled_from(paddings))
    if dilation * (kernel - 1) >= size and padding != "same":
        padding = dilation * (kernel - 1)
    modes: list[Mode] = ["zeros", "reflect", "replicate", "circular"] if size > 4 else ["zeros"]
    stride = 1 if padding == "same" else draw(st.integers(1, 2))
    return kind(
        reads, writes, kernel, stride=stride, padding=padding, dilation=dilation, groups=groups,
        bias=draw(st.booleans()), padding_mode=draw(st.sampled_from(modes)),
    )  # fmt: skip


def hidden_convolution(draw: Draw, layers: list[nn.Module], kind: Kind, maps: Tensor) -> Tensor:
    """Adds a convolution, or something with convolutions in it; returns what that makes of maps."""
    reads, size = int(maps.shape[1]), int(maps.shape[-1])
    # One value in a group cannot be normalised, and two rectifiers in place with nothing between cannot be trained.
    possible = {"norm": reads * size > 2, "pool": size > 1}
    names = ["plain", "plain", "again", "tied", "norm", "pool"]
    name = draw(st.sampled_from([name for name in names if possible.get(name, True)]))
    pool = nn.MaxPool1d(2) if kind is nn.Conv1d else nn.MaxPool2d(2)
    layer = {
        "plain": lambda: convolution(draw, kind, reads, draw(st.sampled_from([2, 4])), size),
        "again": lambda: Again(kind(reads, reads, 3, padding=1)),
        "tied": lambda: Tied(kind(reads, reads, 3, padding=1), kind(reads, reads, 3, padding=1)),
        "norm": lambda: nn.GroupNorm(2, reads),
        "pool": lambda: pool,
    }[name]()
    layers += [layer, activation(draw)]
    result: Tensor = nn.Sequential(*layers[-2:])(maps)
    return result


def perceptron(draw: Draw) -> tuple[list[nn.Module], tuple[int, ...]]:
    layers: list[nn.Module] = []
    inputs = features = draw(st.integers(1, 5))
    for _ in range(draw(st.integers(1, 3))):
        features = hidden_linear(draw, layers, features)
    return [*layers, linear(draw, features, draw(st.integers(1, 3)))], (inputs,)


def tokens(draw: Draw) -> tuple[list[nn.Module], tuple[int, ...]]:
    """Linear layers over the last axis of [B, T, F] or [B, S, T, F]."""
    layers: list[nn.Module] = []
    around = draw(st.sampled_from([(1,), (3,), (2, 2)]))
    inputs = features = draw(st.integers(1, 4))
    for _ in range(draw(st.integers(1, 2))):
        features = hidden_linear(draw, layers, features)
    total = features * int(torch.tensor(around).prod())
    return [*layers, nn.Flatten(), linear(draw, total, draw(st.integers(1, 3)))], (*around, inputs)


def convolutional(draw: Draw) -> tuple[list[nn.Module], tuple[int, ...]]:
    kinds: list[Kind] = [nn.Conv1d, nn.Conv2d]
    kind = draw(st.sampled_from(kinds))
    shape = (draw(st.sampled_from([2, 4])), *[draw(st.integers(4, 6))] * (1 if kind is nn.Conv1d else 2))
    layers: list[nn.Module] = []
    maps = torch.zeros(1, *shape)
    for _ in range(draw(st.integers(1, 2))):
        maps = hidden_convolution(draw, layers, kind, maps)
    return [*layers, nn.Flatten(), linear(draw, maps.numel(), draw(st.integers(1, 3)))], shape


@st.composite
def cases(draw: Draw, make: Callable[[Draw], tuple[list[nn.Module], tuple[int, ...]]]) -> Case:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(draw(st.integers(0, 2**16)))
        layers, shape = make(draw)
        network = nn.Sequential(*layers).double()
        for parameter in network.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)  # scales and shifts of normalisations, too
        sizes = draw(st.integers(1, 3)), draw(st.integers(1, 3))
        return Case(network, *(torch.randn(size, *shape, dtype=torch.float64) for size in sizes))


def by_hand(case: Case, keep: dict[str, Tensor]) -> Tensor:
    """Inner products of the gradients of every logit of every sample, one backward pass each."""
    weights = torch.cat([keep.get(name, torch.ones_like(p)).flatten() for name, p in case.parameters.items()])

    def jacobian(batch: Tensor) -> Tensor:
        rows = []
        for logits in (case.network(sample[None])[0] for sample in batch):
            for logit in logits:
                found = torch.autograd.grad(
                    logit, list(case.parameters.values()), create_graph=True, materialize_grads=True
                )  # fmt: skip
                rows.append(torch.cat([each.flatten() for each in found]))
        return torch.stack(rows).view(len(batch), -1, len(weights))

    return torch.einsum("nai,mbi->nmab", jacobian(case.first) * weights, jacobian(case.second))


def assert_close(one: Tensor, other: Tensor) -> None:
    """To 1e-10 of the largest entry: the issue asks for 1e-5."""
    assert one.shape == other.shape
    one, other = one.detach(), other.detach()
    assert float((one - other).abs().max()) <= 1e-10 * max(float(other.abs().max()), 1e-3)


def gradient(kernel: Tensor, parameters: Collection[Tensor]) -> Tensor:
    """Of a sum of the kernel's entries in which no two count alike, in all parameters one after the other."""
    weights = torch.linspace(-1.0, 2.0, kernel.numel(), dtype=kernel.dtype).view_as(kernel)
    if not kernel.requires_grad:  # a linear network of one layer has a kernel that no parameter is in
        return torch.zeros(sum(parameter.numel() for parameter in parameters), dtype=kernel.dtype)
    found = torch.autograd.grad((weights * kernel.square()).sum(), list(parameters), materialize_grads=True)
    return torch.cat([each.flatten() for each in found])


@pytest.mark.parametrize("make", [perceptron, tokens, convolutional])
@pytest.mark.parametrize("masked", [False, True])
def test_kernels_and_their_gradients_are_those_of_the_loop(
    make: Callable[[Draw], tuple[list[nn.Module], tuple[int, ...]]], masked: bool
) -> None:
    @ONCE
    @given(cases(make))
    def check(case: Case) -> None:
        keep, values = case.masks() if masked else None, case.parameters.values()
        expected = by_hand(case, keep or {})
        wanted = gradient(expected, values)
        for way in (tangent_kernel, contracted_kernel):
            kernel = way(case.network, case.first, case.second, keep=keep)
            assert_close(kernel, expected)
            assert_close(gradient(kernel, values), wanted)

        with torch.no_grad():
            plain, outputs = kernel_and_outputs(case.network, case.first, case.second, keep=keep)
            assert_close(outputs, case.network(torch.cat([case.first, case.second])))
        assert not plain.requires_grad and not outputs.requires_grad
        assert_close(plain, expected)

    check()


@ONCE
@given(cases(perceptron) | cases(convolutional))
def test_parameters_in_place_of_the_networks_own(case: Case) -> None:
    before = [parameter.detach().clone() for parameter in case.network.parameters()]
    others = {name: (0.5 * p.detach() - 0.1).requires_grad_(True) for name, p in case.parameters.items()}
    kernel = tangent_kernel(case.network, case.first, case.second, parameters=others)
    found = gradient(kernel, others.values())
    assert all(torch.equal(a, b) for a, b in zip(before, case.network.parameters(), strict=True))

    # The same network with those weights as its own.
    case.network.load_state_dict({name: value.detach() for name, value in others.items()}, strict=False)
    expected = contracted_kernel(case.network, case.first, case.second)
    assert_close(kernel, expected)
    assert_close(found, gradient(expected, case.parameters.values()))


@ONCE
@given(cases(perceptron) | cases(tokens) | cases(convolutional))
def test_the_two_batches_change_places(case: Case) -> None:
    one = tangent_kernel(case.network, case.first, case.second)
    other = tangent_kernel(case.network, case.second, case.first)
    assert_close(one, other.permute(1, 0, 3, 2))
