"""The posterior as a DataTree: draws against the probabilities they come from, names, chains, ArviZ."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray

import bayesprune as bp
from bayesprune.data import Data
from bayesprune.errors import SettingError
from bayesprune.run.arviz_view import for_arviz, import_arviz
from bayesprune.run.datatree import to_datatree
from bayesprune.run.pruned import Pruned
from bayesprune.store.runs import RunFolder, RunRecord
from bayesprune.store.schema import upgraded

SIZES = {"inputs": 5, "fc1": 3}
MakeRun = Callable[..., RunRecord]


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Stores a run with these inclusion probabilities and reads it back."""

    def make(
        seed: int = 0,
        theta: list[float] | None = None,
        sizes: dict[str, int] | None = None,
        bayesian: bool = True,
        steps: tuple[int, ...] = (35, 70),
        **settings: Any,
    ) -> RunRecord:
        sizes = sizes or SIZES
        gates = sum(sizes.values())
        values = torch.rand(gates, generator=torch.Generator().manual_seed(seed)) if theta is None else theta
        probability = torch.as_tensor(values, dtype=torch.float32)
        decided = (probability > 0.5).to(torch.uint8)
        parts = [part.nonzero().flatten().tolist() for part in decided.split(list(sizes.values()))]
        result = {
            "method": "parsimonious", "seed": seed, "accuracy": 0.9, "nll": 0.3, "ece": 0.0, "brier": 0.1,
            "params": 9, "nonzero_weights": 9, "macs": 9, "latency_ms": 0.1, "density": 0.1,
            "architecture": {}, "undecided_gates": 0, "decided_at_end": 0, "train_seconds": 1.0,
            "train_macs_ratio": 1.0,
        }  # fmt: skip
        today = upgraded({"schema": 1, "classes": 2, "result": result})
        record = RunRecord(
            settings={"method": "parsimonious", "network": "n", "seed": seed} | settings,
            result=today["result"],
            groups=[
                {"name": name, "size": size, "kept": kept}
                for (name, size), kept in zip(sizes.items(), parts, strict=True)
            ],
            layers=[],
            input_shape=(5,),
            classes=2,
            task=today["task"],
            data={"name": "d", "split_sizes": {"train": 2, "validation": 1, "test": 1}},
            versions={"python": "3", "bayesprune": "0.1.0", "torch": "2"},
        )
        posterior = {
            "inclusion_probability": probability,
            "decided": decided,
            "trace": torch.stack([torch.full((gates,), 0.5)] * (len(steps) - 1) + [probability]),
            "steps": torch.tensor(steps),
        }
        folder = RunFolder(tmp_path / record.id)
        folder.write_record(record, {"w": torch.zeros(1)}, posterior if bayesian else None)
        return folder.read_record()

    return make


def test_draws_have_the_inclusion_probabilities(make_run: MakeRun) -> None:
    theta = [0.0, 1.0, 0.1, 0.5, 0.9, 0.03, 0.7, 1.0]
    z = to_datatree([make_run(theta=theta)], draws=20_000)["posterior"]["z"]
    assert z.dtype == np.uint8
    assert z.dims == ("chain", "draw", "gate")
    assert set(np.unique(z)) == {0, 1}
    error = np.sqrt(np.multiply(theta, np.subtract(1.0, theta)) / 20_000)
    assert (abs(z.mean(("chain", "draw")).to_numpy() - theta) <= 4.0 * error + 1e-7).all()
    # Independent draws: neighbours in a chain are not correlated.
    chain = z.sel(chain=0, gate="inputs[3]").to_numpy().astype(float)
    assert abs(np.corrcoef(chain[1:], chain[:-1])[0, 1]) < 4.0 / np.sqrt(20_000)


def test_gates_and_groups_are_named_and_counted(make_run: MakeRun) -> None:
    tree = to_datatree([make_run()], draws=50)
    names = [f"inputs[{i}]" for i in range(5)] + [f"fc1[{i}]" for i in range(3)]
    posterior, constants = tree["posterior"].to_dataset(), tree["constant_data"].to_dataset()
    assert posterior["gate"].to_numpy().tolist() == names
    assert posterior["open_gates"].dims == ("chain", "draw", "group")
    for name in SIZES:
        of_group = posterior["z"].isel(gate=(constants["group_of_gate"] == name).to_numpy())
        counts = of_group.to_numpy().astype(int).sum(-1)
        assert (posterior["open_gates"].sel(group=name).to_numpy() == counts).all()
    assert constants["index_in_group"].to_numpy().tolist() == [0, 1, 2, 3, 4, 0, 1, 2]
    assert constants["group_size"].to_numpy().tolist() == [5, 3]


