"""Groups, their names, order and numbering are those that runs saved by earlier versions name."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bayesprune.data.torchvision_guard import import_torchvision
from bayesprune.models.networks import MLP, Conv4
from bayesprune.structure import Structure, find
from tests.bayesprune.structure.conftest import ZOO, randomised
from tests.bayesprune.structure.test_random_networks import Drawn

FROZEN: dict[str, Any] = json.loads((Path(__file__).parent / "groups_before_labels.json").read_text())
"""What version 0.1 found by torch-pruning's dependency graph."""


def made(name: str) -> tuple[nn.Module, Tensor, dict[str, Any]]:
    """A network by its name in the record, an example and options."""
    if name in ZOO:
        make, shape, options = ZOO[name]
        torch.manual_seed(len(name))
        return randomised(make()), torch.randn(3, *shape), options
    if name.startswith("torchvision-"):
        network = getattr(import_torchvision().models, name.removeprefix("torchvision-"))(num_classes=10)
        return network, torch.randn(1, 3, 64, 64), {"check": False}
    if name.startswith("drawn-"):
        seed = int(name.removeprefix("drawn-"))
        torch.manual_seed(seed)
        drawn = Drawn(seed)
        options = {"flatten_inputs": seed % 2 == 0, "inputs": "all" if seed % 3 == 0 else "auto"}
        return randomised(drawn), torch.randn(3, drawn.channels[0], 5, 5), {**options, "check": False}
    if name == "conv4":
        return Conv4(), torch.randn(2, 3, 32, 32), {}
    return MLP((7, 6), (1, 2, 3), 3), torch.randn(2, 1, 2, 3), {}


def told(structure: Structure) -> tuple[list[list[Any]], str]:
    """The groups, and a digest of everything, gate for gate."""
    written = sorted([axis.layer, axis.tensor, axis.axis, axis.gates.tolist()] for axis in structure.axes)
    reads = []
    for reader in structure.readers:
        selection = None if reader.selection is None else reader.selection.tolist()
        reads.append([reader.layer, reader.weight_axis, reader.feature_axis, reader.arriving.tolist(), selection])
    groups = [[g.name, g.size, g.kind, list(g.producers), list(g.consumers)] for g in structure.groups]
    places = hashlib.sha256(json.dumps([written, sorted(reads)]).encode()).hexdigest()[:16]
    whole = {"groups": groups, "places": places}
    return [group[:3] for group in groups], hashlib.sha256(json.dumps(whole).encode()).hexdigest()[:16]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.long if "torchvision" in name else ()) for name in FROZEN]
)
def test_groups_are_those_of_earlier_versions(name: str) -> None:
    network, example, options = made(name)
    groups, digest = told(find(network, example, **options))
    expected = FROZEN[name]["groups"]
    assert (len(groups) if isinstance(expected, int) else groups) == expected
    assert digest == FROZEN[name]["all"]
