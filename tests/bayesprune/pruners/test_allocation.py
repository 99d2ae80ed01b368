"""How what is kept is spread over layers, against thresholds and shares found by hand."""

from math import isclose

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from bayesprune.errors import BudgetError, SettingError, UnknownNameError
from bayesprune.pruners.allocation import ALLOCATIONS, Layers, allocation, cut, kept_count

WEIGHTS = {
    "0.weight": torch.tensor([[0.9, -0.8, 0.1], [-0.2, 0.3, 0.05]]),
    "1.weight": torch.tensor([[-4.0, 2.0], [1.0, 0.5]]),
}


def magnitudes(weights: dict[str, Tensor]) -> Layers:
    return Layers({name: weight.abs() for name, weight in weights.items()}, weights)


def masks_of(name: str, count: int, weights: dict[str, Tensor] = WEIGHTS) -> dict[str, Tensor]:
    return cut(ALLOCATIONS[name](magnitudes(weights)), count)


def kept(masks: dict[str, Tensor]) -> dict[str, list[float]]:
    """The weights that stay, by layer."""
    return {name: WEIGHTS[name][mask.bool()].tolist() for name, mask in masks.items()}


def counts(masks: dict[str, Tensor]) -> list[int]:
    return [int(mask.sum()) for mask in masks.values()]


def approximately(expected: dict[str, list[float]]) -> dict[str, object]:
    return {name: pytest.approx(values) for name, values in expected.items()}


def test_class_blind_has_one_threshold() -> None:
    # The six largest of ten are 4, 2, 1, 0.9, 0.8, 0.5: the threshold lies between 0.5 and 0.3.
    expected = {"0.weight": [0.9, -0.8], "1.weight": [-4.0, 2.0, 1.0, 0.5]}
    assert kept(masks_of("class-blind", 6)) == approximately(expected)


def test_class_uniform_has_the_same_density_in_each_layer() -> None:
    expected = {"0.weight": [0.9, -0.8, 0.3], "1.weight": [-4.0, 2.0]}
    assert kept(masks_of("class-uniform", 5)) == approximately(expected)


def test_class_distributed_has_thresholds_in_proportion_to_deviations() -> None:
    # Deviations about the mean: of the first layer 0.51, of the second 2.30. In units of them the weights are
    # 1.76, 1.56, 0.59, 0.39, 0.20, 0.10 and 1.74, 0.87, 0.43, 0.22: of the five largest three are the first's.
    first, second = (weight.flatten() for weight in WEIGHTS.values())
    deviations = [float(((w - w.mean()) ** 2).mean().sqrt()) for w in (first, second)]
    assert deviations == pytest.approx([0.5119, 2.3015], abs=1e-4)
    masks = masks_of("class-distributed", 5)
    assert kept(masks) == approximately({"0.weight": [0.9, -0.8, 0.3], "1.weight": [-4.0, 2.0]})
    # One factor for both layers gives the same masks as thresholds.
    factor = 0.5
    for (name, weight), deviation in zip(WEIGHTS.items(), deviations, strict=True):
        assert torch.equal(masks[name].bool(), weight.abs() > factor * deviation)


def test_class_distributed_uses_the_deviation_about_the_mean() -> None:
    # All weights near 5: their root mean square is 5, their deviation 0.1, that of the others 10.
    weights = {"0": torch.tensor([[4.9, 5.1, 4.9, 5.1]]), "1": torch.tensor([[-10.0, 10.0, 10.0, -10.0]])}
    preferences = ALLOCATIONS["class-distributed"](magnitudes(weights))
    torch.testing.assert_close(preferences["0"], weights["0"] / 0.1)
    torch.testing.assert_close(preferences["1"], torch.ones(1, 4))
    assert counts(cut(preferences, 5)) == [4, 1]


