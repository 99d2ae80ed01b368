"""Deep ensembles: their members are dense networks, and what they say is the mean, by other code."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss
from torch import nn

import bayesprune as bp
from bayesprune.data import Data
from bayesprune.data.cached import load_cached
from bayesprune.errors import SettingError
from bayesprune.evaluation.evaluate import predict
from bayesprune.evaluation.metrics import expected_calibration_error
from bayesprune.experiments.jobs import Job, execute, phase_steps
from bayesprune.models import LeNet300
from bayesprune.pruners.deep_ensemble import EnsembleOptions, member_seed
from bayesprune.run.ensemble import Ensemble
from bayesprune.run.networks import NetworkSpec
from bayesprune.run.pruned import Pruned
from bayesprune.run.running import initial_network
from bayesprune.run.settings import RunSettings
from bayesprune.training.masks import attached_masks

GIVEN: dict[str, Any] = {"widths": (12, 8), "batch_size": 50, "progress": False}


def trained(data: Data, method: str = "ensemble", **settings: Any) -> Pruned:
    return bp.prune("lenet300", data, method, **{"epochs": 3} | GIVEN | settings)


def members_of(pruned: Pruned) -> list[nn.Module]:
    assert isinstance(pruned.network, Ensemble)
    return list(pruned.network.networks)


def same(one: nn.Module, other: nn.Module) -> bool:
    named = other.state_dict()
    return all(torch.equal(value, named[name]) for name, value in one.state_dict().items())


@pytest.fixture(scope="module")
def pruned(small_data: Data) -> Pruned:
    return trained(small_data, members=3, seed=4)


def test_the_first_member_is_the_dense_network_and_the_others_differ(pruned: Pruned, small_data: Data) -> None:
    members = members_of(pruned)
    assert len(members) == 3 and same(members[0], trained(small_data, "dense", seed=4).network)
    assert not same(members[1], members[0]) and not same(members[2], members[1])
    assert [record["phase"] for record in pruned.history] == [f"member {n} fixed" for n in (1, 2, 3) for _ in range(3)]
    # Each is looked at by itself on the validation split.
    assert all(record["network_macs"] == 552 for record in pruned.history)
    for place, member in zip((2, 5, 8), members, strict=True):
        alone = predict(member, small_data.validation, small_data.task)
        assert pruned.history[place]["validation_nll"] == pytest.approx(alone["nll"], rel=1e-5)


def test_members_start_from_weights_of_their_own(small_data: Data) -> None:
    untrained = trained(small_data, members=3, seed=4, epochs=0)
    spec = NetworkSpec("lenet300", {"widths": [12, 8], "input_shape": [1, 6, 6], "classes": 3})
    for number, member in enumerate(members_of(untrained)):
        assert same(member, initial_network(spec, member_seed(4, number)))
    seeds = {member_seed(seed, number) for seed in range(50) for number in range(20)}
    assert len(seeds) == 50 * 20 - (50 - len({member_seed(seed, 0) for seed in range(50)}))


def test_a_class_draws_new_weights_and_a_module_keeps_its_own(small_data: Data) -> None:
    class Own(LeNet300):
        def __init__(self) -> None:
            super().__init__((6, 5), (1, 6, 6), 3)

    given: dict[str, Any] = {"epochs": 0, "members": 2, "progress": False}
    one, other = members_of(bp.prune(Own, small_data, "ensemble", **given))
    assert not same(one, other)
    module = Own()
    assert all(same(member, module) for member in members_of(bp.prune(module, small_data, "ensemble", **given)))
    one, other = members_of(bp.prune(module, small_data, "ensemble", **given | {"epochs": 2}))
    assert not same(one, other)  # the order of the examples and the noise differ


def test_metrics_are_those_of_the_mean_probability(pruned: Pruned, small_data: Data) -> None:
    inputs, targets = next(iter(small_data.test.batches(1000)))
    chances = np.mean([member(inputs).detach().double().softmax(1).numpy() for member in members_of(pruned)], axis=0)
    found, labels = pruned.evaluation, targets.numpy()
    assert found.accuracy == pytest.approx((chances.argmax(1) == labels).mean())
    assert found.nll == pytest.approx(log_loss(labels, chances), rel=1e-5)
    assert found.brier == pytest.approx(np.square(chances - np.eye(3)[labels]).sum(1).mean(), rel=1e-5)
    assert found.ece == pytest.approx(expected_calibration_error(torch.from_numpy(chances).log(), targets), rel=1e-4)
    torch.testing.assert_close(
        pruned.predict_proba(small_data.normalisation.undo(inputs)).double(), torch.from_numpy(chances),
        rtol=1e-4, atol=1e-6,
    )  # fmt: skip


def test_costs_are_sums(pruned: Pruned) -> None:
    row = pruned.result()
    assert (row["members"], row["macs"], row["params"]) == (3, 3 * 552, 3 * (552 + 23))
    assert row["density"] == 1 and row["dense_params"] == row["params"] and row["architecture"] == {}
    assert row["train_macs_ratio"] == pytest.approx(3, rel=1e-12)
    with pytest.raises(SettingError):
        pruned.evidence()


def test_it_comes_back_from_disk(pruned: Pruned, small_data: Data, tmp_path: Path) -> None:
    again = bp.load(pruned.save(tmp_path))
    inputs, _ = next(iter(small_data.test.batches(60)))
    assert torch.equal(again.network(inputs), pruned.network(inputs))
    assert again.result() == pruned.result() and again.kept == {} and again.history == pruned.history
    raw = small_data.normalisation.undo(inputs)
    torch.testing.assert_close(pruned.pipeline()(raw), pruned.network(inputs), rtol=1e-4, atol=1e-4)


def test_masks_of_the_start_hold_in_every_member(small_data: Data, tmp_path: Path) -> None:
    start = trained(small_data, "magnitude", density=0.3)
    together = bp.prune(start, small_data, "ensemble", members=2, epochs=2, progress=False)
    assert set(together.masks) == {f"networks.{n}.{name}" for n in (0, 1) for name in start.masks}
    for member in members_of(together):
        for name, mask in start.masks.items():
            assert not bool(member.get_parameter(name)[~mask].any())
    assert together.result()["nonzero_weights"] <= 2 * start.result()["nonzero_weights"]
    loaded = bp.load(together.save(tmp_path))
    assert set(attached_masks(loaded.network)) == set(together.masks)


def test_the_noise_of_a_regression_is_that_of_the_mean(tmp_path: Path) -> None:
    inputs = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
    data = bp.data.from_tensors(inputs, inputs.sin().sum(1), task="regression", seed=0)
    made = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))
    found = bp.prune(made, data, "ensemble", members=2, epochs=3, progress=False)
    rows, targets = next(iter(data.train.batches(1000)))
    rest = found.network(rows).detach()[:, 0] - targets[:, 0]
    assert found.likelihood is not None
    assert dict(found.likelihood.named_parameters())["log_tenth"].numel() == 1
    sigma = float(rest.square().mean().sqrt())
    plain = torch.distributions.Normal(0.0, sigma).log_prob(rest).mean()
    assert found.likelihood.loss(found.network(rows), targets).item() == pytest.approx(-float(plain), abs=1e-3)


def test_a_job_makes_the_same_run(small_npz: str, tmp_path: Path) -> None:
    options = {"members": 2}
    settings = RunSettings("ensemble", "lenet300", small_npz, epochs=1, widths=(12, 8), batch_size=50, options=options)
    assert phase_steps(Job(settings)) == {"member 1 fixed": 5, "member 2 fixed": 5}
    folder = execute(Job(settings), tmp_path, sized_by=None, progress=lambda _: None)
    direct = bp.prune("lenet300", load_cached(small_npz), "ensemble", members=2, epochs=1, **GIVEN)
    assert same(bp.load(folder).network, direct.network)
    assert execute(Job(settings), tmp_path, sized_by=None, progress=lambda _: None) == folder


@pytest.mark.parametrize("members", [1, 0, -3, 2.5, True])
def test_fewer_than_two_members_are_refused(members: Any, small_data: Data) -> None:
    with pytest.raises(SettingError, match="members must be"):
        trained(small_data, members=members)
    with pytest.raises(SettingError, match="members must be"):
        EnsembleOptions(members=members)
