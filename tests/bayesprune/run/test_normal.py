"""Equal requests in other words are one run; requests that differ are not."""

from dataclasses import replace
from typing import Any

import pytest

from bayesprune.data import Data
from bayesprune.experiments.methods import METHODS
from bayesprune.models import LeNet5, LeNet300
from bayesprune.run.normal import normal_settings, without_usual_widths
from bayesprune.run.settings import RunSettings
from bayesprune.store.identity import canonical_json

SIZE: dict[str, dict[str, Any]] = {"density": {"density": 0.5}, "budget": {"budget": "macs=50%"}}


def normal(settings: RunSettings, data: Data) -> RunSettings:
    return normal_settings(METHODS[settings.method], settings, data, lambda: LeNet300((12, 8), (1, 6, 6), 3))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"budget": "macs=150k"}, {"budget": "MACS = 150000"}), ({"budget": "macs=0.15m"}, {"budget": "macs=150k"}),
        ({"budget": "params=57%"}, {"budget": "params=57.0 %"}), ({"budget": "macs=1e3"}, {"budget": "macs=1k"}),
        ({"price": 20}, {"price": "20"}), ({"price": "fc1=1,fc2=2"}, {"price": "fc2=2.0, fc1=1"}),
        ({"keep": ("a", "b")}, {"keep": ["b", "a", "b"]}), ({"options": {"rate": 5}}, {"options": {"rate": 5.0}}),
        ({"options": {"allocation": {"a": 1, "b": 0.5}}}, {"options": {"allocation": {"b": 0.5, "a": 1.0}}}),
    ],
)  # fmt: skip
def test_settings_have_one_form_when_they_are_made(one: dict[str, Any], other: dict[str, Any]) -> None:
    first, second = RunSettings("dense", **one), RunSettings("dense", **other)
    assert first == second and canonical_json(first.to_json()) == canonical_json(second.to_json())


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("macs=150k", "macs=150000"), ("params=1.5M", "params=1500000"), ("macs=10.0%", "macs=10%"),
        ("macs=0.5 %", "macs=0.5%"), ("macs=57%", "macs=57%"), ("macs=1234.5", "macs=1234.5"),
        ("macs=100%", "macs=100%"), ("params=1e20", "params=100000000000000000000"),
    ],
)  # fmt: skip
def test_a_budget_in_its_one_form_is_the_same_budget(text: str, form: str) -> None:
    assert RunSettings("l1-units", budget=text).budget == form
    assert RunSettings("l1-units", budget=form).budget == form


def test_a_price_that_is_none_stays_for_its_own_refusal() -> None:
    for price in ("fc1=1,fc1=2", "fc1=x", "much", "fc1=inf"):
        assert RunSettings("parsimonious", price=price).price == price


@pytest.mark.parametrize(
    ("method", "written"),
    [
        ("dense", {"noise": 0.3}), ("dense", {"consistency": 0.5}), ("dense", {"learning_rate": 2e-3}),
        ("dense", {"estimator": "disarm"}), ("dense", {"inputs": "all"}), ("dense", {"epochs": 120}),
        ("dense", {"options": {"slab": 0.5, "training": "recipe"}}),
        ("magnitude", {"options": {"trim": False, "allocation": "class-blind"}}),
        ("class-uniform", {"options": {"allocation": "class-uniform"}}), ("random", {"options": {"least": 0}}),
        ("l1-units", {"options": {"allocation": "class-uniform"}}), ("set", {"options": {"fraction": 0.3}}),
        ("ntt", {"options": {"kernel": "released"}}), ("obd", {"options": {"draws": None}}),
        ("parsimonious", {"options": {"settle_share": 0.2, "alpha": 0.9}}), ("parsimonious", {"learning_rate": 2e-3}),
    ],
)  # fmt: skip
def test_defaults_that_are_written_out_change_nothing(method: str, written: dict[str, Any], small_data: Data) -> None:
    size = next((SIZE[name] for name in ("density", "budget") if name in METHODS[method].needs), {})
    plain = RunSettings(method, batch_size=50, **size)
    assert normal(replace(plain, **written), small_data) == normal(plain, small_data)


@pytest.mark.parametrize(
    ("method", "written"),
    [
        ("dense", {"noise": 0.2}), ("dense", {"consistency": 0.0}), ("dense", {"learning_rate": 1e-3}),
        ("snip", {"learning_rate": 2e-3}), ("set", {"learning_rate": 2e-3}), ("ntt", {"learning_rate": 2e-3}),
        ("magnitude", {"learning_rate": 2e-3, "options": {"prune_share": 0.0}}),
        ("dense", {"learning_rate": 2e-3, "options": {"training": "plain"}}),
        ("dense", {"noise": 0.3, "options": {"training": "plain"}}), ("dense", {"inputs": "none"}),
        ("class-uniform", {"options": {"allocation": "class-blind"}}), ("parsimonious", {"estimator": "disarm"}),
        ("parsimonious", {"options": {"start": 0.9}}), ("magnitude", {"options": {"trim": True}}),
    ],
)  # fmt: skip
def test_what_changes_the_run_is_kept(method: str, written: dict[str, Any], small_data: Data) -> None:
    size = next((SIZE[name] for name in ("density", "budget") if name in METHODS[method].needs), {})
    asked = RunSettings(method, epochs=4, batch_size=50, **size | written)
    assert normal(asked, small_data) == asked


def test_gamma_is_a_price(small_data: Data) -> None:
    gamma = RunSettings("parsimonious", options={"gamma": 2.718281828459045})
    assert normal(gamma, small_data) == normal(RunSettings("parsimonious", price=1.0), small_data)


def test_usual_noise_is_that_of_the_kind_of_network(small_data: Data) -> None:
    conv = LeNet5((2, 2, 4), (1, 16, 16), 3)
    for noise, left in ((0.2, None), (0.3, 0.3)):
        settings = RunSettings("dense", epochs=1, noise=noise)
        assert normal_settings(METHODS["dense"], settings, small_data, lambda: conv).noise == left


def test_usual_widths_are_left_out() -> None:
    for widths, left in (((300, 100), None), ((300, 99), (300, 99)), (None, None)):
        assert without_usual_widths(RunSettings("dense", widths=widths)).widths == left
    assert without_usual_widths(RunSettings("dense", network="mlp", widths=(300, 100))).widths == (300, 100)


@pytest.mark.parametrize("name", METHODS)
def test_the_form_of_a_form_is_itself(name: str, small_data: Data) -> None:
    size = next((SIZE[size] for size in ("density", "budget") if size in METHODS[name].needs), {})
    once = normal(RunSettings(name, batch_size=50, **size), small_data)
    assert normal(once, small_data) == once and once.epochs is not None and once.options == {}
