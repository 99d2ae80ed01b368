"""Which weights a student keeps: exact counts, the authors' rounding, and that what was masked may come back."""

from collections.abc import Mapping

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from bayesprune.data import Data
from bayesprune.errors import BudgetError, SettingError, UnknownNameError
from bayesprune.models import LeNet5, LeNet300
from bayesprune.run.running import initial_state
from bayesprune.run.settings import RunSettings
from bayesprune.structure import weights_of
from bayesprune.tangent.masks import CHOICES, choice, globally, layerwise, released
from bayesprune.tangent.method import NeuralTangentTransfer
from bayesprune.tangent.objective import Student
from bayesprune.training import Phase, TrainState
from bayesprune.training.initial import glorot


def magnitudes(network: nn.Module) -> dict[str, Tensor]:
    torch.manual_seed(0)
    glorot(network)
    return {name: weight.detach().abs() for name, weight in weights_of(network).items()}


def counts(masks: Mapping[str, Tensor]) -> list[int]:
    assert all(bool(((mask == 0) | (mask == 1)).all()) for mask in masks.values())
    return [int(mask.sum()) for mask in masks.values()]


@pytest.mark.parametrize(
    ("network", "layers", "authors"),
    [
        (LeNet300(), [7056, 900, 30], [7055, 899, 29]),  # 7,983 in their logs
        (LeNet5(), [15, 750, 12_000, 150], [14, 749, 11_999, 149]),  # 12,911
    ],
)
def test_three_per_cent_of_the_authors_networks(network: nn.Module, layers: list[int], authors: list[int]) -> None:
    scores = magnitudes(network)
    assert counts(released(scores, 0.03)) == authors and sum(authors) in (7_983, 12_911)
    assert counts(layerwise(scores, 0.03)) == layers
    total = sum(score.numel() for score in scores.values())
    pooled = globally(scores, 0.2)  # at 3 % it would leave LeNet-5's second convolution empty
    assert sum(counts(pooled)) == round(0.2 * total) and counts(pooled) != counts(layerwise(scores, 0.2))
    for masks in (released(scores, 0.03), layerwise(scores, 0.03), pooled):
        for name, mask in masks.items():  # the largest of each layer
            assert float(scores[name][mask == 1].min()) > float(scores[name][mask == 0].max())


@st.composite
def layers(draw: st.DrawFn) -> dict[str, Tensor]:
    """Distinct scores of one to four layers."""
    sizes = draw(st.lists(st.integers(1, 60), min_size=1, max_size=4))
    order = torch.tensor(draw(st.permutations(range(sum(sizes))))).double()
    return {f"{number}.weight": part for number, part in enumerate(order.split(sizes))}


@given(layers(), st.floats(0.001, 1.0))
def test_counts_are_exact(scores: dict[str, Tensor], density: float) -> None:
    total = sum(score.numel() for score in scores.values())
    asked = round(density * total)
    values = torch.cat(list(scores.values()))
    try:
        masks = globally(scores, density)
        assert sum(counts(masks)) == asked
        kept = torch.cat(list(masks.values())) == 1
        assert set(values[kept].tolist()) == set(range(total - asked, total))
    except BudgetError:
        largest = [float(score.max()) for score in scores.values()]
        assert asked < 1 or min(largest) < total - asked  # a layer has none among the largest
    try:
        masks = layerwise(scores, density)
    except BudgetError:
        assert density * min(score.numel() for score in scores.values()) < 1.5 or asked < 1
        return
    assert sum(counts(masks)) == asked
    # One share t of every layer, rounded: (c - 1/2) / n <= t <= (c + 1/2) / n with the same t for all.
    pairs = [(count, score.numel()) for count, score in zip(counts(masks), scores.values(), strict=True)]
    assert max((count - 0.5) / size for count, size in pairs) <= min(
        (count + 0.5) / size if count < size else float("inf") for count, size in pairs
    )  # fmt: skip
    for name, mask in masks.items():
        assert set(scores[name][mask == 1].tolist()) == set(scores[name].sort().values[-int(mask.sum()) :].tolist())


