"""Bypasses: skips that fit, sections by the names of the layers, and what cannot have one."""

import pytest
import torch
from torch import nn

from bayesprune.errors import InputShapeError, NetworkError, SettingError, UnknownNameError, UnsupportedLayerError
from bayesprune.models import MLP, Conv4, LeNet5, LeNet300
from bayesprune.sections.bypass import Bypassed, with_bypasses
from bayesprune.sections.find import find_sections
from tests.bayesprune.sections.networks import SmallResNet

IMAGES = torch.randn(2, 1, 28, 28, generator=torch.Generator().manual_seed(0))


def sections(network: nn.Module) -> list[str]:
    return [one.name.removesuffix(".section") for one in find_sections(network, IMAGES).sections]


def test_convolutions_and_equal_widths_get_bypasses() -> None:
    assert sections(with_bypasses(LeNet5(), IMAGES)) == ["conv1", "conv2"]
    assert sections(with_bypasses(MLP((30, 30, 20)), IMAGES)) == ["fc2"]
    conv4 = with_bypasses(Conv4(input_shape=(1, 28, 28)), IMAGES)
    assert sections(conv4) == ["conv1", "conv2", "conv3", "conv4", "fc2"]
    assert isinstance(conv4.get_submodule("conv2.skip"), nn.Identity)


def test_the_network_given_stays_and_the_copy_says_the_sum_of_both() -> None:
    network = LeNet5()
    bypassed = with_bypasses(network, IMAGES)
    assert not any(isinstance(module, Bypassed) for module in network.modules())
    conv = bypassed.get_submodule("conv1")
    pooled = nn.functional.avg_pool2d(IMAGES, 5, 1)
    skip = nn.functional.conv2d(pooled, bypassed.get_parameter("conv1.skip.1.weight"))
    torch.testing.assert_close(conv(IMAGES), network.conv1(IMAGES) + skip)


def test_a_stack_takes_normalisation_and_activation_along() -> None:
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(4, 4, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 49, 10),
    )  # fmt: skip
    bypassed = with_bypasses(network, IMAGES)
    assert sections(bypassed) == ["0", "4"]
    first, second = bypassed.get_submodule("0.branch"), bypassed.get_submodule("4.skip")
    assert [type(layer) for layer in first.children()] == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU]
    assert isinstance(second, nn.AvgPool2d) and second.stride == (2, 2)
    assert bypassed.eval()(IMAGES).shape == (2, 10)


def test_named_sections_get_theirs_whatever_it_costs() -> None:
    bypassed = with_bypasses(LeNet300(), IMAGES, ["fc2"])
    assert sections(bypassed) == ["fc2"] and bypassed.get_parameter("fc2.skip.weight").shape == (100, 300)


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (nn.Conv2d(1, 3, 3, dilation=2), "section '0' cannot have a bypass: its Conv2d has dilation"),
        (nn.Conv2d(1, 3, 3, padding=2, padding_mode="circular"), "section '0' .* padding of another kind"),
        (nn.ConvTranspose2d(1, 3, 3), "section '0' cannot have a bypass: its ConvTranspose2d"),
        (nn.Flatten(), "section '0' cannot have a bypass: it turns inputs of 4 axes into 2"),
        (nn.Conv2d(1, 3, 1, padding=1), "section '0' cannot have a bypass"),
    ],
    ids=str,
)
def test_a_skip_that_cannot_be_made_is_refused_by_name(layer: nn.Module, reason: str) -> None:
    network = nn.Sequential(layer, nn.Flatten(), nn.LazyLinear(3))
    network(IMAGES)
    with pytest.raises(UnsupportedLayerError, match=reason) as caught:
        with_bypasses(network, IMAGES, ["0"])
    assert "\n" not in str(caught.value)


def test_what_cannot_be_done_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="unknown section 'fc9': did you mean"):
        with_bypasses(LeNet300(), IMAGES, ["fc9"])
    with pytest.raises(SettingError, match=r"a list of names, such as \['fc2'\]"):
        with_bypasses(LeNet300(), IMAGES, "fc2")
    with pytest.raises(NetworkError, match=r"less than half .* such as sections=\['fc2'\]"):
        with_bypasses(LeNet300(), IMAGES)
    with pytest.raises(InputShapeError, match="cannot take inputs of shape"):
        with_bypasses(LeNet300(), IMAGES[:, :, :5])


def test_sections_that_are_there_stay_as_they_are() -> None:
    bypassed = with_bypasses(SmallResNet(6), torch.randn(2, 1, 6, 6))
    names = [name for name, module in bypassed.named_modules() if isinstance(module, Bypassed)]
    assert names == ["conv"]
