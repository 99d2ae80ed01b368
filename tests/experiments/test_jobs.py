"""One run as a job: refused early, made once, gone on with, and found again by its name."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import bayesprune as bp
from bayesprune.errors import (
    BayespruneError,
    BudgetError,
    DataError,
    InputShapeError,
    NetworkError,
    SettingError,
    UnknownNameError,
)
from bayesprune.experiments import jobs
from bayesprune.experiments.jobs import Job, build, check, execute, folder_of, load_cached, read_result
from bayesprune.run.settings import RunSettings
from bayesprune.store.runs import RunRecord
from bayesprune.training import Checkpointer, Progress

MakeJob = Callable[..., Job]


@pytest.fixture
def make_job(small_npz: str) -> MakeJob:
    """Makes a short run on the small data."""

    def make(method: str = "dense", match: str | None = None, **settings: Any) -> Job:
        plain: dict[str, Any] = {"data": small_npz, "widths": (12, 8), "epochs": 2, "batch_size": 50}
        return Job(RunSettings(method, **plain | settings), match)

    return make


def nothing(progress: Progress) -> None:
    """Report nothing."""


def make(job: Job, root: Path, progress: Callable[[Progress], None] = nothing, **settings: Any) -> Path:
    return execute(job, root, **{"resume": False, "sized_by": None} | settings, progress=progress)


def times(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


def test_a_run_is_made_and_found_again(make_job: MakeJob, tmp_path: Path) -> None:
    folder = make(make_job(), tmp_path)
    record = RunRecord.read(folder)
    assert folder == tmp_path / record.id and len(record.id) == 12
    assert record.settings["epochs"] == 2 and record.settings["method"] == "dense"
    assert record.result == read_result(folder)
    assert not (folder / "checkpoint.safetensors").exists()
    assert bp.load(folder).result() == record.result


@pytest.mark.parametrize("resume", [False, True])
def test_a_finished_run_is_not_made_again(make_job: MakeJob, tmp_path: Path, resume: bool) -> None:
    before = times(make(make_job(), tmp_path))

    def fail(progress: Progress) -> None:
        raise AssertionError("it trains")

    assert times(make(make_job(), tmp_path, fail, resume=resume)) == before
    other = make(make_job(seed=1), tmp_path)
    assert times(make(make_job(), tmp_path, fail)) == before and other.exists()


def test_a_run_whose_record_is_damaged_is_made_again(make_job: MakeJob, tmp_path: Path) -> None:
    folder = make(make_job(), tmp_path)
    result = read_result(folder)
    (folder / "run.json").write_text("{")
    assert make(make_job(), tmp_path) == folder
    assert read_result(folder)["accuracy"] == result["accuracy"]


@pytest.mark.parametrize(("resume", "first"), [(True, 6), (False, 1)])
def test_an_interrupted_run_is_gone_on_with_when_asked(
    make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resume: bool, first: int
) -> None:
    monkeypatch.setattr(jobs, "Checkpointer", lambda path, resume: Checkpointer(path, steps=5, resume=resume))

    def stop(progress: Progress) -> None:
        if progress.step == 8:
            raise InterruptedError

    whole = bp.load(make(make_job(), tmp_path / "whole"))
    with pytest.raises(InterruptedError):
        make(make_job(), tmp_path / "runs", stop)
    assert [path.name for path in (tmp_path / "runs").glob("*/*")] == ["checkpoint.safetensors"]
    steps: list[int] = []
    again = bp.load(make(make_job(), tmp_path / "runs", lambda now: steps.append(now.step), resume=resume))
    assert steps[0] == first
    for name, value in again.network.state_dict().items():
        assert torch.equal(value, whole.network.state_dict()[name])


def test_sizes_come_from_another_result(make_job: MakeJob, tmp_path: Path) -> None:
    result = {"macs": 200, "density": 0.25, "nonzero_weights": 138}
    matched = make_job("l1-units", "parsimonious").sized_by(result)
    assert (matched.budget, matched.density) == ("macs=200", None)
    matched = make_job("magnitude", "parsimonious").sized_by(result)
    assert (matched.budget, matched.density) == (None, 0.25)
    matched = make_job("random", "parsimonious", density=0.1).sized_by(result)
    assert (matched.budget, matched.density) == ("macs=200", None)
    with pytest.raises(SettingError, match="'dense' takes no size, so it cannot match 'parsimonious'"):
        make_job("dense", "parsimonious").sized_by(result)
    folder = make(make_job("l1-units", "parsimonious"), tmp_path, sized_by=result)
    assert read_result(folder)["macs"] <= 200
    folder = make(make_job("magnitude", "parsimonious"), tmp_path, sized_by=result)
    assert read_result(folder)["nonzero_weights"] == 138


def test_steps_are_counted_before_anything_is_trained(make_job: MakeJob) -> None:
    assert check(make_job()) == 10
    assert check(make_job(epochs=None, batch_size=240)) == 120
    assert check(make_job("l1-units", "parsimonious", epochs=4)) == 20
    assert check(make_job("magnitude", "parsimonious")) == 10


@pytest.mark.parametrize(
    ("settings", "kind", "message"),
    [
        ({"method": "denes"}, UnknownNameError, "did you mean 'dense'"),
        ({"network": "lenet30"}, UnknownNameError, "did you mean 'lenet300'"),
        ({"data": "mnist6k", "widths": None}, UnknownNameError, "did you mean 'mnist5k'"),
        ({"data": "npz:nowhere.npz"}, DataError, "nowhere.npz"),
        ({"network": "lenet5", "widths": None}, InputShapeError, r"lenet5 cannot take inputs of shape \(1, 6, 6\)"),
        ({"network": "nothing_here:make"}, SettingError, "cannot be imported"),
        ({"widths": (12,)}, SettingError, "2 widths"),
        ({"density": 0.5}, SettingError, "cannot use density"),
        ({"method": "magnitude"}, SettingError, "needs a size"),
        ({"method": "magnitude", "density": 1e-9}, BudgetError, "keeps none"),
        ({"method": "l1-units", "budget": "macs=1"}, BudgetError, "no network of this kind"),
        ({"method": "parsimonious", "price": -1.0}, BudgetError, "price"),
        ({"method": "parsimonious", "estimator": "curvatur"}, UnknownNameError, "did you mean 'curvature'"),
        ({"method": "parsimonious", "options": {"gamma": 0.0}}, SettingError, "gamma"),
        ({"keep": ("fc9",)}, SettingError, "fc9"),
        ({"weights": "nowhere.safetensors"}, SettingError, "nowhere.safetensors"),
        ({"options": {"slap": 1.0}}, SettingError, "slap"),
    ],
)  # fmt: skip
def test_what_can_be_refused_before_training_is(
    make_job: MakeJob, settings: dict[str, Any], kind: type[BayespruneError], message: str
) -> None:
    with pytest.raises(kind, match=message):
        check(make_job(**settings))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "dense"}, "cannot match"), ({"method": "l1-units", "options": {"slap": 1.0}}, "slap"),
        ({"method": "magnitude", "price": 3.0}, "cannot use price"),
    ],
)  # fmt: skip
def test_runs_whose_size_comes_later_are_checked_as_well(
    make_job: MakeJob, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(SettingError, match=message):
        check(make_job(match="parsimonious", **settings))


def test_a_network_that_does_not_fit_is_refused(
    make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = "from torch import nn\ndef make(classes):\n    return nn.Linear(6, classes)\n"
    (tmp_path / "odd_network.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(NetworkError, match="outputs"):
        check(make_job(network="odd_network:make", widths=None))


def test_a_network_by_the_path_of_its_code(make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = "from bayesprune.models import LeNet300\ndef make(input_shape, classes, widths):\n"
    source += "    return LeNet300(widths, input_shape, classes)\n"
    (tmp_path / "own_network.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    folder = make(make_job(network="own_network:make"), tmp_path / "runs")
    assert RunRecord.read(folder).settings["factory"]["name"] == "own_network:make"
    assert read_result(folder)["accuracy"] == read_result(make(make_job(), tmp_path / "runs"))["accuracy"]


def test_the_name_of_a_run_depends_on_what_is_in_the_data(
    make_job: MakeJob, small_arrays: dict[str, np.ndarray], tmp_path: Path
) -> None:
    names = []
    for change in (0.0, 0.0, 1.0):
        load_cached.cache_clear()
        arrays: dict[str, Any] = small_arrays | {"x_train": small_arrays["x_train"] + np.float32(change)}
        np.savez(tmp_path / "data.npz", **arrays)
        names.append(make(make_job(data=f"npz:{tmp_path}/data.npz", epochs=1), tmp_path / "runs").name)
    assert names[0] == names[1] != names[2]


def test_a_changed_file_is_seen_within_one_process(
    make_job: MakeJob, small_arrays: dict[str, np.ndarray], tmp_path: Path
) -> None:
    names = []
    for value in (0.0, 1.0, 0.0):
        inputs = small_arrays["x_train"].copy()
        inputs[117] += np.float32(value)  # one example in the middle; the file has as many bytes as before
        arrays: dict[str, Any] = small_arrays | {"x_train": inputs}
        np.savez(tmp_path / "data.npz", **arrays)
        names.append(folder_of(make_job(data=f"npz:{tmp_path}/data.npz"), tmp_path).path.name)
    assert names[0] == names[2] != names[1]
    data = f"npz:{tmp_path}/data.npz"
    assert load_cached(data) is load_cached(data)


def test_a_changed_file_of_weights_makes_another_run(make_job: MakeJob, tmp_path: Path) -> None:
    file, folders = tmp_path / "w.safetensors", []
    for seed in (5, 6):
        network = build(make_job(seed=seed).settings, load_cached(make_job().settings.data))
        save_file(network.state_dict(), file)
        folders.append(make(make_job(weights=str(file), epochs=1), tmp_path / "runs"))
        for name, value in (
            build(make_job(weights=str(file)).settings, load_cached(make_job().settings.data)).state_dict().items()
        ):
            assert torch.equal(value, network.state_dict()[name])
    assert folders[0] != folders[1]


def test_a_changed_factory_makes_another_run(
    make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    source = "from torch import nn\ndef make(classes):\n    return nn.Sequential("
    source += "nn.Flatten(), nn.Linear(36, 8), nn.Tanh(), nn.Linear(8, classes))\n"
    job, kinds = make_job(network="changing_network:make", widths=None, epochs=1), []
    for text in (source, source.replace("Tanh", "ReLU")):  # as long as before, perhaps in the same second
        (tmp_path / "changing_network.py").write_text(text)
        folder = make(job, tmp_path / "runs")
        kinds.append((folder.name, type(build(job.settings, load_cached(job.settings.data))[2]).__name__))
    assert [kind for _, kind in kinds] == ["Tanh", "ReLU"] and kinds[0][0] != kinds[1][0]


@pytest.mark.parametrize(
    ("settings", "other"),
    [
        ({"method": "l1-units", "budget": "macs=1k"}, {"method": "l1-units", "budget": "MACS = 1000"}),
        ({}, {"threads": 2}), ({"keep": ("fc1", "fc2")}, {"keep": ("fc2", "fc1")}), ({}, {"noise": 0.3}),
        ({"method": "magnitude", "density": 0.5}, {"method": "magnitude", "density": 0.5, "options": {"least": 0}}),
        ({"network": "mlp", "widths": None}, {"network": "mlp", "widths": (100,)}), ({}, {"estimator": "disarm"}),
        ({"epochs": None}, {"epochs": 120}),
        ({"method": "parsimonious", "price": "2"}, {"method": "parsimonious", "price": 2}),
    ],
)  # fmt: skip
def test_equal_settings_in_other_words_are_one_run(
    make_job: MakeJob, tmp_path: Path, settings: dict[str, Any], other: dict[str, Any]
) -> None:
    one, same = (folder_of(make_job(**given), tmp_path).path for given in (settings, other))
    assert one == same != folder_of(make_job(**settings | {"seed": 1}), tmp_path).path


def test_the_initial_network_is_that_of_the_seed(make_job: MakeJob) -> None:
    data = load_cached(make_job().settings.data)
    one, same, other = (build(make_job(seed=seed).settings, data) for seed in (3, 3, 4))
    assert torch.equal(one.fc1.weight, same.fc1.weight) and not torch.equal(one.fc1.weight, other.fc1.weight)


def test_labels(make_job: MakeJob) -> None:
    assert make_job("l1-units", seed=4).label == "l1-units seed 4"


def test_the_record_is_plain_json(make_job: MakeJob, tmp_path: Path) -> None:
    document = json.loads((make(make_job("parsimonious"), tmp_path) / "run.json").read_text())
    assert document["schema"] == 2 and document["data"]["split_sizes"] == {"train": 240, "validation": 40, "test": 60}
