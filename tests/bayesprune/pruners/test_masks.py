"""How a density is spread over layers, against thresholds found by hand."""

import pytest
import torch
from torch import Tensor, nn

from bayesprune.errors import BudgetError
from bayesprune.models import LeNet300
from bayesprune.pruners.masks import class_blind, class_uniform, kept_count
from bayesprune.pruners.scores import magnitude, random_scores, relative_magnitude, weights_of

WEIGHTS = {
    "0.weight": torch.tensor([[0.9, -0.8, 0.1], [-0.2, 0.3, 0.05]]),
    "1.weight": torch.tensor([[-4.0, 2.0], [1.0, 0.5]]),
}


@pytest.fixture
def network() -> nn.Module:
    """Two layers whose weights are WEIGHTS; the second one's are larger."""
    layers = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))
    layers.load_state_dict({**WEIGHTS, "0.bias": torch.full((2,), 9.0), "1.bias": torch.full((2,), 9.0)})
    return layers


def kept(masks: dict[str, Tensor]) -> dict[str, list[float]]:
    """The weights that stay, by layer."""
    return {name: WEIGHTS[name][mask.bool()].tolist() for name, mask in masks.items()}


def approximately(expected: dict[str, list[float]]) -> dict[str, object]:
    return {name: pytest.approx(values) for name, values in expected.items()}


def test_class_blind_has_one_threshold(network: nn.Module) -> None:
    # The six largest of ten are 4, 2, 1, 0.9, 0.8, 0.5: the threshold lies between 0.5 and 0.3.
    expected = {"0.weight": [0.9, -0.8], "1.weight": [-4.0, 2.0, 1.0, 0.5]}
    assert kept(class_blind(magnitude(network), 0.6)) == approximately(expected)


def test_class_uniform_has_the_same_density_in_each_layer(network: nn.Module) -> None:
    expected = {"0.weight": [0.9, -0.8, 0.3], "1.weight": [-4.0, 2.0]}
    assert kept(class_uniform(magnitude(network), 0.5)) == approximately(expected)


def test_class_distributed_has_thresholds_in_proportion_to_deviations(network: nn.Module) -> None:
    # Deviations about the mean: of the first layer 0.51, of the second 2.30. In units of them the weights are
    # 1.76, 1.56, 0.59, 0.39, 0.20, 0.10 and 1.74, 0.87, 0.43, 0.22: of the five largest three are the first's.
    first, second = (weight.flatten() for weight in WEIGHTS.values())
    deviations = [float(((w - w.mean()) ** 2).mean().sqrt()) for w in (first, second)]
    assert deviations == pytest.approx([0.5119, 2.3015], abs=1e-4)
    masks = class_blind(relative_magnitude(network), 0.5)
    expected = {"0.weight": [0.9, -0.8, 0.3], "1.weight": [-4.0, 2.0]}
    assert kept(masks) == approximately(expected)
    # One factor for both layers gives the same masks as thresholds.
    factor = 0.5
    for (name, weight), deviation in zip(WEIGHTS.items(), deviations, strict=True):
        assert torch.equal(masks[name].bool(), weight.abs() > factor * deviation)


def test_class_distributed_uses_the_deviation_about_the_mean() -> None:
    # All weights near 5: their root mean square is 5, their deviation 0.1.
    network = nn.Sequential(nn.Linear(4, 1), nn.Linear(4, 1))
    shifted, plain = torch.tensor([[4.9, 5.1, 4.9, 5.1]]), torch.tensor([[-10.0, 10.0, 10.0, -10.0]])
    bias = torch.zeros(1)
    network.load_state_dict({"0.weight": shifted, "1.weight": plain, "0.bias": bias, "1.bias": bias})
    scores = relative_magnitude(network)
    torch.testing.assert_close(scores["0.weight"], shifted / 0.1)
    torch.testing.assert_close(scores["1.weight"], torch.ones(1, 4))
    masks = class_blind(scores, 0.5)
    assert masks["0.weight"].sum() == 4 and masks["1.weight"].sum() == 0


def test_a_layer_of_equal_weights_is_no_trouble() -> None:
    network = nn.Linear(3, 1)
    network.load_state_dict({"weight": torch.full((1, 3), 0.5), "bias": torch.zeros(1)})
    assert bool(torch.isfinite(relative_magnitude(network)["weight"]).all())


@pytest.mark.parametrize("density", [0.001, 0.1, 1 / 3, 0.9, 1.0])
def test_exactly_the_rounded_number_stays(density: float) -> None:
    network = LeNet300((30, 10), (1, 6, 6), 3)
    sizes = {"fc1.weight": 1080, "fc2.weight": 300, "fc3.weight": 30}
    for scores in (magnitude(network), relative_magnitude(network), random_scores(network)):
        masks = class_blind(scores, density)
        assert sum(float(mask.sum()) for mask in masks.values()) == round(density * 1410)
        assert all(bool(((mask == 0) | (mask == 1)).all()) for mask in masks.values())
    uniform = {name: float(mask.sum()) for name, mask in class_uniform(magnitude(network), density).items()}
    assert uniform == {name: max(1, round(density * size)) for name, size in sizes.items()}


def test_ties_are_broken_and_not_kept_together() -> None:
    masks = class_blind({"weight": torch.ones(4, 5)}, 0.35)
    assert masks["weight"].sum() == 7


def test_only_weights_of_linear_layers_and_convolutions_are_scored() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.PReLU(2), nn.Linear(4, 3))
    assert list(weights_of(network)) == ["0.weight", "3.weight"]
    assert list(weights_of(nn.Linear(2, 2))) == ["weight"]
    assert all(score.min() >= 0 and score.max() < 1 for score in random_scores(network).values())


@pytest.mark.parametrize("density", [0.0, -0.1, 1.1, float("nan")])
def test_a_density_that_is_none_is_refused(density: float) -> None:
    with pytest.raises(BudgetError, match="density must be > 0 and <= 1"):
        kept_count(density, 100)


def test_a_density_that_keeps_nothing_is_refused() -> None:
    assert kept_count(0.0051, 100) == 1
    for distribution in (class_blind, class_uniform):
        with pytest.raises(BudgetError, match="density 0.001 of 100 weights keeps none: give at least 0.01"):
            distribution({"weight": torch.rand(10, 10)}, 0.001)
