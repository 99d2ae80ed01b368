"""Networks whose layers are used in ways that a layer's factors do not tell: the kernel is right all the same."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm

from bayesprune.tangent.kernels import contracted_kernel, tangent_kernel


class Masking(nn.Linear):
    """A linear layer of the user's own that multiplies its weight."""

    def forward(self, inputs: Tensor) -> Tensor:
        return functional.linear(inputs, self.weight.square(), self.bias)


class Rows(nn.Module):
    """Makes samples of tokens, and puts them together again."""

    def __init__(self) -> None:
        super().__init__()
        self.token, self.head = nn.Linear(2, 3), nn.Linear(6, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.head(self.token(inputs.reshape(-1, 2)).tanh().view(len(inputs), -1))
        return outputs


class Swapped(Rows):
    """Has the samples along the second axis."""

    def forward(self, inputs: Tensor) -> Tensor:
        tokens = self.token(inputs.reshape(-1, 2, 2).transpose(0, 1)).tanh()
        outputs: Tensor = self.head(tokens.transpose(0, 1).flatten(1))
        return outputs


class TiedToOther(nn.Module):
    """A convolution and a transposed one have one weight, and a linear layer the convolution's bias."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.up, self.head = nn.Conv1d(2, 2, 1), nn.ConvTranspose1d(2, 2, 1), nn.Linear(4, 2)
        self.up.weight = self.conv.weight
        self.head.register_parameter("bias", self.conv.get_parameter("bias"))

    def forward(self, inputs: Tensor) -> Tensor:
        maps = self.up(self.conv(inputs.view(-1, 2, 2)).tanh())
        outputs: Tensor = self.head(maps.flatten(1))
        return outputs


class Unused(nn.Module):
    """One layer is never called, another one only where no gradient is taken."""

    def __init__(self) -> None:
        super().__init__()
        self.idle, self.fixed, self.head = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        with torch.no_grad():
            features = self.fixed(inputs)
        outputs: Tensor = self.head(features.tanh())
        return outputs


class OwnParameters(nn.Module):
    """No layer at all."""

    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.randn(4, 2))

    def forward(self, inputs: Tensor) -> Tensor:
        return (inputs @ self.matrix).sin()


class WritesOver(nn.Module):
    """Writes over what a layer has given."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.head = nn.Linear(4, 3), nn.Linear(4, 3), nn.Linear(3, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        first, second = self.one(inputs).tanh_(), self.two(inputs)
        outputs: Tensor = self.head((first + second.sigmoid()).mul_(2.0).sub_(second.sin_()))
        return outputs


def hooked() -> nn.Module:
    network = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    network[0].register_forward_hook(lambda layer, inputs, outputs: outputs.tanh())
    return network


def frozen() -> nn.Module:
    network = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2))
    network[0].requires_grad_(False)
    return network


MADE: dict[str, Callable[[], nn.Module]] = {
    "own linear layer": lambda: nn.Sequential(Masking(4, 3), nn.Tanh(), nn.Linear(3, 2)),
    "weight norm": lambda: nn.Sequential(weight_norm(nn.Linear(4, 3)), nn.Tanh(), nn.Linear(3, 2)),
    "tokens as samples": Rows,
    "samples second": Swapped,
    "tied to another kind": TiedToOther,
    "unused": Unused,
    "no layer": OwnParameters,
    "in place": WritesOver,
    "hook": hooked,
    "frozen": frozen,
    "layer normalisation": lambda: nn.Sequential(nn.Linear(4, 5), nn.LayerNorm(5), nn.Tanh(), nn.Linear(5, 2)),
    "rectifier": lambda: nn.Sequential(nn.Linear(4, 3), nn.PReLU(3), nn.Linear(3, 4), nn.PReLU(), nn.Linear(4, 2)),
    "maps": lambda: nn.Sequential(
        nn.Unflatten(1, (1, 2, 2)), nn.ConvTranspose2d(1, 4, 2), nn.InstanceNorm2d(4, affine=True), nn.PReLU(4),
        nn.Conv2d(4, 4, 2), nn.GroupNorm(2, 4), nn.SiLU(), nn.Flatten(), nn.Linear(16, 2),
    ),
    "batch normalisation": lambda: nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Tanh(), nn.Linear(3, 2)).eval(),
}  # fmt: skip


