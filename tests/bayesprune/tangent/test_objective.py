"""The loss of tangent transfer, term by term against Jacobians that are taken of plain copies of the networks."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bayesprune.errors import DataError, NetworkError, SettingError
from bayesprune.structure import find
from bayesprune.tangent.kernels import contracted_kernel
from bayesprune.tangent.objective import Distances, Student, TangentTransfer
from bayesprune.training import TrainState

INPUTS = torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
WEIGHTS = ("0.weight", "2.weight")


def state_of() -> TrainState:
    """A student in float64 that has moved away from its teacher, under masks of about a half."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double()
    state = TrainState(network, find(network, INPUTS[:2]), INPUTS[:2])
    state.memory(Student).teacher = {
        name: p.detach() + 0.3 * torch.randn_like(p) for name, p in network.named_parameters()
    }
    state.memory(Student).masks = {
        name: (torch.rand_like(network.get_parameter(name)) < 0.5).double() for name in WEIGHTS
    }
    return state


def copies(state: TrainState, student: Mapping[str, Tensor]) -> tuple[nn.Module, nn.Module]:
    """A teacher and a student as plain networks; the student's weights are multiplied by its masks."""
    teacher, other = deepcopy(state.network), deepcopy(state.network)
    teacher.load_state_dict(state.memory(Student).teacher)
    masks = state.memory(Student).masks
    other.load_state_dict({name: value * masks[name] if name in masks else value for name, value in student.items()})
    return teacher, other


def by_hand(state: TrainState, student: Mapping[str, Tensor], *, projected: bool) -> tuple[float, float, float]:
    """The three terms before they are weighed, on five inputs: halves of two and three."""
    teacher, other = copies(state, student)
    keep = state.memory(Student).masks if projected else None
    with torch.no_grad():
        kernels = contracted_kernel(teacher, INPUTS[:2], INPUTS[2:])
        differences = contracted_kernel(other, INPUTS[:2], INPUTS[2:], keep=keep) - kernels
        outputs = other(INPUTS) - teacher(INPUTS)
    assert differences.shape == (2, 3, 3, 3)
    norm = sum(float((other.get_parameter(name).detach() ** 2).sum()) for name in WEIGHTS)
    return float((differences**2).sum()) / 54, float((outputs**2).sum()) / 15, norm


def test_the_notes_check_of_the_formula() -> None:
    # The authors' log: kernels 6439.0 apart, outputs 1.022, sum of squares 82.94 make 7.737 at 3 %.
    found = Distances(*(torch.tensor(value, dtype=torch.float64) for value in (6439.0, 1.022, 82.94)))
    assert float(TangentTransfer(0.03, 1e-3, 1e-4).weighed(found)) == pytest.approx(7.737, abs=5e-4)
    assert float(TangentTransfer(0.03).weighed(found)) == pytest.approx(7.737, abs=5e-4)  # the defaults


@pytest.mark.parametrize("projected", [False, True])
def test_loss_and_parts(projected: bool) -> None:
    state = state_of()
    objective = TangentTransfer(0.4, 0.7, 0.05, projected)
    objective.attach(state)
    loss = objective.loss(state, INPUTS, None)
    kernel, target, norm = by_hand(state, state.network.state_dict(), projected=projected)
    assert float(loss.detach()) == pytest.approx(0.7 * kernel + target + 0.05 / 0.4 * norm, rel=1e-10)
    assert objective.parts == pytest.approx({"kernel distance": kernel, "target distance": target}, rel=1e-10)
    objective.detach()
    assert not objective.needs_labels


def test_what_the_kernel_sums_over_matters() -> None:
    state = state_of()
    released, projected = (by_hand(state, state.network.state_dict(), projected=each)[0] for each in (False, True))
    assert abs(released - projected) > 0.1 * released


@pytest.mark.parametrize("projected", [False, True])
def test_gradients_are_differences_of_the_loss_and_masked_weights_have_none(projected: bool) -> None:
    state = state_of()
    TangentTransfer(0.4, 0.7, 0.05, projected).loss(state, INPUTS, None).backward()
    step = 1e-6
    for name, parameter in state.network.named_parameters():
        assert parameter.grad is not None
        mask = state.memory(Student).masks.get(name, torch.ones_like(parameter))
        assert bool((parameter.grad[mask == 0] == 0).all()) and bool((parameter.grad[mask == 1] != 0).all())
        for position in mask.flatten().nonzero().flatten()[::4]:
            losses = []
            for sign in (1, -1):
                moved = {key: value.clone() for key, value in state.network.state_dict().items()}
                moved[name].view(-1)[position] += sign * step
                kernel, target, norm = by_hand(state, moved, projected=projected)
                losses.append(0.7 * kernel + target + 0.05 / 0.4 * norm)
            slope = (losses[0] - losses[1]) / (2 * step)
            assert float(parameter.grad.flatten()[position]) == pytest.approx(slope, rel=1e-5, abs=1e-6)


def test_a_student_that_is_its_teacher_is_at_no_distance() -> None:
    state = state_of()
    state.memory(Student).teacher = dict(state.network.state_dict())
    state.memory(Student).masks = {name: torch.ones_like(state.network.get_parameter(name)) for name in WEIGHTS}
    for projected in (False, True):
        objective = TangentTransfer(1.0, projected=projected)
        objective.loss(state, INPUTS, None)
        assert objective.parts == pytest.approx({"kernel distance": 0, "target distance": 0}, abs=1e-25)


def test_a_batch_without_two_halves_is_refused() -> None:
    with pytest.raises(DataError, match="a batch of 1 example has no two halves.*choose a batch size"):
        TangentTransfer(0.4).loss(state_of(), INPUTS[:1], None)


def test_weights_that_are_no_numbers_are_refused() -> None:
    state = state_of()
    state.network.get_parameter("2.weight").data.fill_(float("nan"))
    with pytest.raises(NetworkError, match="NaN or infinite"):
        TangentTransfer(0.4).loss(state, INPUTS, None)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"density": 0.0}, "density must be a finite number > 0 and <= 1, not 0.0"),
        ({"density": 1.5}, "density must be"),
        ({"density": 0.5, "kernel_weight": -1.0}, "kernel_weight must be a finite number >= 0, not -1.0"),
        ({"density": 0.5, "decay": float("nan")}, "decay must be"),
    ],
)
def test_settings_that_cannot_be_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        TangentTransfer(**given)
