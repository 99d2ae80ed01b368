"""The proximal step against a numerical minimiser, stationarity, and the guard against gaming by scales."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor, nn

from bayesprune.data import Data, from_tensors
from bayesprune.errors import SettingError
from bayesprune.layers import active_layers, find_layers, penalty, strengths_of
from bayesprune.layers.linear import effective
from bayesprune.layers.method import check_guarded, fit_phase
from bayesprune.layers.options import LayerOptions
from bayesprune.layers.proximal import LayerAdam, proximal_step, shrunk_negative, soft_threshold
from bayesprune.layers.signs import clamp, negative_norm, write_effective
from bayesprune.layers.stationarity import least_strengths
from bayesprune.models import MLP
from bayesprune.tasks import Regression
from bayesprune.training import TrainState, train


def minimiser(weight: np.ndarray[Any, Any], bias: np.ndarray[Any, Any], r: float, lam: float) -> np.ndarray[Any, Any]:
    """Of 1/2 ||V - [W b]||^2 + lam |V_W| + r ||neg(V)||_F, with V = P - N and P, N >= 0, by L-BFGS-B."""
    target, on_weights = np.concatenate([weight, bias]), np.concatenate([np.ones_like(weight), np.zeros_like(bias)])
    size = len(target)

    def value(both: np.ndarray[Any, Any]) -> tuple[float, np.ndarray[Any, Any]]:
        above, below = both[:size], both[size:]
        rest, norm = above - below - target, np.sqrt((below**2).sum() + 1e-20)
        found = 0.5 * (rest**2).sum() + lam * (on_weights * (above + below)).sum() + r * norm
        return found, np.concatenate([rest + lam * on_weights, -rest + lam * on_weights + r * below / norm])

    start = np.concatenate([np.maximum(target, 0), np.maximum(-target, 0)]) + 0.1
    options = {"maxiter": 20_000, "maxfun": 200_000, "ftol": 1e-16, "gtol": 1e-10}
    solved = minimize(value, start, jac=True, bounds=[(0, None)] * (2 * size), method="L-BFGS-B", options=options)
    return np.asarray(solved.x[:size] - solved.x[size:])


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("r", "lam"), [(0.7, 0.0), (0.7, 0.3), (0.0, 0.3), (2.5, 0.2), (20.0, 0.1)])
def test_the_step_is_the_minimiser(seed: int, r: float, lam: float) -> None:
    random = np.random.default_rng(seed)
    weight, bias = random.normal(size=12), random.normal(size=3)
    step = 0.8
    found = proximal_step([torch.tensor(weight).reshape(4, 3), torch.tensor(bias)], step, r, lam)
    own = torch.cat([part.flatten() for part in found]).numpy()
    # Beside the kink at an empty negative part the minimiser comes less close.
    assert own == pytest.approx(minimiser(weight, bias, step * r, step * lam), abs=2e-5 if r < 20 else 2e-2)
    if r == 20.0:
        assert (own >= 0).all() and (own == 0).any()


def test_all_negative_values_become_zero_together() -> None:
    weight, bias = torch.tensor([[3.0, -3.0], [0.0, 1.0]]), torch.tensor([-4.0, 2.0])
    shrunk = shrunk_negative([weight, bias], 1.0)  # the negative part has norm 5
    assert torch.allclose(shrunk[0], torch.tensor([[3.0, -2.4], [0.0, 1.0]]))
    assert torch.allclose(shrunk[1], torch.tensor([-3.2, 2.0]))
    gone = shrunk_negative([weight, bias], 5.0)
    assert torch.equal(gone[0], weight.clamp(min=0)) and torch.equal(gone[1], bias.clamp(min=0))
    assert torch.equal(shrunk_negative([gone[0]], 1.0)[0], gone[0])
    assert torch.equal(soft_threshold(torch.tensor([1.5, -0.2, -3.0]), 1.0), torch.tensor([0.5, -0.0, -2.0]))


def test_a_step_of_the_optimizer_is_a_number_times_the_averaged_gradient() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(3, 2)
    optimizer = LayerAdam([{"params": list(layer.parameters())}], lr=0.1)
    before = [parameter.detach().clone() for parameter in layer.parameters()]
    average: list[Tensor] = [torch.zeros_like(one) for one in before]
    square = 0.0
    for number in range(1, 4):
        gradients = [torch.randn_like(one) for one in before]
        for parameter, gradient in zip(layer.parameters(), gradients, strict=True):
            parameter.grad = gradient.clone()
        optimizer.step()
        mean = float(torch.cat([g.flatten() for g in gradients]).square().mean())
        square = 0.99 * square + 0.01 * mean
        average = [0.9 * a + 0.1 * g for a, g in zip(average, gradients, strict=True)]
        step = 0.1 / (max(square / (1 - 0.99**number), mean) ** 0.5 + 1e-8)
        before = [b - step / (1 - 0.9**number) * a for b, a in zip(before, average, strict=True)]
        for parameter, expected in zip(layer.parameters(), before, strict=True):
            assert torch.allclose(parameter, expected, atol=1e-5)
        assert float(optimizer.state[layer.weight]["step_size"]) == pytest.approx(step, rel=1e-4)


def test_with_a_memory_steps_stay_short_after_a_large_gradient() -> None:
    """Gradients of 100 and then of 0.01: the root of the largest square fades by sqrt(1 - 1 / 10) a step."""
    weight = nn.Parameter(torch.zeros(2, 3))
    optimizers = [LayerAdam([{"params": [weight]}], lr=0.1, memory=memory) for memory in (0.0, 10.0)]
    found: list[list[float]] = [[], []]
    for size in (100.0, *[0.01] * 400):
        weight.grad = torch.full((2, 3), size)
        for optimizer, steps in zip(optimizers, found, strict=True):
            optimizer.step()
            steps.append(float(optimizer.state[weight]["step_size"]))
    assert found[1][0] == found[0][0] == pytest.approx(1e-3)
    assert all(later <= (1 / 0.9) ** 0.5 * (1 + 1e-5) * one for one, later in zip(found[1], found[1][1:], strict=False))
    assert all(one <= other * (1 + 1e-5) for one, other in zip(found[1], found[0], strict=True))

    weight.grad = torch.full((2, 3), 1.0)
    fresh = LayerAdam([{"params": [weight]}], lr=0.1, betas=(0.9, 0.0), memory=10.0)
    fresh.step()
    for number in range(1, 5):  # without a second moment the square is that of the gradient, 1e-4
        weight.grad = torch.full((2, 3), 0.01)
        fresh.step()
        assert float(fresh.state[weight]["step_size"]) == pytest.approx(0.1 / 0.9 ** (number / 2), rel=1e-5)


@pytest.mark.parametrize("kind", ["linear", "convolution"])
def test_behind_a_normalisation_the_folded_values_are_moved(kind: str) -> None:
    torch.manual_seed(1)
    layer, norm = (
        (nn.Linear(4, 3), nn.BatchNorm1d(3))
        if kind == "linear"
        else (nn.Conv2d(2, 3, 3, bias=False), nn.BatchNorm2d(3))
    )
    with torch.no_grad():
        norm.running_mean.normal_()  # type: ignore[union-attr]  # it tracks statistics
        norm.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]  # likewise
        norm.weight.normal_()
        norm.bias.normal_()
    weight, bias = effective(layer, norm)
    assert bias is not None
    moved = proximal_step([weight, bias], 0.5, 0.8, 0.1)
    write_effective(layer, norm, moved[0], moved[1])
    found = effective(layer, norm)
    assert found[1] is not None
    assert torch.allclose(found[0], moved[0], atol=1e-6) and torch.allclose(found[1], moved[1], atol=1e-5)


def data_of(targets: Tensor, inputs: Tensor) -> Data:
    return from_tensors(inputs, targets, validation=(inputs, targets), test=(inputs, targets), task="regression")


def regression(seed: int) -> tuple[MLP, Data]:
    """A teacher of one layer, and a student of three."""
    torch.manual_seed(seed)
    inputs = torch.randn(200, 4)
    targets = (inputs @ torch.randn(4, 3)).relu() @ torch.randn(3, 1)
    student = MLP((6, 6, 6), (4,), 1)
    return student, data_of(targets, inputs)


def state_of(network: nn.Module, data: Data) -> TrainState:
    inputs, _ = next(iter(data.train.batches(2)))
    return TrainState(network, _none(), inputs, data.task)


def _none() -> Any:
    from bayesprune.structure import Structure

    return Structure((), (), ())


def fit(network: nn.Module, data: Data, own: LayerOptions, steps: int, rate: float = 0.01) -> TrainState:
    """Full batches."""
    state = state_of(network, data)
    phase = fit_phase(state, find_layers(network, state.example), own, rate, steps, 0.0, len(data.train))
    return train(state, [phase], data, batch_size=len(data.train), seed=0, validate=False)


def test_the_smallest_strength_that_keeps_a_layer_inactive() -> None:
    """A single step of plain proximal gradient: above the strength nothing grows below 0, below it something does."""
    network, data = regression(0)
    inputs, targets = next(iter(data.train.batches(1000)))
    layers = find_layers(network, inputs)
    assert isinstance(data.task, Regression)
    state = state_of(network, data)
    for one in layers.candidates:
        clamp(network, one)
    for lam in (0.0, 0.01):
        least = least_strengths(network, layers, data.train.batches(77), state.loss, lam=lam)
        assert least.keys() == {"fc2", "fc3"} and all(value > 0 for value in least.values())
        network.zero_grad()
        state.loss(network(inputs), targets).backward()
        for name, strength in least.items():
            layer = network.get_submodule(name)
            parts = [layer.get_parameter("weight"), layer.get_parameter("bias")]
            for factor, stays in ((1.02, True), (0.98, False)):
                step = 1e-4  # so small that entries above 0 stay there
                ahead = [(part - step * part.grad).detach() for part in parts]  # type: ignore[operator]  # there is one
                zero = [part.detach() == 0 for part in parts]
                moved = proximal_step(
                    [new.where(at, new.clamp(min=0)) for new, at in zip(ahead, zero, strict=True)],
                    step, factor * strength, lam,
                )  # fmt: skip
                assert (negative_norm(moved) == 0) == stays, (name, factor, lam)


@pytest.mark.long
def test_training_settles_on_the_side_that_the_test_says() -> None:
    """From an inactive layer at a stationary point: twice the strength keeps it so, a fiftieth does not."""
    network, data = regression(1)
    own = LayerOptions(strength=1.0, lam=1e-3, warm_up=0.0)
    state = fit(network, data, own, 400)
    layers = find_layers(network, state.example)
    assert active_layers(network, layers) == ("fc1",)
    least = least_strengths(network, layers, data.train.batches(200), state.loss, lam=1e-3)
    largest = max(least.values())
    for factor, expected in ((2.0, 1), (0.02, None)):
        again = MLP((6, 6, 6), (4,), 1)
        again.load_state_dict(network.state_dict())
        own = LayerOptions(strength=factor * largest / 36**0.5, lam=1e-3, warm_up=0.0)
        fit(again, data, own, 200)
        active = active_layers(again, find_layers(again, state.example))
        assert len(active) == expected if expected else len(active) > 1


def test_the_fit_holds_the_noise_and_what_is_learnt_otherwise_moves() -> None:
    """The loss is half the mean squared error then, whose gradient the noise does not scale."""
    network, data = regression(1)
    before = network.fc2.weight.detach().clone()  # type: ignore[operator, union-attr]  # a linear layer
    state = fit(network, data, LayerOptions(strength=0.01, lam=1e-3), 5)
    assert torch.equal(state.likelihood.deviation(), torch.ones(1))  # type: ignore[operator]  # of normal noise
    assert not torch.equal(network.fc2.weight, before)  # type: ignore[arg-type, union-attr]  # likewise
    inputs, targets = next(iter(data.train.batches(200)))
    outputs = network(inputs).detach()
    loss, errors = state.loss(outputs, targets), targets - outputs
    assert float((loss - 0.5 * errors.square().mean()).detach()) == pytest.approx(0.5 * np.log(2 * np.pi), abs=1e-5)


def scaled(network: MLP, c: float) -> None:
    """The same function: the second matrix by c, the last one by 1/c."""
    with torch.no_grad():
        network.fc2.weight.mul_(c)  # type: ignore[operator, union-attr]  # a linear layer
        network.fc2.bias.mul_(c)  # type: ignore[operator, union-attr]  # of a layer
        network.fc3.weight.div_(c)  # type: ignore[operator, union-attr]  # of a layer


def test_the_regulariser_alone_can_be_gamed_by_scales() -> None:
    torch.manual_seed(0)
    network = MLP((5, 6), (1, 2, 2), 3)
    inputs = torch.randn(7, 1, 2, 2)
    layers = find_layers(network, inputs)
    strengths = strengths_of(network, layers, 0.1)
    before, outputs = penalty(network, layers, strengths), network(inputs)
    squares = [float(sum(p.detach().square().sum() for p in network.parameters()))]
    scaled(network, 1e-4)
    assert torch.allclose(network(inputs), outputs, atol=1e-5)
    assert penalty(network, layers, strengths) == pytest.approx(1e-4 * before)
    assert active_layers(network, layers) == ("fc1", "fc2")  # nothing was won
    # With weight decay beside it that is no way out: its sum rises.
    squares.append(float(sum(p.detach().square().sum() for p in network.parameters())))
    assert squares[1] > 1e6 * squares[0]


def test_the_regulariser_alone_is_refused() -> None:
    with pytest.raises(SettingError, match="needs a penalty on all matrices.*lam > 0"):
        check_guarded(1e-3, 0.0, 0.0)
    for guarded in ((1e-3, 1e-5, 0.0), (1e-3, 0.0, 1e-5), (0.0, 0.0, 0.0)):
        check_guarded(*guarded)


@pytest.mark.parametrize("guard", ["none", "decay", "l1"])
def test_the_guard_gives_the_scale_a_best_value(guard: str) -> None:
    """The objective along scales c of one function: alone it falls to 0 with c; guarded it has a least value inside."""
    torch.manual_seed(0)
    network = MLP((5, 6), (1, 2, 2), 3)
    layers = find_layers(network, torch.randn(2, 1, 2, 2))
    strengths, last, along = strengths_of(network, layers, 0.1), 1.0, []
    for c in torch.logspace(1, -5, 61, dtype=torch.float64).tolist():
        scaled(network, c / last)
        last = c
        weights = [p.detach() for name, p in network.named_parameters() if name.endswith("weight")]
        beside = {"none": 0.0, "decay": 0.01 * sum(float(w.square().sum()) for w in weights),
                  "l1": 0.01 * sum(float(w.abs().sum()) for w in weights)}  # fmt: skip
        along.append(penalty(network, layers, strengths) + beside[guard])
    best = along.index(min(along))
    if guard == "none":
        assert best == 60 and along[-1] < 1e-4 * along[0]
    else:
        assert 0 < best < 60 and along[-1] > 10 * along[best]