def drawn(name: str) -> nn.Module:
    """In float64, with scales and statistics that are no ones and zeros."""
    torch.manual_seed(0)
    network = MADE[name]().double()
    for value in network.state_dict().values():
        if value.is_floating_point():
            value += 0.3 * torch.rand_like(value)
    return network


def by_hand(network: nn.Module, first: Tensor, second: Tensor) -> Tensor:
    """One backward pass a logit and sample, with torch.autograd alone."""
    parameters = [parameter.requires_grad_(True) for parameter in network.parameters()]

    def jacobian(batch: Tensor) -> Tensor:
        logits = [logit for sample in batch for logit in network(sample[None])[0]]
        rows = [torch.autograd.grad(each, parameters, create_graph=True, materialize_grads=True) for each in logits]
        return torch.stack([torch.cat([part.flatten() for part in row]) for row in rows]).view(len(batch), 2, -1)

    return torch.einsum("nai,mbi->nmab", jacobian(first), jacobian(second))


def gradients(kernel: Tensor, parameters: list[nn.Parameter]) -> list[Tensor]:
    """Of the sum of squares; zeros where no parameter is in the kernel."""
    if not kernel.requires_grad:
        return [torch.zeros_like(parameter) for parameter in parameters]
    return list(torch.autograd.grad(kernel.square().sum(), parameters, materialize_grads=True))


@pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")  # weight norm under torch.func.vmap
@pytest.mark.parametrize("name", MADE)
def test_kernel_and_gradient(name: str) -> None:
    network = drawn(name)
    first, second = torch.randn(2, 4, dtype=torch.float64), torch.randn(3, 4, dtype=torch.float64)
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    ways = [way(network, first, second) for way in (tangent_kernel, contracted_kernel)]
    wanted = by_hand(network, first, second)
    slopes = gradients(wanted, trainable)
    for kernel in ways:
        torch.testing.assert_close(kernel, wanted, rtol=1e-10, atol=1e-10)
        for one, other in zip(gradients(kernel, trainable), slopes, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


@pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")  # weight norm under torch.func.vmap
@pytest.mark.parametrize("name", MADE)
def test_the_network_is_left_as_it_was(name: str) -> None:
    network = drawn(name)
    inputs = torch.randn(4, 4, dtype=torch.float64)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    hooks = [len(module._forward_hooks) for module in network.modules()]
    flags = [parameter.requires_grad for parameter in network.parameters()]
    with torch.no_grad():
        tangent_kernel(network, inputs[:2], inputs[2:])
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert [len(module._forward_hooks) for module in network.modules()] == hooks
    assert [parameter.requires_grad for parameter in network.parameters()] == flags
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.parametrize("groups", [1, 2])
def test_kept_weights_of_a_convolution_with_one_output_position(groups: int) -> None:
    """There a sample's Jacobian is one outer product a group, of which the kept entries alone are made."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(4, 6, 3, groups=groups), nn.Tanh(), nn.Flatten(), nn.Linear(6, 2)).double()
    first, second = (torch.randn(count, 4, 3, 3, dtype=torch.float64) for count in (2, 3))
    weight = network.get_parameter("0.weight")
    keep = torch.zeros_like(weight).flatten()
    keep[torch.randperm(len(keep))[:20]] = 1.0

    def slopes(inputs: Tensor) -> Tensor:
        logits = [logit for sample in inputs for logit in network(sample[None])[0].unbind()]
        found = [torch.autograd.grad(logit, weight, retain_graph=True)[0] for logit in logits]
        return (torch.stack(found).flatten(1) * keep).view(len(inputs), 2, -1)

    others = {name: torch.zeros_like(value) for name, value in network.named_parameters() if name != "0.weight"}
    kernel = tangent_kernel(network, first, second, keep={**others, "0.weight": keep.view_as(weight)})
    expected = torch.einsum("nap,mbp->nmab", slopes(first), slopes(second))
    torch.testing.assert_close(kernel, expected, rtol=1e-10, atol=1e-12)
