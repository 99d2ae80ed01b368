"""All that cannot be cut is said in one message, whose advice works."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune as masks

from bayesprune.errors import InputShapeError, NetworkError, UnsupportedLayerError
from bayesprune.structure import find

IMAGES = torch.randn(2, 1, 6, 6, generator=torch.Generator().manual_seed(0))
ROWS = torch.randn(3, 6, generator=torch.Generator().manual_seed(1))


def refusal(network: nn.Module, example: Tensor) -> UnsupportedLayerError:
    with pytest.raises(UnsupportedLayerError) as caught:
        find(network, example)
    return caught.value


class Mysterious(nn.Module):
    """Hangs on a number that is computed past torch."""

    def forward(self, features: Tensor) -> Tensor:
        return features * float(features.detach().numpy().mean())


class Blocks(nn.Module):
    """A residual network, in some of whose blocks there is something that is not understood."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(1, 8, 3, padding=1), nn.Linear(8, 3)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), Mysterious(), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1))
            for _ in range(3)
        )

    def forward(self, images: Tensor) -> Tensor:
        maps = self.stem(images).relu()
        for block in self.blocks:
            maps = maps + block(maps)
        logits: Tensor = self.head(maps.mean((2, 3)))
        return logits


def test_all_refusals_stand_in_one_message_whose_advice_works() -> None:
    said = refusal(Blocks(), IMAGES)
    assert set(said.keep) == {f"blocks.{n}.0" for n in range(3)}
    kept = find(Blocks(), IMAGES, keep=said.keep)
    assert {group.name: group.size for group in kept.groups} == {"stem": 8}
    assert said.left == 8 and "nothing is left" not in str(said)


def test_that_nothing_would_be_left_is_said_at_once() -> None:
    network = nn.Sequential(nn.Conv2d(1, 4, 1), Mysterious(), nn.Conv2d(4, 6, 1), Mysterious(), nn.Conv2d(6, 2, 1))
    said = refusal(network, IMAGES)
    assert set(said.keep) == {"0", "2"} and said.left == 0 and "then nothing is left" in str(said)
    assert find(network, IMAGES, keep=said.keep).gate_count == 0


def test_reasons_and_names_kept_before_stand_in_one_line() -> None:
    layers = [
        nn.Conv2d(1, 4, 1), nn.ReLU(), nn.Conv2d(4, 4, 1, groups=2), nn.ReLU(), nn.Conv2d(4, 6, 1),
        nn.LocalResponseNorm(3), nn.Conv2d(6, 8, 1), Mysterious(), nn.Conv2d(8, 6, 1), nn.Softmax(1),
        nn.Conv2d(6, 5, 1), nn.ReLU(), nn.Conv2d(5, 2, 1),
    ]  # fmt: skip
    with pytest.raises(UnsupportedLayerError) as caught:
        find(nn.Sequential(*layers), IMAGES, keep=["10"])
    assert caught.value.keep == ("10", "6") and "\n" not in str(caught.value) and "group '6'" in str(caught.value)
    assert "keep=['10', '6']" in str(caught.value) and caught.value.left == 2
    assert find(nn.Sequential(*layers), IMAGES, keep=caught.value.keep).slices() == {"0": slice(0, 2)}


def masked(layer: nn.Module) -> None:
    masks.l1_unstructured(layer, "weight", 0.5)


COMPUTED: dict[str, Callable[[nn.Module], Any]] = {
    "spectral norm": nn.utils.parametrizations.spectral_norm,
    "weight norm": nn.utils.parametrizations.weight_norm,
    "older spectral norm": nn.utils.spectral_norm,
    "older weight norm": nn.utils.weight_norm,
    "masks of torch": masked,
}


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
@pytest.mark.parametrize("name", COMPUTED)
def test_computed_weights_stay_whole(name: str) -> None:
    network = nn.Sequential(
        nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 5), nn.ReLU(), nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 2)
    )
    COMPUTED[name](network[2])
    network(ROWS)  # the older ones keep the weight of their last pass
    structure = find(network, ROWS)
    assert {g.name: g.size for g in structure.groups} == {"inputs": 6, "4": 4}
    assert structure.whole["2"] == "it has a weight that is computed from other parameters"
    assert "Linear '2', which has a weight that is computed" in structure.whole["0"]


class Noisy(nn.Module):
    """Noise or dropout in evaluation mode, too."""

    def __init__(self, noise: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.second, self.noise = nn.Linear(6, 8), nn.Linear(8, 2), noise

    def forward(self, rows: Tensor) -> Tensor:
        outputs: Tensor = self.second(self.noise(self.first(rows)).relu())
        return outputs


def test_no_layer_is_blamed_for_random_outputs() -> None:
    with pytest.raises(
        NetworkError, match=r"outputs are random in evaluation mode.*depend on self\.training"
    ) as caught:
        find(Noisy(lambda hidden: hidden + torch.randn_like(hidden)), ROWS)
    assert not isinstance(caught.value, UnsupportedLayerError)
    dropping = Noisy(lambda hidden: nn.functional.dropout(hidden, 0.5, training=True))
    state = torch.get_rng_state()
    structure = find(dropping, ROWS)
    assert structure.slices() == {"inputs": slice(0, 6), "first": slice(6, 14)}
    assert torch.equal(torch.get_rng_state(), state)


def test_an_example_that_is_no_tensor() -> None:
    with pytest.raises(
        InputShapeError, match="the example is a list; a tensor .* is needed, or a tuple or dict of such"
    ):
        find(nn.Linear(6, 2), [ROWS, ROWS])


class Embedded(nn.Module):
    """Reads token ids that arrive as floating-point numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.first, self.second = nn.Embedding(9, 4), nn.Linear(12, 5), nn.Linear(5, 2)

    def forward(self, tokens: Tensor) -> Tensor:
        outputs: Tensor = self.second(self.first(self.embed(tokens.long()).flatten(1)).relu())
        return outputs


@pytest.mark.parametrize("dtype", [torch.int64, torch.float32])
def test_token_ids_are_not_multiplied(dtype: torch.dtype) -> None:
    tokens = torch.tensor([[1, 8, 3], [0, 2, 8]]).to(dtype)
    assert find(Embedded(), tokens).slices() == {"embed": slice(0, 4), "first": slice(4, 9)}
