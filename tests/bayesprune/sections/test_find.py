"""Which sections are found, and what is said of sums that are none."""

import pytest
import torch
from torch import Tensor, nn

from bayesprune.data.torchvision_guard import import_torchvision
from bayesprune.errors import NetworkError
from bayesprune.sections.find import find_sections, with_sections
from bayesprune.structure import Structure
from tests.bayesprune.sections.networks import Inner, Nested, Residual, Scaled, SmallResNet, stirred

IMAGES = torch.randn(2, 1, 6, 6, generator=torch.Generator().manual_seed(0))


def names(network: nn.Module, **given: object) -> list[str]:
    return [one.name.removesuffix(".section") for one in find_sections(network, IMAGES, **given).sections]  # type: ignore[arg-type]  # as given


def test_blocks_and_sums_in_the_forward_of_the_network_itself_are_found() -> None:
    assert names(Residual()) == ["blocks.0", "blocks.1", "blocks.2"]
    assert names(SmallResNet()) == ["blocks.0", "blocks.1", "blocks.2"]
    assert names(Nested()) == ["inner", "inner.second"]
    assert names(nn.Sequential(nn.Flatten(), nn.Linear(36, 6), Inner())) == ["2"]


def test_the_branch_is_the_summand_with_more_layers_and_the_projection_stays() -> None:
    section = find_sections(SmallResNet(), IMAGES).sections[1]
    assert section.layers == tuple(f"blocks.1.{name}" for name in ("conv1", "bn1", "conv2", "bn2"))
    assert section.points == ("blocks.1.bn2",) and section.parameters == ()


def test_attention_and_a_scale_of_the_modules_own_go_with_the_branch() -> None:
    attention, mlp = find_sections(Scaled(), IMAGES).sections
    assert attention.layers == ("norm", "attention")
    assert mlp.parameters == ("scale",) and mlp.holds("", "scale") and not mlp.holds("", "other")
    assert attention.holds("attention.out_proj", "weight") and not attention.holds("attentions", "weight")


def test_what_is_kept_has_no_section() -> None:
    assert names(SmallResNet(), keep=["blocks.1"]) == ["blocks.0", "blocks.2"]
    assert names(SmallResNet(), keep=["blocks.1.conv1", "blocks.2"]) == ["blocks.0"]
    assert names(SmallResNet(), keep=["blocks"]) == []


@pytest.mark.long
@pytest.mark.parametrize(("name", "count"), [("resnet18", 8), ("mobilenet_v2", 10)])
def test_networks_of_torchvision(name: str, count: int) -> None:
    network = getattr(import_torchvision().models, name)(weights=None)
    found = find_sections(network, torch.randn(2, 3, 32, 32))
    assert len(found.sections) == count and not found.left
    if name == "resnet18":
        assert [one.name for one in found.sections[:2]] == ["layer1.0.section", "layer1.1.section"]
        assert all(one.points == (one.name.replace("section", "bn2"),) for one in found.sections)


class Tied(nn.Module):
    """Both summands are alike, so that neither is the skip."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other, self.head = nn.Linear(36, 4), nn.Linear(36, 4), nn.Linear(4, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        features = inputs.flatten(1)
        outputs: Tensor = self.head((self.one(features) + self.other(features)).relu())
        return outputs


class Squashed(Tied):
    """Its branch says 1/2 of nothing, after the last layer."""

    def forward(self, inputs: Tensor) -> Tensor:
        features = self.one(inputs.flatten(1))
        branch = torch.sigmoid(self.narrow(features))
        outputs: Tensor = self.head(features + branch)
        return outputs

    def __init__(self) -> None:
        super().__init__()
        self.narrow = nn.Linear(4, 4)


class Observed(Squashed):
    """Its branch is an output, too."""

    def forward(self, inputs: Tensor) -> Tensor:
        features = self.one(inputs.flatten(1))
        branch = self.narrow(features)
        return torch.cat([self.head(features + branch), branch], 1)


class Choosing(Squashed):
    """Its forward depends on values."""

    def forward(self, inputs: Tensor) -> Tensor:
        features = self.one(inputs.flatten(1))
        if features.sum() > 1e9:
            return features[:, :3]
        outputs: Tensor = self.head(features + self.narrow(features))
        return outputs


class Shared(Squashed):
    """Its branch runs a layer that is run before, too."""

    def forward(self, inputs: Tensor) -> Tensor:
        features = self.narrow(self.one(inputs.flatten(1)).relu())
        outputs: Tensor = self.head(features + self.narrow(features))
        return outputs


@pytest.mark.parametrize(
    ("network", "place", "reason"),
    [
        (Tied(), "add", "equally many layers"), (Squashed(), "add", "cannot be multiplied by a gate"),
        (Choosing(), "the network", "cannot be followed"), (Shared(), "add", "cannot be multiplied by a gate"),
    ],
)  # fmt: skip
def test_what_is_no_section_is_left_with_the_reason(network: nn.Module, place: str, reason: str) -> None:
    found = find_sections(network, IMAGES)
    assert found.sections == () and reason in found.left[place]


def test_a_branch_that_is_used_elsewhere_is_none() -> None:
    assert find_sections(Observed(), IMAGES).sections == ()


class Counting(nn.Module):
    """Says ones of zeros, in a module of its own at the end of the branch."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, features: Tensor) -> Tensor:
        outputs: Tensor = self.linear(features).exp()
        return outputs


def test_a_section_whose_deletion_would_change_the_function_is_left() -> None:
    network = Residual(4, 2)
    network.blocks[1] = Counting()
    found = find_sections(network, IMAGES)
    assert [one.name for one in found.sections] == ["blocks.0.section"]
    assert "not what it is with the gate closed" in found.left["blocks.1"]


def test_the_network_stays_as_it_was() -> None:
    network = stirred(SmallResNet())
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network.train()
    find_sections(network, IMAGES)
    assert network.training and all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not any(module._forward_hooks for module in network.modules())


def test_sections_get_gates_once() -> None:
    sections = find_sections(Residual(), IMAGES).sections
    structure = with_sections(Structure((), (), ()), sections)
    assert structure.kept() == {f"blocks.{number}.section": [0] for number in range(3)}
    with pytest.raises(NetworkError, match="found before"):
        with_sections(structure, sections)
