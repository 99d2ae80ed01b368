"""Dynamic sparse training: what is dropped and grown, and that counts never change."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from bayesprune.data import Data
from bayesprune.errors import NetworkError, SettingError
from bayesprune.pruners.dynamic import RigL, SparseEvolution
from bayesprune.structure import Structure
from bayesprune.training import Checkpointer, NegativeLogLikelihood, Phase, TrainState, adam, constant, train

Update = SparseEvolution | RigL


def layer_state(weights: list[float], alive: list[int], gradients: list[float]) -> TrainState:
    """One layer of 2 x n weights under Adam, whose moments are 7 everywhere."""
    layer = nn.Linear(len(weights) // 2, 2)
    state = TrainState(layer, Structure((), (), ()), torch.zeros(1, len(weights) // 2))
    state.masks = {"weight": torch.tensor(alive, dtype=torch.float32).view(2, -1)}
    layer.weight.data = torch.tensor(weights).view(2, -1)
    layer.weight.grad = torch.tensor(gradients).view(2, -1)
    optimizer = torch.optim.Adam(layer.parameters())
    full = {name: torch.full_like(layer.weight, 7.0) for name in ("exp_avg", "exp_avg_sq")}
    optimizer.state[layer.weight] = {"step": torch.tensor(5.0), **full}
    state.optimizers = {"network": optimizer}
    return state


def flat(state: TrainState) -> tuple[list[float], list[float], list[float]]:
    """Mask, weights and first moments."""
    weight = state.network.get_parameter("weight")
    moments = state.optimizers["network"].state[weight]
    assert torch.equal(moments["exp_avg"], moments["exp_avg_sq"]) and moments["step"] == 5
    tensors = state.masks["weight"], weight.detach(), moments["exp_avg"]
    mask, values, moment = (tensor.flatten().tolist() for tensor in tensors)
    return mask, values, moment


def test_rigl_by_hand() -> None:
    # Half of six alive weights go: -0.1, 0.3 and -0.2. Of what is not alive then, the gradients -9, 8 and 5 are
    # largest; 8 is that of the weight -0.1, which is taken back as it was.
    weights = [0.6, -0.1, 0.3, -0.2, 0.5, 0.4, 0.0, 0.0, 0.0, 0.0]
    gradients = [99.0, 8.0, 2.0, 0.0, 99.0, 99.0, -9.0, 1.0, 5.0, 0.1]
    state = layer_state(weights, [1] * 6 + [0] * 4, gradients)
    state.phase_step = 10
    RigL(until=20, every=10, fraction=1.0)(state)
    mask, values, moments = flat(state)
    assert mask == [1, 1, 0, 0, 1, 1, 1, 0, 1, 0]
    assert values == pytest.approx([0.6, -0.1, 0, 0, 0.5, 0.4, 0, 0, 0, 0])
    assert moments == [7, 7, 7, 7, 7, 7, 0, 7, 0, 7]


def test_the_share_that_rigl_replaces_follows_half_a_cosine() -> None:
    update = RigL(until=100, fraction=0.4)
    assert [update.share(step) for step in (0, 50, 75, 100)] == pytest.approx([0.4, 0.2, 0.0585786, 0.0], abs=1e-6)


def test_ties_are_broken_by_position() -> None:
    state = layer_state([0.5] * 4 + [0.0] * 4, [1] * 4 + [0] * 4, [0.0] * 4 + [3.0] * 4)
    state.phase_step = 10
    RigL(until=20, every=10, fraction=1.0)(state)
    assert flat(state)[0] == [1, 1, 0, 0, 1, 1, 0, 0]
    # Sorting keeps few equals in order by chance, many only when told to.
    state = layer_state([0.5] * 2000 + [0.0] * 2000, [1] * 2000 + [0] * 2000, [0.0] * 2000 + [3.0] * 2000)
    state.phase_step = 10
    RigL(until=20, every=10, fraction=1.0)(state)
    assert flat(state)[0] == [1] * 1000 + [0] * 1000 + [1] * 1000 + [0] * 1000


def test_set_drops_what_is_nearest_zero_on_either_side() -> None:
    # Half of four positive ones (0.1, 0.2), half of three negative ones rounded down (-0.05), and the alive zero.
    weights = [0.1, 0.4, -0.05, 0.2, 0.3, -0.7, -0.6, 0.0, 0.0, 0.0, 0.0, 0.0]
    alive = [1] * 8 + [0] * 4
    grown_at = set()
    for seed in range(40):
        torch.manual_seed(seed)
        state = layer_state(weights, alive, [0.0] * 12)
        state.phase_step = 3
        SparseEvolution(3, 0.5)(state)
        mask, values, moments = flat(state)
        assert sum(mask) == 8 and [mask[n] for n in (1, 4, 5, 6)] == [1, 1, 1, 1]
        assert values == pytest.approx([0, 0.4, 0, 0, 0.3, -0.7, -0.6, 0, 0, 0, 0, 0])
        grown = {n for n, one in enumerate(mask) if one} - {1, 4, 5, 6}
        assert moments == [0 if n in grown else 7 for n in range(12)]
        grown_at |= grown
    assert grown_at == {0, 2, 3, 7, 8, 9, 10, 11}  # every dead position has its turn


@pytest.mark.parametrize("update", [SparseEvolution(4, until=9), RigL(until=9, every=4)])
def test_masks_move_every_so_many_steps_until_the_end(update: Update) -> None:
    torch.manual_seed(0)
    state = layer_state([0.1 * n for n in range(1, 11)] + [0.0] * 10, [1] * 10 + [0] * 10, [1.0] * 10 + [2.0] * 10)
    moved = []
    for step in range(1, 20):
        state.phase_step, before = step, state.masks["weight"]
        update(state)
        if state.masks["weight"] is not before:
            moved.append(step)
            assert step > 4 or not torch.equal(state.masks["weight"], before)
            state.network.get_parameter("weight").data += 0.1 * state.masks["weight"]
    assert moved == [4, 8]


def test_masks_are_replaced_and_not_written_into() -> None:
    state = layer_state([0.1 * n for n in range(1, 7)] + [0.0] * 6, [1] * 6 + [0] * 6, [1.0] * 12)
    before = state.masks["weight"]
    copy, state.phase_step = before.clone(), 1
    SparseEvolution(1, 0.9)(state)
    assert torch.equal(before, copy)


class Two(nn.Module):
    """A convolution and a linear layer of any sizes."""

    def __init__(self, channels: int, kernel: int, units: int) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(2, channels, kernel), nn.Linear(channels, units)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.fc(self.conv(inputs).mean((2, 3)))
        return outputs


@settings(max_examples=settings().max_examples // 2)
@given(
    sizes=st.tuples(st.integers(1, 5), st.integers(1, 3), st.integers(1, 6)),
    densities=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    fraction=st.floats(0.01, 1),
    dynamic=st.sampled_from([SparseEvolution, RigL]),
    seed=st.integers(0, 999),
)
def test_counts_never_change(
    sizes: tuple[int, int, int], densities: tuple[float, float], fraction: float, dynamic: Any, seed: int
) -> None:
    torch.manual_seed(seed)
    network = Two(*sizes)
    state = TrainState(network, Structure((), (), ()), torch.zeros(1, 2, 3, 3))
    weights = {name: network.get_parameter(name) for name in ("conv.weight", "fc.weight")}
    state.masks = {
        name: (torch.rand_like(weight) < density).float()
        for (name, weight), density in zip(weights.items(), densities, strict=True)
    }
    counts = {name: float(mask.sum()) for name, mask in state.masks.items()}
    state.optimizers = {"network": torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)}
    biases = network.get_parameter("conv.bias").detach().clone()
    update = dynamic(every=2, fraction=fraction, until=9)
    for step in range(1, 11):
        state.phase_step = step
        for weight in weights.values():
            weight.grad = torch.randn_like(weight).round()  # with ties and zeros
        state.optimizers["network"].step()
        state.apply_masks()
        update(state)
        for name, weight in weights.items():
            mask = state.masks[name]
            assert float(mask.sum()) == counts[name] and bool(((mask == 0) | (mask == 1)).all())
            assert bool((weight[mask == 0] == 0).all()) and bool(torch.isfinite(weight).all())
    assert torch.equal(network.get_parameter("conv.bias"), biases)


def test_layers_with_nothing_masked_are_left_alone() -> None:
    for alive in (None, [1] * 6):
        for update in (SparseEvolution(1, 0.5), RigL(until=9, every=1, fraction=0.5)):
            state = layer_state([1.0, 2, 3, -1, -2, -3], [1] * 6, [1.0] * 6)
            state.masks = {} if alive is None else state.masks
            state.phase_step = 1
            update(state)
            weight = state.network.get_parameter("weight")
            assert weight.flatten().tolist() == [1, 2, 3, -1, -2, -3]
            assert len(state.masks) == (0 if alive is None else 1)


def perceptron_state(data: Data) -> TrainState:
    """A perceptron with a third of the weights of its first two layers."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        network = nn.Sequential(
            nn.Flatten(), nn.Linear(36, 12), nn.ReLU(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 3)
        )
        example = next(iter(data.test.batches(2)))[0]
        state = TrainState(network, Structure((), (), ()), example)
        masks = {name: torch.rand_like(network.get_parameter(name)) < 0.33 for name in ("1.weight", "3.weight")}
    state.masks = {name: mask.float() for name, mask in masks.items()}
    state.apply_masks()
    return state