def test_what_is_known_without_draws_is_that_of_the_run(make_run: MakeRun) -> None:
    run = make_run(3)
    constants = to_datatree([run], draws=4, trace=True)["sample_stats"].to_dataset()
    assert run.posterior is not None
    assert constants["trace"].dims == ("chain", "step", "gate")
    assert constants["step"].to_numpy().tolist() == [35, 70]
    for name in ("inclusion_probability", "decided", "trace"):
        assert np.array_equal(constants[name].sel(chain=0).to_numpy(), run.posterior[name].numpy())
    assert constants["decided"].dtype == np.uint8
    assert constants["seed"].to_numpy().tolist() == [3]


def test_log_q_is_that_of_independent_gates_that_are_left(make_run: MakeRun) -> None:
    theta = [0.0, 1.0, 0.1, 0.5, 0.9, 0.53, 0.7, 1.0]  # 2 and 3 are gone, though drawn open at times
    tree = to_datatree([make_run(theta=theta)], draws=30)
    assert "trace" not in tree["sample_stats"] and "macs" not in tree["sample_stats"]
    z = tree["posterior"]["z"].to_numpy()[0].astype(float)
    found = torch.tensor(theta).float()
    law = torch.distributions.Bernoulli(found[4:7])
    expected = law.log_prob(torch.tensor(z[:, 4:7]).float()).sum(-1)
    assert tree["sample_stats"]["log_q"].to_numpy()[0] == pytest.approx(expected.numpy(), abs=1e-5)


def test_restarts_are_chains_with_draws_of_their_own(make_run: MakeRun) -> None:
    theta = [0.5] * 8
    tree = to_datatree([make_run(seed, theta) for seed in (4, 9)], draws=100)
    z = tree["posterior"].to_dataset()["z"]
    assert z.sizes == {"chain": 2, "draw": 100, "gate": 8}
    assert not np.array_equal(z[0], z[1])
    assert tree["sample_stats"]["seed"].to_numpy().tolist() == [4, 9]
    assert "independent" in tree.attrs["note"]
    assert "restarts" in tree.attrs["note"]


