"""What the benchmark of evidence compares: the same numbers, got in two ways, on networks of the size it names."""

import torch

from bayesprune.data import from_tensors
from benchmarks.evidence import cases, compacted, measure


def test_both_ways_come_to_the_same_and_the_sizes_are_as_named() -> None:
    data = from_tensors(torch.rand(40, 1, 28, 28), torch.arange(40) % 10, classes=10)
    for case, (least, most) in zip(cases(), ((300, 300), (160, 180)), strict=True):
        cells = [cell.strip() for cell in measure(case, data, 10).strip("|").split("|")]
        assert cells[0] == case.name and least <= int(cells[1]) <= most
        assert float(cells[4]) > 0 and float(cells[5]) < 1e-5


def test_the_units_that_are_left() -> None:
    case = cases()[1]
    structure = compacted(case, torch.zeros(2, 1, 28, 28))
    left = {group.name: len(group.kept) for group in structure.groups}
    assert (left["conv1"], left["fc1"]) == (6, 51) and left["fc1.inputs"] <= 100