@pytest.mark.parametrize("update", [SparseEvolution(5, 0.4, until=25), RigL(until=25, every=5, fraction=0.5)])
def test_in_training_counts_hold_and_new_weights_learn(small_data: Data, update: Update) -> None:
    state = perceptron_state(small_data)
    counts, seen = {name: float(mask.sum()) for name, mask in state.masks.items()}, []
    first = {name: mask.clone() for name, mask in state.masks.items()}

    def watch(state: TrainState) -> None:
        assert {name: float(mask.sum()) for name, mask in state.masks.items()} == counts
        for name, mask in state.masks.items():
            assert bool((state.network.get_parameter(name)[mask == 0] == 0).all())
        seen.append({name: mask.clone() for name, mask in state.masks.items()})

    phase = Phase("train", 32, NegativeLogLikelihood(), adam(0.01, 0.01), constant, updates=[update, watch])
    train(state, [phase], small_data, batch_size=60, seed=1)
    for step in range(1, 32):
        changed = any(not torch.equal(seen[step][name], seen[step - 1][name]) for name in counts)
        assert changed == (step + 1 in (5, 10, 15, 20)), step + 1
    for name, mask in state.masks.items():
        grown = (mask == 1) & (first[name] == 0)
        assert bool(grown.any()) and float((state.network.get_parameter(name)[grown] != 0).float().mean()) > 0.5


