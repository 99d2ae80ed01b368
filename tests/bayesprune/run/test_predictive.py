"""The posterior predictive at fixed weights: each draw against the network that is really cut."""

import warnings
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Categorical

import bayesprune as bp
from bayesprune.errors import DataError, SettingError, UnknownNameError
from bayesprune.run.arviz_view import for_arviz, import_arviz
from bayesprune.run.pruned import Pruned
from bayesprune.structure import compact
from bayesprune.tasks import OwnTask


def rows(count: int = 240) -> tuple[Tensor, Tensor]:
    """Three classes by two of five features."""
    inputs = torch.randn(count, 5, generator=torch.Generator().manual_seed(0))
    return inputs, (inputs[:, 0] > 0).long() + (inputs[:, 1] > 0).long()


@pytest.fixture(scope="module")
def pruned() -> Pruned:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3))
    return bp.prune(network, rows(), epochs=6, batch_size=30, price=0.01, progress=False)


def draws_of(pruned: Pruned) -> Tensor:
    """Two chains of three draws, in which some settings come twice; no layer is empty."""
    gates = torch.ones(2, 3, pruned.structure.gate_count, dtype=torch.uint8)
    gates[0, 1, 0] = gates[1, 0, 0] = gates[1, 2, -1] = gates[1, 2, 1] = 0
    return gates


def test_every_draw_is_the_network_that_is_cut(pruned: Pruned) -> None:
    assert pruned._data is not None
    inputs, targets = next(iter(pruned._data.test.batches(1000)))
    gates = draws_of(pruned)
    found = pruned.predictive(gates)
    chances = []
    for chain in range(2):
        for draw in range(3):
            network = deepcopy(pruned.network).eval()
            compact(network, pruned.structure, gates[chain, draw].bool())
            law = Categorical(logits=network(inputs))
            chances.append(law.probs.detach())
            torch.testing.assert_close(found.log_likelihood[chain, draw], law.log_prob(targets).detach())
    mean = torch.stack(chances).mean(0)
    torch.testing.assert_close(found.outputs.softmax(1), mean)
    assert found.metrics["accuracy"] == pytest.approx((mean.argmax(1) == targets).float().mean().item())
    assert torch.equal(found.targets, targets) and found.sampled is None


def test_all_open_is_the_network_itself_also_for_raw_examples(pruned: Pruned) -> None:
    raw = rows(50)
    found = pruned.predictive(torch.ones(1, 1, pruned.structure.gate_count), raw)
    assert found.metrics["nll"] == pytest.approx(pruned.evaluate(raw).nll, rel=1e-5)


def test_sampled_targets_have_the_law_of_their_draw(pruned: Pruned) -> None:
    """Frequencies over 600 equal draws, within 5 standard errors."""
    gates = torch.ones(1, 600, pruned.structure.gate_count)
    raw = rows(4)
    found = pruned.predictive(gates, raw, sampled=True, seed=1)
    assert found.sampled is not None and found.sampled.shape == (1, 600, 4)
    chances = pruned.predict_proba(raw[0])
    for place in range(4):
        shares = found.sampled[0, :, place].bincount(minlength=3) / 600
        error = (chances[place] * (1 - chances[place]) / 600).sqrt()
        assert bool(((shares - chances[place]).abs() <= 5 * error + 1e-6).all())
    again = pruned.predictive(gates, raw, sampled=True, seed=1).sampled
    assert again is not None and torch.equal(again, found.sampled)


def test_arviz_takes_the_tree_of_draws_and_predictions(pruned: Pruned, tmp_path: Any) -> None:
    draws = pruned.gibbs(draws=50, chains=2, progress=False)
    predicted = pruned.predictive(draws.draws, split="train", sampled=True)
    tree = draws.to_datatree(predicted)
    count = predicted.log_likelihood.shape[2]
    assert tree["log_likelihood"]["y"].shape == (2, 50, count)
    assert tree["posterior_predictive"]["y"].shape == (2, 50, count)
    arviz = import_arviz()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of few draws
        result = arviz.loo(for_arviz(tree))
    pointwise = predicted.log_likelihood.double().flatten(0, 1)
    whole = float((pointwise.logsumexp(0) - np.log(100)).sum())  # leaving one out can only be worse than that
    assert whole - 20 < float(result.elpd if hasattr(result, "elpd") else result.elpd_loo) < whole + 1e-6
    tree.to_netcdf(tmp_path / "draws.nc", engine="h5netcdf")
    with pytest.raises(SettingError, match=r"predictions are of \[2, 3\] chains and draws, and these are \[2, 50\]"):
        draws.to_datatree(pruned.predictive(draws_of(pruned)))


def test_what_does_not_fit_is_refused(pruned: Pruned) -> None:
    count = pruned.structure.gate_count
    for shape in ((2, 3, count + 1), (3, count), (0, 3, count)):
        with pytest.raises(SettingError, match=rf"\[chains, draws, {count}\] are needed"):
            pruned.predictive(torch.ones(*shape))
    with pytest.raises(UnknownNameError, match="split"):
        pruned.predictive(draws_of(pruned), split="tests")
    with pytest.raises(DataError):
        pruned.predictive(draws_of(pruned), (torch.randn(5, 4), torch.zeros(5, dtype=torch.int64)))
    network = nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 1))
    loss = OwnTask(loss=lambda outputs, y: (outputs[:, 0] - y).square().mean())
    inputs, targets = rows()
    own = bp.prune(network, bp.data.from_tensors(inputs, targets.float(), task=loss, seed=0), epochs=2, price=0.01)
    with pytest.raises(SettingError, match="targets cannot be drawn"):
        own.predictive(torch.ones(1, 1, own.structure.gate_count), sampled=True)
