"""What goes with a channel, against the dependency graph of torch-pruning, on networks where its walk is right."""

from typing import Any

import pytest
import torch
from torch import nn

from tests.bayesprune.structure.conftest import Case, make_case

torch_pruning: Any = pytest.importorskip("torch_pruning")

RIGHT = ("lenet300", "lenet5", "depthwise", "residual", "transposed", "series", "volumes", "squeeze-excite")
"""Networks of the zoo that torch-pruning follows without help: no input among what is concatenated, no
layers that are shared, no single slope (which it takes for a width of one)."""

Places = dict[tuple[str, str], set[int]]
"""For each layer that reads ("in") or writes ("out") a channel its positions there."""


def theirs(network: nn.Module, example: torch.Tensor, layer: str, channel: int) -> Places:
    """What torch-pruning would remove with one channel that a layer makes."""
    graph = torch_pruning.DependencyGraph().build_dependency(network, example, verbose=False)
    module = network.get_submodule(layer)
    pruner = graph.get_pruner_of_module(module)
    names = {module: name for name, module in network.named_modules()}
    found: Places = {}
    for item in graph.get_pruning_group(module, pruner.prune_out_channels, [channel]):
        target = item.dep.target.module
        if isinstance(target, nn.Module) and target in names:
            own = graph.get_pruner_of_module(target)
            way = "out" if item.dep.handler == own.prune_out_channels else "in"
            found.setdefault((names[target], way), set()).update(map(int, item.idxs))
    return found


def ours(case: Case, gate: int) -> Places:
    """What goes when one gate is closed."""
    found: Places = {}
    for axis in case.structure.axes:
        places = (axis.gates == gate).nonzero().flatten().tolist()
        if places:
            found.setdefault((axis.layer, "out"), set()).update(places)
    for reader in case.structure.readers:
        places = (reader.arriving == gate).nonzero().flatten().tolist()
        if places:
            found.setdefault((reader.layer, "in"), set()).update(places)
    return found


@pytest.mark.parametrize("name", RIGHT)
def test_the_same_goes_with_a_channel(name: str) -> None:
    case = make_case(name)
    compared = 0
    for group, place in zip(case.structure.groups, case.structure.slices().values(), strict=True):
        if group.kind != "channels":
            continue
        for channel in (0, group.size - 1):
            expected = theirs(case.copy(), case.example, group.name, channel)
            found = ours(case, place.start + channel)
            assert found == expected
            compared += len(expected)
    assert compared > 4