class StopError(Exception):
    """Stands for whatever ends a process."""


@pytest.mark.parametrize("make", [lambda: SparseEvolution(3, 0.4), lambda: RigL(until=18, every=3, fraction=0.5)])
@pytest.mark.parametrize("stop", [6, 8])
def test_a_resumed_run_ends_with_the_same_masks(
    small_data: Data, tmp_path: Path, make: Callable[[], Update], stop: int
) -> None:
    def run(**settings: Any) -> dict[str, Tensor]:
        state = perceptron_state(small_data)
        phase = Phase("train", 20, NegativeLogLikelihood(0.1), adam(0.01), constant, updates=[make()])
        train(state, [phase], small_data, batch_size=60, seed=1, **settings)
        return {**state.network.state_dict(), **{f"mask of {name}": mask for name, mask in state.masks.items()}}

    def end(now: Any) -> None:
        if now.step == stop + 1:
            raise StopError

    whole = run()
    with pytest.raises(StopError):
        run(checkpointer=Checkpointer(tmp_path / "state", steps=stop), progress=end)
    resumed = run(checkpointer=Checkpointer(tmp_path / "state", steps=stop))
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())


def test_what_cannot_be_is_refused_by_name() -> None:
    update = RigL(until=9, every=1)
    state = layer_state([1.0, 2, 3, 0], [1, 1, 1, 0], [1.0, 2, float("nan"), 4])
    state.phase_step = 1
    with pytest.raises(NetworkError, match="gradients of layer 'weight' hold NaN"):
        update(state)
    state.network.get_parameter("weight").grad = None
    with pytest.raises(NetworkError, match="layer 'weight' is masked but has no gradient"):
        update(state)
    state.network.get_parameter("weight").data[0, 0] = torch.inf
    with pytest.raises(NetworkError, match="weights of layer 'weight' hold NaN or infinite"):
        SparseEvolution(1)(state)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: SparseEvolution(0), "every"), (lambda: SparseEvolution(5, 0.0), "fraction"),
        (lambda: SparseEvolution(5, 1.5), "fraction"), (lambda: SparseEvolution(5, until=0), "until"),
        (lambda: RigL(until=0), "until"), (lambda: RigL(until=5, every=-1), "every"),
        (lambda: RigL(until=5, fraction=float("nan")), "fraction"),
    ],
)  # fmt: skip
def test_settings_that_cannot_be_are_refused(make: Callable[[], Update], name: str) -> None:
    with pytest.raises(SettingError, match=name):
        make()
