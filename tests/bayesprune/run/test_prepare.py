"""Networks as users bring them: each is made ready for a run, or refused in one line whose cure works."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bayesprune.errors import NetworkError
from bayesprune.run.prepare import prepared

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # torch's own calls, too
ROWS = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))


def perceptron() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))


def state(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def compiled_inside(network: nn.Sequential) -> nn.Module:
    first: Any = torch.compile(network[0])
    return nn.Sequential(first, network[1], network[2])


def compiled_in_place(network: nn.Sequential) -> nn.Module:
    network.compile()
    return network


def compiled_forward(network: nn.Sequential) -> nn.Module:
    network.forward = torch.compile(network.forward)  # type: ignore[method-assign]  # what users do
    return network


WRAPPED: dict[str, Callable[[nn.Sequential], Any]] = {
    "compiled": torch.compile,
    "compiled inside": compiled_inside,
    "compiled in place": compiled_in_place,
    "forward compiled": compiled_forward,
    "parallel": nn.DataParallel,
    "compiled and parallel": lambda network: nn.DataParallel(torch.compile(network)),
}


@pytest.mark.parametrize("name", WRAPPED)
def test_wrappers_give_what_they_wrap(name: str) -> None:
    network = perceptron()
    copy = prepared(WRAPPED[name](network), ROWS, 0)
    assert isinstance(copy, nn.Sequential) and list(state(copy)) == list(state(perceptron()))
    assert type(copy[0]) is nn.Linear and copy[0].weight is not network[0].weight
    torch.testing.assert_close(copy(ROWS), perceptron()(ROWS))


def test_scripted_modules_are_refused_by_name() -> None:
    scripted = torch.jit.script(perceptron())
    with pytest.raises(NetworkError, match="^the network is a RecursiveScriptModule, .* before torch.jit.trace"):
        prepared(scripted, ROWS, 0)
    with pytest.raises(NetworkError, match="^module '1' is a RecursiveScriptModule"):
        prepared(nn.Sequential(nn.ReLU(), scripted), ROWS, 0)


def test_a_forward_that_is_not_the_class_s_is_refused() -> None:
    network = perceptron()
    former = network[0].forward
    network[0].forward = lambda rows: former(rows)
    with pytest.raises(NetworkError, match="forward of module '0' was replaced on the instance.*in the module's class"):
        prepared(network, ROWS, 0)


def test_a_class_is_no_network() -> None:
    with pytest.raises(NetworkError, match="'Linear' is a class: give an instance"):
        prepared(nn.Linear, ROWS, 0)  # type: ignore[arg-type]  # wrong on purpose


def test_lazy_layers_are_drawn_from_the_seed() -> None:
    def lazy() -> nn.Sequential:
        return nn.Sequential(nn.LazyLinear(5), nn.LazyBatchNorm1d(), nn.ReLU(), nn.LazyLinear(3))

    global_state = torch.get_rng_state()
    network = lazy()
    one, again, other = (prepared(network, ROWS, seed) for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), global_state)
    assert [tuple(value.shape) for value in one.parameters()] == [(5, 6), (5,), (5,), (5,), (3, 5), (3,)]
    assert all(torch.equal(value, state(again)[name]) for name, value in state(one).items())
    assert not torch.equal(state(one)["0.weight"], state(other)["0.weight"])
    assert isinstance(network[0].weight, nn.parameter.UninitializedParameter)
    with pytest.raises(NetworkError, match="lazy layers cannot get their weights"):
        prepared(nn.Sequential(nn.LazyLinear(5), nn.Linear(4, 3)), ROWS, 0)


class Casting(nn.Module):
    """Casts its inputs itself."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype, self.first, self.second = dtype, nn.Linear(6, 5, dtype=dtype), nn.Linear(5, 3)

    def forward(self, rows: Tensor) -> Tensor:
        logits: Tensor = self.second(self.first(rows.to(self.dtype)).relu().float())
        return logits


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_other_precisions_become_float32_unless_the_network_casts(dtype: torch.dtype) -> None:
    mixed = perceptron()
    mixed[0].to(dtype)
    for network in (perceptron().to(dtype), mixed):
        with pytest.warns(UserWarning, match=f"has {dtype} weights .* trained and given back in float32"):
            copy = prepared(network, ROWS, 0)
        assert {value.dtype for value in copy.parameters()} == {torch.float32}
        torch.testing.assert_close(copy(ROWS), perceptron()(ROWS), rtol=0.02, atol=0.02)
    casting = Casting(dtype)
    assert state(prepared(casting, ROWS, 0))["first.weight"].dtype == dtype


def test_what_cannot_be_trained_is_refused() -> None:
    network = perceptron().requires_grad_(False)
    with pytest.raises(NetworkError, match=r"all 4 parameters .* frozen .*network\.requires_grad_\(True\)"):
        prepared(network, ROWS, 0)
    assert prepared(network.requires_grad_(True), ROWS, 0) is not network
    network[0].requires_grad_(False)
    assert [each.requires_grad for each in prepared(network, ROWS, 0).parameters()] == [False, False, True, True]
    with pytest.raises(NetworkError, match="no parameters: there is nothing to train"):
        prepared(nn.Flatten(), ROWS, 0)