@given(layers(), st.floats(0.001, 1.0))
def test_the_authors_rounding(scores: dict[str, Tensor], density: float) -> None:
    expected = [score.numel() - int((1 - density) * score.numel()) - 1 for score in scores.values()]
    if min(expected) < 1:
        empty = expected.index(0)
        with pytest.raises(BudgetError, match=f"density .* would leave layer '{empty}' with no weight: keep more"):
            released(scores, density)
    else:
        assert counts(released(scores, density)) == expected


@pytest.mark.parametrize("choice", CHOICES)
def test_a_layer_that_would_be_emptied_is_named(choice: str) -> None:
    scores = {"wide.weight": torch.arange(100.0) + 10, "narrow.weight": torch.arange(8.0)}
    with pytest.raises(BudgetError, match="layer 'narrow' with no.*: keep more"):
        CHOICES[choice](scores, 0.03, 0)
    masks = CHOICES[choice](scores, 0.03, 1)
    assert masks["narrow.weight"].nonzero().flatten().tolist() == [7]


def test_every_layer_may_have_a_share_of_its_own() -> None:
    scores = {"one.weight": torch.arange(100.0), "two.weight": torch.arange(50.0)}
    masks = choice({"one": 0.1, "two": 0.4})(scores, 0.2, 0)
    assert counts(masks) == [10, 20]
    assert masks["two.weight"].nonzero().flatten().tolist() == list(range(30, 50))
    with pytest.raises(SettingError, match="share of layer 'one' must be a finite number > 0"):
        choice({"one": 0.0})
    with pytest.raises(UnknownNameError, match="unknown masks 'layrwise': did you mean 'layerwise'"):
        choice("layrwise")


def begun(data: Data, density: float = 0.3, **options: object) -> tuple[TrainState, Phase]:
    chosen = RunSettings(
        "ntt", epochs=1, batch_size=50, density=density, options={"steps": 20, "every": 4, "initial": "own", **options}
    )  # fmt: skip
    state = initial_state(LeNet300((12, 8), (1, 6, 6), 3), data, chosen)
    phase = NeuralTangentTransfer().plan(state, data, chosen).phases[0]
    assert phase.start is not None
    phase.start(state)
    return state, phase


@pytest.mark.parametrize(("steps", "every", "expected"), [(20, 4, [4, 8, 12]), (10, 4, [4]), (8, 4, []), (3, 1, [1])])
def test_masks_are_chosen_anew_every_so_many_steps_but_for_the_last(
    steps: int, every: int, expected: list[int], small_data: Data
) -> None:
    state, phase = begun(small_data, steps=steps, every=every)
    (update,) = phase.updates
    chosen = []
    for step in range(1, steps + 1):
        state.phase_step = step
        before = state.memory(Student).masks
        update(state)
        if state.memory(Student).masks is not before:
            chosen.append(step)
    assert chosen == expected


def test_masked_weights_come_back(small_data: Data) -> None:
    state, phase = begun(small_data)
    weight, before = state.network.get_parameter("fc1.weight"), state.memory(Student).masks["fc1.weight"]
    assert int(before.sum()) == round(0.3 * 432)
    gone = before.flatten().argmin()
    assert float(weight.flatten()[gone].detach()) != 0  # masked weights keep their values
    with torch.no_grad():
        weight.view(-1)[gone] = 5.0
    state.phase_step = 4
    phase.updates[0](state)
    after = state.memory(Student).masks["fc1.weight"]
    smallest = torch.where(before.bool(), weight.detach().abs(), torch.inf).argmin()
    assert int(after.view(-1)[gone]) == 1 and int(after.view(-1)[smallest]) == 0
    assert int((before != after).sum()) == 2 and float(weight.flatten()[smallest].detach()) != 0


def test_first_masks_may_be_chosen_by_the_logits_slopes(small_data: Data) -> None:
    (plain, _), (state, phase) = begun(small_data), begun(small_data, first="logit-snip")
    assert counts(plain.memory(Student).masks) == counts(state.memory(Student).masks)
    assert not torch.equal(plain.memory(Student).masks["fc1.weight"], state.memory(Student).masks["fc1.weight"])
    state.phase_step = 4
    phase.updates[0](state)  # later ones go by magnitude alone
    for name, mask in state.memory(Student).masks.items():
        sizes = state.network.get_parameter(name).detach().abs()
        assert float(sizes[mask == 1].min()) > float(sizes[mask == 0].max())
