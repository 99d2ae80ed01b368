"""Sparse variational dropout: its divergence, its rule for weights and units, and masks in the compact network."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import bayesprune as bp
from bayesprune.data import Data
from bayesprune.inference.multipliers.guide import multiplier_guide
from bayesprune.inference.multipliers.normal import log_uniform_divergence
from bayesprune.inference.multipliers.sparse_weights import SparseWeightGuide, least_of_units
from bayesprune.inference.weight_laws import DEVIATIONS
from bayesprune.run.method import Plan
from bayesprune.structure import find
from bayesprune.training import TrainState

Begin = Callable[..., tuple[TrainState, Plan]]


def guide_of(state: TrainState) -> SparseWeightGuide:
    guide = multiplier_guide(state)
    assert isinstance(guide, SparseWeightGuide)
    return guide


def test_the_least_of_the_weights_of_each_unit() -> None:
    """By hand, in a chain with a convolution, flattened maps and gates on inputs and flattened features."""
    network = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 5), nn.ReLU(), nn.Linear(5, 2))
    structure = find(network, torch.randn(2, 2, 4, 4), inputs="all", flatten_inputs=True)
    values = {name: torch.randn_like(value) for name, value in network.named_parameters() if name.endswith("weight")}
    made, read = least_of_units(structure, values)
    places = structure.slices()
    conv, first, last = values["0.weight"], values["3.weight"], values["5.weight"]
    assert bool(made[places["inputs"]].isinf().all()) and bool(made[places["3.inputs"]].isinf().all())
    torch.testing.assert_close(read[places["inputs"]], conv.amin((0, 2, 3)))
    torch.testing.assert_close(made[places["0"]], conv.amin((1, 2, 3)))
    torch.testing.assert_close(read[places["0"]], first.reshape(5, 3, 4).amin((0, 2)))
    torch.testing.assert_close(read[places["3.inputs"]], first.amin(0))
    torch.testing.assert_close(made[places["3"]], first.amin(1))
    torch.testing.assert_close(read[places["3"]], last.amin(0))


def test_a_unit_goes_when_all_weights_that_make_it_or_that_read_it_have_gone(begun: Begin) -> None:
    state, _ = begun("sparse-vd")
    guide = guide_of(state)
    places = state.structure.slices()
    assert bool(guide.stays.all())
    with torch.no_grad():
        guide.log_deviation["fc1|weight"][3] = 4.0  # all that makes unit 3 of fc1
        guide.log_deviation["fc2|weight"][:, 5] = 4.0  # all that reads unit 5 of fc1
        guide.log_deviation["fc1|weight"][:, 7] = 4.0  # all that reads input 7
        guide.log_deviation["fc3|weight"][1:, 2] = 4.0  # not all that reads unit 2 of fc2
    gone = (~guide.stays).nonzero().flatten().tolist()
    assert gone == [7, places["fc1"].start + 3, places["fc1"].start + 5]


@pytest.mark.usefixtures("at_once")
def test_the_penalty_is_that_of_the_weights_and_biases_are_a_point(begun: Begin, small_data: Data) -> None:
    state, plan = begun("sparse-vd", warm_up=0.0)
    guide = guide_of(state)
    expected = 0.0
    for name in ("fc1", "fc2", "fc3"):
        square = state.network.get_parameter(f"{name}.weight").detach().square()
        log_alpha = (0.0067**2 / square).log().clamp(-8.0, 8.0)
        expected += float(log_uniform_divergence(log_alpha).sum())
    assert float(guide.weight_penalty(guide.theta).detach()) == pytest.approx(expected, rel=1e-4)
    inputs, labels = next(iter(small_data.train.batches(40)))
    plan.phases[0].objective.loss(state, inputs, labels).backward()
    for name, deviation in guide.log_deviation.items():
        assert (deviation.grad is None) == name.endswith("bias")
        assert deviation.grad is None or bool(torch.isfinite(deviation.grad).all())
    assert set(state.optimizers) == {"network", DEVIATIONS}


def test_weights_that_go_are_masked_in_the_compact_network(begun: Begin, small_data: Data) -> None:
    state, plan = begun("sparse-vd")
    guide = guide_of(state)
    torch.manual_seed(0)
    with torch.no_grad():
        for name, deviation in guide.log_deviation.items():
            if name.endswith("weight"):
                deviation[torch.rand_like(deviation) < 0.5] = 4.0
    before = {name: value.detach().clone() for name, value in state.network.named_parameters()}
    masks = guide.weight_masks()
    plan.phases[0].objective.detach()
    start = plan.phases[1].start
    assert start is not None
    inputs, _ = next(iter(small_data.test.batches(60)))
    masked = {name: value * masks.get(name, 1.0) for name, value in before.items()}
    expected = torch.func.functional_call(state.network.eval(), masked, (inputs,))
    start(state)
    torch.testing.assert_close(state.network(inputs), expected, rtol=0, atol=1e-5)
    share = sum(float(mask.sum()) for mask in masks.values()) / sum(mask.numel() for mask in masks.values())
    assert share == pytest.approx(0.5, abs=0.1)
    assert all(state.network.get_parameter(name).shape == mask.shape for name, mask in state.masks.items())


def test_masks_reach_the_result(small_data: Data) -> None:
    options: dict[str, Any] = {"warm_up": 0.0, "deviation_learning_rate": 0.2, "prune_share": 0.75}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = bp.models.LeNet300((12, 8), (1, 6, 6), 3)
    pruned = bp.prune(network, small_data, "sparse-vd", epochs=12, batch_size=40, **options)
    row = pruned.result()
    assert row["nonzero_weights"] < row["macs"] and pruned.masks
    for name, mask in pruned.masks.items():
        weight = pruned.network.get_parameter(name)
        assert bool((weight[mask == 0] == 0).all()) and 0 < float(mask.float().mean()) <= 1
