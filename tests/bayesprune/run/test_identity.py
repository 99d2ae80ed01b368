"""A run is named by what decides its result: content counts, names of files and threads do not."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from bayesprune.run import identity
from bayesprune.run.identity import identity_of, tensors_digest
from bayesprune.run.networks import NetworkSpec
from bayesprune.run.settings import RunSettings
from bayesprune.store.identity import deciding, run_id

PLAIN = RunSettings("dense", data="npz:some.npz")


def name_of(settings: RunSettings = PLAIN, fingerprint: str = "data", network: nn.Module | None = None) -> str:
    return run_id(identity_of(settings, None, fingerprint, network))


def test_threads_and_places_do_not_count_but_content_does(tmp_path: Path) -> None:
    assert name_of(replace(PLAIN, threads=4)) == name_of() == name_of(replace(PLAIN, data="npz:/elsewhere/some.npz"))
    assert name_of(replace(PLAIN, data="mnist@5000")) == name_of(replace(PLAIN, data="mnist"))
    assert len({name_of(), name_of(fingerprint="other"), name_of(replace(PLAIN, data="folder:some.npz"))}) == 3
    file, copy = tmp_path / "w.safetensors", tmp_path / "copy.safetensors"
    names = []
    for value in (0.0, 1.0):
        for place in (file, copy):
            save_file({"w": torch.full((2,), value)}, place)
        names += [name_of(replace(PLAIN, weights=str(place))) for place in (file, copy)]
    assert names[0] == names[1] != names[2] == names[3]
    assert name_of() not in names


def test_weights_that_are_those_of_another_run_count_by_its_name() -> None:
    assert name_of(replace(PLAIN, weights="run:0123456789ab")) != name_of(replace(PLAIN, weights="run:0123456789ac"))


def test_a_network_with_its_weights_counts_by_weights_and_code() -> None:
    torch.manual_seed(0)
    one, other = nn.Sequential(nn.Linear(3, 2), nn.ReLU()), nn.Sequential(nn.Linear(3, 2), nn.ReLU())
    changed = nn.Sequential(nn.Linear(3, 2), nn.Tanh())
    changed.load_state_dict(one.state_dict())
    names = [name_of(network=network) for network in (one, other, changed)]
    assert len({*names, name_of()}) == 4 and name_of(network=one) == names[0]


def test_the_source_of_a_factory_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    names = []
    for text in ("A = 1\n", "A = 2\n", "A = 1\n"):
        (tmp_path / "named_factory.py").write_text(text)
        names.append(name_of(replace(PLAIN, network="named_factory:make")))
    assert names[0] == names[2] != names[1]


def test_other_data_that_an_option_names_count_by_content(
    small_arrays: dict[str, Any], tmp_path: Path, small_npz: str
) -> None:
    import numpy as np

    np.savez(tmp_path / "other.npz", **small_arrays | {"x_train": small_arrays["x_train"] + 1})
    np.savez(tmp_path / "same.npz", **small_arrays)
    names = [
        name_of(replace(PLAIN, method="ntt", options={"transfer_data": data}))
        for data in (small_npz, f"npz:{tmp_path}/same.npz", f"npz:{tmp_path}/other.npz")
    ]
    assert names[0] == names[1] != names[2]


def test_how_budgets_are_met_counts_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Results of a former way to meet budgets are not taken for those of the present one."""
    settings = [PLAIN, *(replace(PLAIN, method="l1-units", budget=budget) for budget in ("fc1=50%", "macs=10%"))]
    before = [name_of(one) for one in settings]
    monkeypatch.setattr(identity, "REVISION", 1_000)
    assert [name_of(one) == name for one, name in zip(settings, before, strict=True)] == [True, True, False]


def test_what_is_written_says_what_counted() -> None:
    found = identity_of(PLAIN, NetworkSpec("lenet300", {"classes": 3}), "data")
    assert found["factory"] == {"name": "lenet300", "arguments": {"classes": 3}}
    assert (found["weights_digest"], found["code_digest"], found["threads"]) == (None, None, 1)
    assert found["data"] == "npz:some.npz" and RunSettings.from_json(found) == PLAIN


def test_settings_of_old_runs_keep_their_names() -> None:
    old: dict[str, Any] = {"data": "npz:FILE", "threads": 2, "weights": "w", "data_fingerprint": "x"}
    assert deciding(old) == old
    assert deciding(old | {"code_digest": None, "weights_digest": None}) == {
        "data": "npz", "weights": "w", "data_fingerprint": "x", "code_digest": None, "weights_digest": None,
    }  # fmt: skip


def test_tensors_are_told_apart_by_name_type_shape_and_value() -> None:
    tensors = [
        {"a": torch.zeros(4)}, {"b": torch.zeros(4)}, {"a": torch.zeros(2, 2)}, {"a": torch.ones(4)},
        {"a": torch.zeros(4, dtype=torch.int32)}, {"a": torch.zeros(4), "b": torch.zeros(0)},
    ]  # fmt: skip
    assert len({tensors_digest(one) for one in tensors}) == 6
    column = torch.arange(6.0).reshape(2, 3).T
    assert tensors_digest({"a": column}) == tensors_digest({"a": column.contiguous(), "extra": "no tensor"})
