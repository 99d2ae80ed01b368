"""Methods that mask weights, made smaller by what nothing reads."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import bayesprune as bp
from bayesprune.data import Data
from bayesprune.errors import SettingError
from bayesprune.models import Conv4, LeNet300

PLAIN: dict[str, Any] = {"epochs": 3, "batch_size": 50}
WAYS: dict[str, dict[str, Any]] = {
    "magnitude": {"density": 0.1},
    "snip": {"density": 0.1, "least": 1},
    "lottery": {"density": 0.1, "rate": 0.9, "least": 1},
    "ntt": {"density": 0.1, "steps": 6, "every": 2},
    "layer-obs": {"density": 0.1},
}


def network() -> LeNet300:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return LeNet300((12, 8), (1, 6, 6), 3)


def reading(weight: Tensor) -> int:
    return int((weight != 0).any(0).sum())


@pytest.mark.parametrize("method", WAYS)
def test_every_unit_and_input_that_is_left_is_read(method: str, small_data: Data, tmp_path: Path) -> None:
    whole = bp.prune(network(), small_data, method, **PLAIN | WAYS[method])
    small = bp.prune(network(), small_data, method, trim=True, **PLAIN | WAYS[method])
    sizes = {name: len(kept) for name, kept in small.kept.items()}
    dense = {name: len(kept) for name, kept in whole.kept.items()}
    assert dense == {"inputs": 36, "fc1": 12, "fc2": 8}
    assert all(sizes[name] <= dense[name] for name in dense) and sizes != dense
    weights = {row.name.removesuffix(".layer"): small.network.get_submodule(row.name) for row in small.layers}
    read = {name: reading(layer.get_parameter("weight")) for name, layer in weights.items()}
    assert (read["fc1"], read["fc2"], read["fc3"]) == (sizes["inputs"], sizes["fc1"], sizes["fc2"])
    # What is left of the density: weights that led to what nothing read are gone.
    assert 0 < small.evaluation.nonzero_weights <= whole.evaluation.nonzero_weights
    assert small.evaluation.macs < whole.evaluation.macs
    again = bp.load(small.save(tmp_path / "run"))
    inputs = next(iter(small_data.test.batches(20)))[0]
    assert torch.equal(again.network(inputs), small.network.eval()(inputs))


def test_convolutions_lose_maps(small_data: Data) -> None:
    pruned = bp.prune(
        Conv4((6, 6, 6, 6, 7, 6), (1, 6, 6), 3), small_data, "magnitude", density=0.03, least=1, trim=True, **PLAIN
    )
    assert sum(len(kept) for kept in pruned.kept.values()) < 4 * 6 + 7 + 6
    assert pruned.evaluation.macs < sum(layer.macs for layer in pruned.dense_layers)


@pytest.mark.parametrize("method", WAYS)
def test_without_noise_it_learns_what_the_masked_network_learns(method: str, small_data: Data) -> None:
    """Nothing is drawn for single units then, so that the same weights see the same gradients."""
    still: dict[str, Any] = {**PLAIN, **WAYS[method], "noise": 0.0, "consistency": 0.0}
    whole, small = (bp.prune(network(), small_data, method, trim=trim, **still) for trim in (False, True))
    assert sum(map(len, small.kept.values())) < sum(map(len, whole.kept.values()))
    inputs = next(iter(small_data.test.batches(60)))[0]
    with torch.no_grad():
        torch.testing.assert_close(small.network.eval()(inputs), whole.network.eval()(inputs), rtol=1e-3, atol=1e-4)


def test_trim_is_true_or_false(small_data: Data) -> None:
    with pytest.raises(SettingError, match="trim"):
        bp.prune(network(), small_data, "magnitude", density=0.1, trim="yes", **PLAIN)
