"""The settings of a run: checked when they are made, one form for one run, every one of them in its name."""

import re
from dataclasses import fields, replace
from typing import Any

import pytest

from bayesprune.data import Data
from bayesprune.errors import BudgetError, SettingError, nearest_name
from bayesprune.run.identity import identity_of
from bayesprune.run.settings import RunSettings, check_options, default_epochs
from bayesprune.store.identity import canonical_json, run_id


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("seed", -1, "seed must be an integer >= 0"), ("seed", 2**32, "and <= 4294967295"),
        ("seed", 1.0, "not 1.0"), ("seed", True, "not True"), ("seed", None, "not None"),
        ("epochs", -1, "epochs must be an integer >= 0, not -1"), ("epochs", -3, "not -3"), ("epochs", 2.5, "not 2.5"),
        ("batch_size", 0, "batch_size must be"), ("batch_size", None, "batch_size"), ("threads", 0, "threads"),
        ("learning_rate", 0.0, "learning_rate must be a finite number > 0"), ("learning_rate", -1, "not -1"),
        ("learning_rate", float("nan"), "not nan"), ("learning_rate", "fast", "a number, not 'fast'"),
        ("learning_rate", True, "not True"), ("noise", -0.1, "noise must be a finite number >= 0"),
        ("noise", float("inf"), "not inf"), ("density", 0.0, "> 0 and <= 1"), ("density", 1.01, "not 1.01"),
        ("density", float("nan"), "not nan"), ("density", "ten%", "not 'ten%'"), ("density", "110%", "not 1.1"),
        ("density", "%", "not '%'"), ("density", True, "not True"), ("density", 10**400, "not an integer of 1329 bits"),
        ("price", 10**400, "price .* an integer of 1329 bits"), ("learning_rate", 10**400, "an integer of 1329 bits"),
        ("threads", 1_000_000, "threads must be an integer >= 1 and <= 1024"),
        ("budget", 150_000, "text such as macs=150k, or a table .* not 150000"), ("price", [1.0], "price must be"),
        ("inputs", "some", "'auto', 'all' or 'none', not 'some'"), ("inputs", 1, "inputs"),
        ("flatten_inputs", 1, "true or false"), ("keep", "fc3", "a list of names of layers, not 'fc3'"),
        ("keep", (1,), "each entry of keep"), ("widths", 3, "a list of integers, not 3"),
        ("widths", (3, 2.5), "each entry of widths .* not 2.5"), ("widths", (3, True), "not True"),
        ("options", [1], "options must be a table"), ("network", None, "network must be text"),
        ("data", 5, "data must be text"), ("method", ("dense",), "method must be text"),
        ("weights", 7, "weights must be the name of a file"), ("estimator", None, "estimator must be text"),
    ],
)  # fmt: skip
def test_values_that_cannot_be_are_refused(name: str, value: Any, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        RunSettings(**{"method": "dense"} | {name: value})


def test_a_budget_that_cannot_be_is_refused_at_once() -> None:
    with pytest.raises(BudgetError, match="budget 'macs=ten'"):
        RunSettings("l1-units", budget="macs=ten")


def test_equal_settings_have_one_form() -> None:
    one = RunSettings("parsimonious", price=20, learning_rate=1, keep=["a"], widths=[3, 2], noise=0)  # type: ignore[arg-type]  # as JSON gives them
    other = RunSettings("parsimonious", price="20", learning_rate=1.0, keep=("a",), widths=(3, 2), noise=0.0)
    assert one == other and canonical_json(one.to_json()) == canonical_json(other.to_json())
    assert RunSettings("parsimonious", price="fc1=20,fc2=10").price == "fc1=20,fc2=10"
    assert [RunSettings("magnitude", density=share).density for share in ("20%", "0.2", 0.2)] == [0.2] * 3


def test_options_are_a_copy() -> None:
    options = {"slab": 1.0}
    settings = RunSettings("dense", options=options)
    options["slab"] = 2.0
    assert settings.options == {"slab": 1.0}


def test_json_and_back() -> None:
    settings = RunSettings(
        "parsimonious", seed=3, epochs=4, price="fc1=20", keep=("fc3",), widths=(30, 10), options={"start": 0.9},
        budget="macs=10%", noise=0.1, weights="w.safetensors",
    )  # fmt: skip
    assert RunSettings.from_json(settings.to_json() | {"factory": None, "something": "else"}) == settings
    assert RunSettings.from_json(RunSettings("dense").to_json()) == RunSettings("dense")


CHANGED: dict[str, Any] = {
    "method": "random", "network": "lenet5", "data": "mnist", "seed": 1, "epochs": 3, "batch_size": 50,
    "learning_rate": 0.1, "noise": 0.2, "consistency": 0.2, "density": 0.5, "budget": "macs=5%",
    "device": "cpu", "precision": "bf16", "price": 3.0, "estimator": "disarm",
    "keep": ("fc1",), "inputs": "none", "flatten_inputs": True, "threads": 2, "weights": "w", "widths": (5, 4),
    "options": {"slab": 2.0}, "task": "regression", "output": "logits", "aux": {"aux1": 0.3},
    "augment": "crop-flip", "optimizer": "sgd",
}  # fmt: skip


@pytest.mark.parametrize("name", [field.name for field in fields(RunSettings)])
def test_every_setting_but_threads_device_and_precision_changes_the_name_of_the_run(name: str) -> None:
    plain = RunSettings("dense")
    changed = replace(plain, **{name: CHANGED[name]})
    ids = {run_id(identity_of(settings, None, "data")) for settings in (plain, changed)}
    assert len(ids) == (1 if name in ("threads", "device", "precision") else 2)
    assert run_id(identity_of(replace(plain), None, "data")) in ids


def test_the_data_and_the_version_change_it_too() -> None:
    settings = RunSettings("dense")
    names = [run_id(identity_of(settings, None, data), version=v) for data, v in (("a", "1"), ("b", "1"), ("a", "2"))]
    assert len(set(names)) == 3


@pytest.mark.parametrize(("steps", "epochs"), [(35, 120), (550, 40), (2200, 10), (22_000, 1), (10**6, 1), (1, 120)])
def test_default_epochs(steps: int, epochs: int) -> None:
    assert default_epochs(steps) == epochs


def test_defaults_are_filled_in(small_data: Data) -> None:
    assert RunSettings("dense", batch_size=50).with_defaults(small_data.train).epochs == 120
    assert RunSettings("dense", epochs=7).with_defaults(small_data.train).epochs == 7
    assert RunSettings("dense", batch_size=50).total_steps(small_data.train) == 600
    assert RunSettings("dense", batch_size=100, epochs=2).total_steps(small_data.train) == 6
    assert RunSettings("dense", epochs=0).total_steps(small_data.train) == 0


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("epochs", "'epochs' is no option of dense: give the setting epochs of the run itself"),
        ("lr", "'lr' is no option of dense: give the setting learning_rate of the run itself"),
        ("slap", "unknown option of dense 'slap': did you mean 'slab'?"), ("zzzz", "there are slab, start"),
    ],
)  # fmt: skip
def test_an_option_that_is_none_is_told_from_a_setting_of_the_run(name: str, message: str) -> None:
    with pytest.raises(SettingError, match=re.escape(message)):
        check_options("dense", {"slab": 1.0, name: 1}, ["slab", "start"])


@pytest.mark.parametrize(("name", "known", "nearest"), [
    ("lr", ["rate", "learning_rate"], "learning_rate"), ("LR", ["learning_rate"], "learning_rate"),
    ("batch-size", ["batch_size"], "batch_size"), ("epoch", ["epochs", "every"], "epochs"), ("lr", ["keep"], None),
    ("workers", ["threads", "seeds"], "threads"), ("n_jobs", ["threads", "workers"], "threads"),
])  # fmt: skip
def test_the_nearest_name_is_the_same_thing_by_another_word_before_one_spelt_alike(
    name: str, known: list[str], nearest: str | None
) -> None:
    assert nearest_name(name, known) == nearest
