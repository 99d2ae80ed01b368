"""Other data beside a run's own: areas by scikit-learn and entropies by SciPy, from what `predict_proba` says."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import entropy
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import bayesprune as bp
from bayesprune.data import Data, from_tensors
from bayesprune.errors import DataError, SettingError, StoreError
from bayesprune.run.pruned import Pruned
from bayesprune.run.shift import OutOfDistribution


def data_of(task: str = "classification") -> Data:
    """Clusters far from 0, so that what is done to the inputs matters."""
    generator = torch.Generator().manual_seed(0)
    inputs = 5 * torch.randn(300, 4, generator=generator) + 20
    labels = (inputs[:, 0] > 20).long() + (inputs[:, 1] > 20).long()
    return from_tensors(inputs, labels if task == "classification" else (labels > 0).long(), task=task, seed=0)


def network(outputs: int) -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, outputs))


@pytest.fixture(scope="module")
def pruned() -> Pruned:
    return bp.prune(network(3), data_of(), "dense", epochs=8, batch_size=30, progress=False)


OTHER = 20 + 2 * torch.randn(80, 4, generator=torch.Generator().manual_seed(3))


def raw_test(data: Data) -> Tensor:
    inputs, _ = next(iter(data.test.batches(1000)))
    raw: Tensor = data.normalisation.undo(inputs)
    return raw


def expected(pruned: Pruned, own: Tensor, other: Tensor) -> tuple[float, float, float]:
    """Areas by the entropy and by the highest probability, and the mean entropy of the own."""
    chances = [pruned.predict_proba(raw).double().numpy() for raw in (own, other)]
    chances = [np.concatenate([1 - one, one], 1) if one.shape[1] == 1 else one for one in chances]
    kinds = np.repeat([0, 1], [len(own), len(other)])
    entropies = np.concatenate([entropy(one, axis=1) for one in chances])
    highest = np.concatenate([one.max(1) for one in chances])
    return roc_auc_score(kinds, entropies), roc_auc_score(kinds, -highest), float(entropies[: len(own)].mean())


def check(found: OutOfDistribution, areas: tuple[float, float, float]) -> None:
    assert found.auroc == found.entropy.auroc == pytest.approx(areas[0], abs=2e-3)
    assert found.max_probability.auroc == pytest.approx(areas[1], abs=2e-3)
    assert found.own_entropy == pytest.approx(areas[2], rel=1e-4)
    assert found.entropy.low < found.auroc < found.entropy.high


def test_areas_are_those_of_scikit_learn(pruned: Pruned) -> None:
    found = pruned.out_of_distribution(OTHER)
    check(found, expected(pruned, raw_test(data_of()), OTHER))
    assert 0.6 < found.auroc < 1 and (found.own_examples, found.other_examples) == (len(data_of().test), 80)
    assert str(found).startswith(f"AUROC of the entropy {found.auroc:.4f} (")


def test_other_data_are_prepared_as_the_own(pruned: Pruned) -> None:
    """In whatever form they come: `Data` bring a normalisation of their own, which is undone."""
    labels = (OTHER[:, 2] > 20).long()
    data = from_tensors(OTHER, labels, test=(OTHER, labels), validation=(OTHER, labels), name="other")
    assert data.normalisation != data_of().normalisation
    found = [
        pruned.out_of_distribution(given)
        for given in (OTHER, OTHER.numpy(), (OTHER, labels), DataLoader(TensorDataset(OTHER, labels), 32), data)
    ]
    for one in found[1:]:
        assert one.other_entropy == pytest.approx(found[0].other_entropy, rel=1e-5)
        assert one.auroc == pytest.approx(found[0].auroc, abs=2e-3)


def test_own_data_may_be_given_and_are_needed_of_a_loaded_network(pruned: Pruned, tmp_path: Path) -> None:
    raw, labels = raw_test(data_of()), next(iter(data_of().test.batches(1000)))[1]
    loaded = bp.load(pruned.save(tmp_path), factory=lambda: network(3))
    with pytest.raises(StoreError, match=r"give out_of_distribution\(other, data\)"):
        loaded.out_of_distribution(OTHER)
    for own in (data_of(), (raw, labels)):
        check(loaded.out_of_distribution(OTHER, own), expected(pruned, raw, OTHER))


def test_another_network_may_be_asked(pruned: Pruned) -> None:
    class Unsure(nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            return torch.zeros(len(inputs), 3)

    found = pruned.out_of_distribution(OTHER, network=Unsure())
    assert found.auroc == 0.5 and found.own_entropy == pytest.approx(np.log(3))


def test_two_classes_of_one_logit_have_an_entropy_too() -> None:
    data = data_of("binary")
    found = bp.prune(network(1), data, "dense", epochs=8, batch_size=30, progress=False)
    check(found.out_of_distribution(OTHER), expected(found, raw_test(data), OTHER))


def test_what_does_not_fit_is_refused(pruned: Pruned) -> None:
    given: Any
    for given, message in (
        (torch.randn(9, 5), r"have shape \[5\], those of the run \[4\]"),
        (torch.full((9, 4), float("nan")), "36 values of this call are not finite"),
        (nn.Linear(4, 3), "the other data are a Linear: give"),
        (None, "the other data are None"),
        (OTHER[:1], "at least 2 examples"),
    ):
        with pytest.raises(DataError, match=message):
            pruned.out_of_distribution(given)
    inputs = torch.randn(90, 4)
    numbers = from_tensors(inputs, inputs.sum(1), task="regression", seed=0)
    regression = bp.prune(network(1), numbers, "dense", epochs=1, progress=False)
    with pytest.raises(SettingError, match="the task 'regression' has no probabilities of one class for each example"):
        regression.out_of_distribution(inputs)


@pytest.mark.long
@pytest.mark.usefixtures("data_root")
def test_clothes_are_told_from_digits() -> None:
    pruned = bp.prune("lenet300", "mnist", "dense", widths=(30, 20), epochs=1, progress=False)
    found = pruned.out_of_distribution("fashion-mnist")
    assert found.own_examples == found.other_examples == 10_000
    assert 0.8 < found.auroc < 1 and found.other_entropy > 2 * found.own_entropy
