"""What the benchmark of predictions compares: the same examples on both sides, and draws as it names them."""

import torch

from bayesprune.data import Data, from_tensors
from benchmarks.predictive import gates_of, measure, plain, subject


def data() -> Data:
    return from_tensors(torch.rand(60, 1, 28, 28), torch.arange(60) % 10, classes=10)


def test_both_sides_take_every_draw_and_every_example() -> None:
    chosen, seen = subject(data()), list[int]()
    handle = chosen.network.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    examples = len(chosen.data.test)
    plain(chosen, 4, examples)
    assert sum(seen) == 4 * examples
    seen.clear()
    ratios = measure(chosen, 4, examples, chosen.structure.gate_count)
    assert sum(seen) == 3 * 4 * examples and len(ratios) == 2 and min(ratios) > 0  # all four draws differ
    handle.remove()


def test_few_uncertain_gates_leave_few_different_draws() -> None:
    chosen = subject(data())
    few, all_of_them = gates_of(chosen, 200, 3)[0], gates_of(chosen, 200, chosen.structure.gate_count)[0]
    assert len(few.unique(dim=0)) <= 8 < len(all_of_them.unique(dim=0)) == 200
    assert int((few == 0).any(0).sum()) == 3
