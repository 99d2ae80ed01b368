"""Parameters outside the network that have the shapes of its weights are cut along, optimizer state and all."""

from typing import Any

import torch
from torch import Tensor, nn

from bayesprune.models import LeNet300
from bayesprune.structure import find
from bayesprune.structure.selectors import Selected
from bayesprune.training import TrainState
from bayesprune.training.snapshot import put_back, take

FC1, FC2, INPUTS = torch.tensor([0, 2, 3]), torch.tensor([1, 3]), torch.tensor([0, 1, 4])


class Twin(nn.Module):
    """A copy of every weight and bias, by the names at the start."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.own = nn.ParameterDict(
            {name.replace(".", "|"): p.detach().clone() for name, p in network.named_parameters()}
        )

    def weight_parameters(self, network: nn.Module) -> dict[str, nn.Parameter]:
        """By their present names."""
        plain = [name.replace(".layer.", ".").replace(".", "|") for name, _ in network.named_parameters()]
        return {name: self.own[key] for (name, _), key in zip(network.named_parameters(), plain, strict=True)}


def trained_state() -> TrainState:
    """A perceptron 6-5-4-3 and its twin, both with an Adam that has moments; what is at a place tells of it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network, example = LeNet300((5, 4), (6,), 3), torch.randn(2, 6)
    state = TrainState(network, find(network, example), example)
    state.modules["twin"] = twin = Twin(network)
    state.remember_initial()

    def make() -> None:
        state.optimizers = {
            "network": torch.optim.Adam(state.network.parameters(), 1e-3),
            "twin": torch.optim.Adam(twin.parameters(), 1e-3),
        }

    state.make_optimizers = make
    make()
    for parameter in (*network.parameters(), *twin.parameters()):
        parameter.grad = parameter.detach().clone()
    for optimizer in state.optimizers.values():
        optimizer.step()
    return state


def by_hand(name: str, value: Tensor) -> Tensor:
    """A parameter of the perceptron, cut to INPUTS, FC1 and FC2 with plain indexing."""
    cuts: dict[str, Any] = {
        "fc1|weight": lambda t: t[FC1][:, INPUTS], "fc1|bias": lambda t: t[FC1],
        "fc2|weight": lambda t: t[FC2][:, FC1], "fc2|bias": lambda t: t[FC2],
        "fc3|weight": lambda t: t[:, FC2], "fc3|bias": lambda t: t,
    }  # fmt: skip
    cut: Tensor = cuts[name](value)
    return cut


def shrunk(state: TrainState) -> None:
    """Remove all but INPUTS, FC1 and FC2."""
    gates = torch.zeros(state.structure.gate_count, dtype=torch.bool)
    for name, kept in (("inputs", INPUTS), ("fc1", FC1), ("fc2", FC2)):
        gates[state.structure.slices()[name].start + kept] = True
    state.shrink(gates)


def test_values_and_moments_are_cut_where_the_weights_are() -> None:
    """Also the first layer's, which moves behind a selector."""
    state = trained_state()
    twin, adam = state.modules["twin"], state.optimizers["twin"]
    assert isinstance(twin, Twin)
    values = {name: p.detach().clone() for name, p in twin.own.items()}
    moments = {name: {k: v.clone() for k, v in adam.state[p].items()} for name, p in twin.own.items()}
    shrunk(state)
    assert isinstance(state.network.get_submodule("fc1"), Selected)
    assert adam is state.optimizers["twin"] and list(adam.param_groups[0]["params"]) == list(twin.own.values())
    for name, parameter in twin.own.items():
        assert torch.equal(parameter, by_hand(name, values[name]))
        for key in ("exp_avg", "exp_avg_sq"):
            assert torch.equal(adam.state[parameter][key], by_hand(name, moments[name][key]))
    shapes = {name: other.shape for name, other in twin.weight_parameters(state.network).items()}
    assert shapes == {name: p.shape for name, p in state.network.named_parameters()}


def test_a_snapshot_brings_the_shapes_back() -> None:
    """A larger one into a smaller state, with the moments."""
    state = trained_state()
    twin = state.modules["twin"]
    assert isinstance(twin, Twin)
    saved = take(state)
    values = {name: p.detach().clone() for name, p in twin.own.items()}
    moment = state.optimizers["twin"].state[twin.own["fc2|weight"]]["exp_avg"].clone()
    shrunk(state)
    put_back(state, saved)
    assert all(torch.equal(p, values[name]) for name, p in twin.own.items())
    assert torch.equal(state.optimizers["twin"].state[twin.own["fc2|weight"]]["exp_avg"], moment)