def test_class_distributed_counts_pruned_weights_as_zeros() -> None:
    # With two zeros the deviation of (2, -2, 0, 0) is sqrt(2); without them it would be 2.
    weights = {"0": torch.tensor([2.0, -2.0, 0.0, 0.0]), "1": torch.tensor([1.0, -1.0, 1.0, -1.0])}
    layers = magnitudes(weights)
    gone = layers.scores["0"].masked_fill(weights["0"] == 0, float("-inf"))
    preferences = ALLOCATIONS["class-distributed"](Layers({"0": gone, "1": layers.scores["1"]}, weights))
    assert preferences["0"].tolist() == [pytest.approx(2**0.5)] * 2 + [float("-inf")] * 2


def test_a_layer_of_equal_weights_is_no_trouble() -> None:
    preferences = ALLOCATIONS["class-distributed"](magnitudes({"weight": torch.full((1, 3), 0.5)}))
    assert bool(torch.isfinite(preferences["weight"]).all())


def test_erdos_renyi_by_hand() -> None:
    # (10 + 40) / 400 = 0.125 and (10 + 10) / 100 = 0.2: expected 400 x 0.125 t = 50 t and 100 x 0.2 t = 20 t weights.
    torch.manual_seed(0)
    weights = {"0": torch.randn(10, 40), "1": torch.randn(10, 10)}
    assert counts(masks_of("erdos-renyi", 70, weights)) == [50, 20]
    assert counts(masks_of("erdos-renyi", 210, weights)) == [150, 60]
    # At 450 the second layer is full (100 < 20 x 9), and the first has what is left.
    assert counts(masks_of("erdos-renyi", 450, weights)) == [350, 100]


def test_erdos_renyi_with_the_kernel() -> None:
    # Sums over products: (4 + 2 + 3 + 3) / 72 = 1/6 and (5 + 4) / 20 = 9/20, so 12 t and 9 t weights; without the
    # kernel (4 + 2) / 8 = 3/4 of 72 and 9/20 of 20, so 54 t and 9 t.
    torch.manual_seed(0)
    weights = {"0": torch.randn(4, 2, 3, 3), "1": torch.randn(5, 4)}
    assert counts(masks_of("erdos-renyi-kernel", 21, weights)) == [12, 9]
    assert counts(masks_of("erdos-renyi", 63, weights)) == [54, 9]


def test_explicit_densities_are_met() -> None:
    # Half of six and a quarter of four.
    for shares in ({"0": 0.5, "1": 0.25}, {"0.weight": 0.5, "1.weight": 0.25}):
        masks = cut(allocation(shares)(magnitudes(WEIGHTS)), 4)
        assert kept(masks) == approximately({"0.weight": [0.9, -0.8, 0.3], "1.weight": [-4.0]})


def test_explicit_shares_that_cannot_be() -> None:
    layers = magnitudes(WEIGHTS)
    with pytest.raises(UnknownNameError, match="unknown layer '2'"):
        allocation({"0": 0.5, "2": 0.5})(layers)
    with pytest.raises(SettingError, match="shares for all layers: 1 has none"):
        allocation({"0": 0.5})(layers)
    for share in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(SettingError, match="share of layer '0' must be a finite number > 0"):
            allocation({"0": share})
    with pytest.raises(UnknownNameError, match="unknown allocation 'class-blnd': did you mean 'class-blind'"):
        allocation("class-blnd")


SHAPES = st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=4)


@given(SHAPES, st.sampled_from(sorted(ALLOCATIONS)), st.floats(0, 1), st.integers(0, 99), st.booleans())
def test_the_count_is_exact_and_least_is_kept(
    shapes: list[tuple[int, int]], name: str, share: float, seed: int, ties: bool
) -> None:
    generator = torch.Generator().manual_seed(seed)
    weights = {str(n): torch.randn(shape, generator=generator) for n, shape in enumerate(shapes)}
    if ties:
        weights = {layer: weight.round() for layer, weight in weights.items()}
    total, least = sum(weight.numel() for weight in weights.values()), min(2, min(w.numel() for w in weights.values()))
    low = sum(min(least, weight.numel()) for weight in weights.values())
    count = low + round(share * (total - low))
    masks = cut(ALLOCATIONS[name](magnitudes(weights)), count, least=least)
    assert sum(counts(masks)) == count
    assert all(bool(((mask == 0) | (mask == 1)).all()) and mask.dtype == torch.float32 for mask in masks.values())
    assert all(n >= min(least, weight.numel()) for n, weight in zip(counts(masks), weights.values(), strict=True))
    # Within a layer the larger weights stay.
    for layer, mask in masks.items():
        inside, outside = weights[layer].abs()[mask == 1], weights[layer].abs()[mask == 0]
        assert not len(outside) or float(inside.min()) >= float(outside.max())