def test_the_seed_decides_the_draws(make_run: MakeRun) -> None:
    runs = [make_run(0), make_run(1)]
    first, again, other = (to_datatree(runs, draws=20, seed=seed) for seed in (0, 0, 1))
    assert first.identical(again)
    assert not first.equals(other)


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"seed": 1, "sizes": {"inputs": 4, "fc1": 4}}, "only runs with the same groups"),
        ({"seed": 1, "sizes": {"fc1": 3, "inputs": 5}}, "only runs with the same groups"),
        ({"seed": 1, "bayesian": False}, "has no posterior"),
        ({"seed": 1, "price": 3.0}, "differs from .* in price"),
        ({"seed": 1, "steps": (35, 75)}, "took other steps"),
        ({"seed": 0}, "given twice"),
    ],
)
def test_what_is_no_restart_is_refused(make_run: MakeRun, second: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        to_datatree([make_run(0), make_run(**second)])


def test_no_run_and_no_draw_are_refused(make_run: MakeRun) -> None:
    with pytest.raises(SettingError, match="no run"):
        to_datatree([])
    for draws in (0, 1.5, "10", True):
        with pytest.raises(SettingError, match="draws must be an integer >= 1"):
            to_datatree([make_run()], draws=draws)  # type: ignore[arg-type]  # what people might give
    with pytest.raises(SettingError, match="seed must be an integer >= 0, not -1"):
        to_datatree([make_run()], seed=-1)
    with pytest.raises(SettingError, match="has no posterior"):
        to_datatree([replace(make_run(), folder=None)])


def test_arviz_summarises_it(make_run: MakeRun) -> None:
    arviz = import_arviz()
    one, two = (for_arviz(to_datatree([make_run(seed) for seed in seeds])) for seeds in ((0,), (0, 1)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # gates that never change have no spread
        single, double = (arviz.summary(data, var_names=["z"], round_to="none") for data in (one, two))
    assert single.index.tolist()[5] == "z[fc1[0]]"
    assert single["r_hat"].isna().all()
    assert (double["r_hat"] > 1.01).any()  # these restarts disagree


def test_arviz_joins_restarts_as_one_call_does(make_run: MakeRun) -> None:
    arviz = import_arviz()
    if not hasattr(arviz, "concat"):
        pytest.skip("ArviZ 1.x has no concat of its own")
    runs = [make_run(0), make_run(1)]
    one, two = (for_arviz(to_datatree([run], draws=20, trace=True)) for run in runs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of xarray, about ArviZ
        joined = arviz.concat(one, two, dim="chain")
    together = to_datatree(runs, draws=20, trace=True)
    assert joined.posterior["z"].sizes == {"chain": 2, "draw": 20, "gate": 8}
    for name in ("inclusion_probability", "decided", "trace", "seed"):
        assert np.array_equal(joined.sample_stats[name].to_numpy(), together["sample_stats"][name].to_numpy())
    for name in ("group_of_gate", "index_in_group", "group_size"):
        assert np.array_equal(joined.constant_data[name].to_numpy(), together["constant_data"][name].to_numpy())


def test_it_goes_to_netcdf_and_back(make_run: MakeRun, tmp_path: Path) -> None:
    tree = to_datatree([make_run(0), make_run(1)], draws=10)
    tree.to_netcdf(tmp_path / "posterior.nc", engine="h5netcdf")
    with xarray.open_datatree(tmp_path / "posterior.nc", engine="h5netcdf") as back:
        assert back.equals(tree)
        assert back.attrs["note"] == tree.attrs["note"]


@pytest.fixture(scope="module")
def pruned(small_data: Data) -> Pruned:
    """A run of the central method, in memory."""
    return bp.prune("lenet300", small_data, widths=(6, 5), epochs=2, batch_size=50, horizon=30, price=1.0)


def test_every_form_of_a_run_gives_the_same_tree(pruned: Pruned, tmp_path: Path) -> None:
    folder = pruned.save(tmp_path / "run")
    tree = pruned.posterior_tree(draws=7, seed=3)
    assert pruned.posterior is not None and tree["posterior"]["z"].shape == (1, 7, 47)
    theta = tree["sample_stats"]["inclusion_probability"].to_numpy()[0]
    assert np.array_equal(theta, pruned.posterior.inclusion_probability.numpy())
    read = RunRecord.read(folder)
    forms: list[Any] = [pruned, bp.load(folder), folder, str(folder), folder / "run.json", read]
    for form in forms:
        for runs in (form, [form]):
            assert bp.to_datatree(runs, draws=7, seed=3).identical(tree)
    bare = tree.copy()
    known = tree["sample_stats"].to_dataset().drop_vars(["macs", "params"])  # of which there is no network
    bare["sample_stats"] = xarray.DataTree(known)
    for form in (folder, read, pruned.record()):
        assert to_datatree(form, draws=7, seed=3).identical(bare)
    assert bp.load(folder).posterior_tree(draws=7, seed=3).identical(tree)


def test_restarts_may_be_given_in_any_form(pruned: Pruned, small_data: Data, tmp_path: Path) -> None:
    other = bp.prune("lenet300", small_data, widths=(6, 5), epochs=2, batch_size=50, horizon=30, price=1.0, seed=1)
    tree = to_datatree([pruned, other.save(tmp_path / "other")], draws=5)
    assert tree["posterior"].sizes["chain"] == 2 and tree["sample_stats"]["seed"].to_numpy().tolist() == [0, 1]


def test_a_run_without_a_posterior_says_what_has_one(small_data: Data, tmp_path: Path) -> None:
    dense = bp.prune("mlp", small_data, "dense", epochs=1)
    with pytest.raises(SettingError, match=r"dense, seed 0\) has no posterior: give a run of a Bayesian method"):
        dense.posterior_tree()
    folder = dense.save(tmp_path / "dense")
    with pytest.raises(SettingError, match="there is no posterior.safetensors in .*dense"):
        to_datatree(folder)
    with pytest.raises(SettingError, match="a dict is no run: give a pruned network"):
        to_datatree({"z": 1})  # type: ignore[arg-type]  # wrong on purpose
