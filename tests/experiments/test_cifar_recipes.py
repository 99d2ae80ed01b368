"""What recipes for CIFAR-10 ask for, on narrow networks and random pictures: trained weights, statistics, sizes."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import bayesprune as bp
from bayesprune.data import Data, TensorSplit, from_tensors

SMALL: dict[str, Any] = {"batch_size": 12, "noise": 0.0, "optimizer": "sgd", "augment": "crop-flip"}
WIDTHS = {"vgg16": (4,) * 14, "resnet20": (4, 4, 8)}
NAMES = [pytest.param("vgg16", marks=pytest.mark.long), "resnet20"]


@pytest.fixture(scope="module")
def pictures() -> Data:
    """Three classes by their brightest channel."""
    generator = torch.Generator().manual_seed(0)

    def some(count: int) -> tuple[Tensor, Tensor]:
        labels = torch.arange(count) % 3
        made = torch.randint(120, (count, 3, 16, 16), generator=generator, dtype=torch.uint8)
        made[torch.arange(count), labels] += 100
        return made, labels

    return from_tensors(*some(60), validation=some(24), test=some(24))


def trained_weights(name: str, data: Data, place: Path) -> dict[str, Tensor]:
    """Weights of a dense run, also written to a file."""
    dense = bp.prune(name, data, "dense", epochs=1, widths=WIDTHS[name], **SMALL)
    weights = {key: value.clone() for key, value in dense.network.state_dict().items()}
    save_file(weights, place)
    return weights


@pytest.mark.parametrize("name", NAMES)
def test_a_run_begins_with_trained_weights(name: str, pictures: Data, tmp_path: Path) -> None:
    """Without an epoch they stay as they are; a wider network does not take them."""
    file = tmp_path / "dense.safetensors"
    weights = trained_weights(name, pictures, file)
    again = bp.prune(name, pictures, "dense", epochs=0, weights=str(file), widths=WIDTHS[name]).network.state_dict()
    assert all(torch.equal(value, again[key]) for key, value in weights.items())
    with pytest.raises(bp.SettingError, match="cannot be used"):
        bp.prune(name, pictures, "dense", epochs=0, weights=str(file))


@pytest.mark.parametrize("name", NAMES)
def test_a_pruned_network_has_statistics_of_unchanged_pictures_and_round_widths(
    name: str, pictures: Data, tmp_path: Path
) -> None:
    """From trained weights, pruned at once to half of the MACs, every group a multiple of two channels."""
    file = tmp_path / "dense.safetensors"
    trained_weights(name, pictures, file)
    pruned = bp.prune(
        name, pictures, "l1-units", epochs=1, widths=WIDTHS[name], weights=str(file), budget="macs=50%", round_to=2,
        prune_share=0.0, fixed_learning_rate=0.02, **SMALL,
    )  # fmt: skip
    whole = bp.prune(name, pictures, "dense", epochs=0, widths=WIDTHS[name]).evaluation.macs
    assert pruned.evaluation.macs <= 0.5 * whole
    assert all(len(kept) % 2 == 0 for kept in pruned.kept.values())
    network = pruned.network.eval()
    first, norm = next(
        (layer, norm) for layer, norm in zip(network.modules(), list(network.modules())[1:], strict=False)
        if isinstance(layer, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
    )  # fmt: skip
    assert isinstance(pictures.train, TensorSplit)
    with torch.no_grad():
        maps = [first(inputs) for inputs, _ in pictures.train.batches(12)]
    means = torch.stack([each.mean((0, 2, 3)) for each in maps]).mean(0)
    variances = torch.stack([each.var((0, 2, 3), unbiased=True) for each in maps]).mean(0)
    assert norm.running_mean is not None and norm.running_var is not None
    torch.testing.assert_close(norm.running_mean, means, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(norm.running_var, variances, rtol=1e-4, atol=1e-5)