@given(SHAPES, st.floats(0.05, 1), st.integers(0, 99))
def test_class_uniform_is_uniform_up_to_rounding(shapes: list[tuple[int, int]], share: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    weights = {str(n): torch.randn(shape, generator=generator) for n, shape in enumerate(shapes)}
    total = sum(weight.numel() for weight in weights.values())
    count = max(len(weights), round(share * total))
    masks = cut(ALLOCATIONS["class-uniform"](magnitudes(weights)), count, least=1)
    if all(count * weight.numel() >= total for weight in weights.values()):  # otherwise `least` takes from others
        for n, weight in zip(counts(masks), weights.values(), strict=True):
            # One threshold rounds every layer by at most a half; it is set by the total, which all of them round.
            rounding = 0.5 + 0.5 * len(weights) * weight.numel() / total
            assert abs(n - count / total * weight.numel()) <= rounding + 1e-9 or isclose(n, 1)


def test_ties_go_to_what_comes_first() -> None:
    masks = cut({"a": torch.ones(2, 3), "b": torch.ones(4)}, 7)
    assert masks["a"].tolist() == [[1, 1, 1], [1, 1, 1]] and masks["b"].tolist() == [1, 0, 0, 0]
    same = cut({"a": torch.tensor([1.0, 2.0, 1.0, 1.0])}, 2)
    assert same["a"].tolist() == [1, 1, 0, 0]


def test_what_is_gone_stays_gone() -> None:
    gone = torch.tensor([float("-inf"), 0.1, 0.2, float("-inf")])
    for name in ("class-blind", "class-uniform", "class-distributed"):
        layers = Layers({"a": gone, "b": torch.rand(4)}, {"a": torch.rand(4), "b": torch.rand(4)})
        masks = cut(ALLOCATIONS[name](layers), 6)
        assert masks["a"].tolist() == [0, 1, 1, 0] and counts(masks) == [2, 4]
        with pytest.raises(BudgetError, match="7 weights cannot be kept: 6 of 8 are left, .* from 0.125 to 0.75"):
            cut(ALLOCATIONS[name](layers), 7)


def test_a_layer_that_would_be_emptied_is_named() -> None:
    preferences = {"fc1.weight": torch.tensor([5.0, 4.0, 3.0]), "fc2.weight": torch.tensor([1.0, 2.0])}
    with pytest.raises(BudgetError, match=r"keeping 3 of 5 weights would leave layer 'fc2' with none: .*least=1"):
        cut(preferences, 3)
    masks = cut(preferences, 3, least=1)
    assert masks["fc1.weight"].tolist() == [1, 1, 0] and masks["fc2.weight"].tolist() == [0, 1]
    with pytest.raises(BudgetError, match="1 weights cannot be kept: .* at least 2 must stay"):
        cut(preferences, 1, least=1)


@pytest.mark.parametrize("density", [0.0, -0.1, 1.1, float("nan")])
def test_a_density_that_is_none_is_refused(density: float) -> None:
    with pytest.raises(BudgetError, match="density must be > 0 and <= 1"):
        kept_count(density, 100)


def test_a_density_that_keeps_nothing_is_refused() -> None:
    assert kept_count(0.0051, 100) == 1 and kept_count(1.0, 100) == kept_count(1, 100) == 100
    with pytest.raises(BudgetError, match="density 0.001 of 100 weights keeps none: give at least 0.01"):
        kept_count(0.001, 100)
