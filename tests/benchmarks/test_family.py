"""The benchmark of the variational methods: which it finds, steps that learn and keep the network whole, its table."""

from dataclasses import replace

import pytest
import torch

from bayesprune.data import from_tensors
from bayesprune.experiments.methods import METHODS
from bayesprune.inference.objective import guide_of
from bayesprune.inference.variational import VariationalMethod
from bayesprune.models import LeNet300
from benchmarks.family import begun, family_step, family_table
from benchmarks.training_cost import CASES

DATA = from_tensors(torch.rand(300, 1, 28, 28), torch.arange(300) % 10, classes=10)
FOUND = [name for name, method in METHODS.items() if isinstance(method, VariationalMethod)] + ["sv-bnn"]
FOUND.remove("layer-gates")  # LeNets have no sections


def test_methods_with_a_guide_are_found_in_the_table() -> None:
    assert {"parsimonious", "spike-slab", "spike-slab-flat", "ss-gl", "ss-ghs", "sv-bnn"} <= {*FOUND}
    network = LeNet300()
    assert all(begun(name, network, DATA) is None for name in ("dense", "magnitude", "layer-gates"))
    with pytest.raises(KeyError):
        begun("none", network, DATA)


@pytest.mark.parametrize("name", FOUND)
def test_a_step_learns_and_keeps_the_network_whole(name: str) -> None:
    network = LeNet300()
    ready = begun(name, network, DATA)
    assert ready is not None
    state, _ = ready
    gates = len(guide_of(state).theta)
    initial = state.network.get_parameter("fc1.weight").detach().clone()
    step = family_step(*ready, *next(iter(DATA.train.batches(20))))
    for _ in range(3):
        step()
    trained = state.network.get_parameter("fc1.weight")
    assert trained.shape == (300, 784) and not torch.equal(trained, initial)
    assert len(guide_of(state).theta) == gates


def test_the_table_has_a_row_for_each(capsys: pytest.CaptureFixture[str]) -> None:
    """Ratios are those of the milliseconds printed; the plain step's is 1."""
    found = family_table(replace(CASES["lenet300"], steps=2), DATA, 2)
    rows = [line.split("|")[1:4] for line in capsys.readouterr().out.splitlines() if line.startswith("| ")][1:]
    assert [row[0].strip() for row in rows] == ["plain", *found] and {*found} == {*FOUND}
    assert float(rows[0][2]) == 1.0 and all(ratio > 0 for ratio in found.values())
