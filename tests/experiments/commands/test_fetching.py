"""Data sets that are fetched before the runs that need them, and what is said of it."""

from dataclasses import replace
from typing import Any

import pytest

import bayesprune as bp
from bayesprune.data import Data, describe
from bayesprune.experiments.commands import fetching


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch, small_data: str) -> list[str]:
    """The names of data sets that are loaded from the net, which is played."""
    names: list[str] = []
    small = bp.load_data(small_data)

    def load(name: str, *, root: object = None, progress: Any = None) -> Data:
        names.append(name)
        progress("digits.gz", 10, 100)
        progress("digits.gz", 100, 100)
        progress("unpacking digits.gz", 1, None)
        return replace(small, name=name)

    monkeypatch.setattr(fetching, "load", load)
    return names


def test_only_what_is_absent_and_can_be_fetched_is_fetched(loaded: list[str], command: Any, small_data: str) -> None:
    fetching.fetch_missing(["mnist5k", "svhn", small_data, "no such data"])
    assert loaded == ["svhn"]


def test_without_a_terminal_each_file_gets_one_line(loaded: list[str], command: Any) -> None:
    outcome = command("data", "mnist", "--json")
    assert loaded == ["mnist"]
    assert outcome.out.startswith('{"schema": 1, "name": "mnist"') and outcome.out.count("\n") == 1
    assert outcome.err == "fetching digits.gz\nunpacking digits.gz\n"


def test_bad_settings_are_refused_before_anything_is_fetched(loaded: list[str], command: Any) -> None:
    for flags in (
        ("--method", "dens"),
        ("--epochs", -1),
        ("--epochs", 0),
        ("--budget", "much"),
        ("--method", "magnitude"),
        ("--out", "/proc/nothing/here"),
    ):
        assert command("prune", "--data", "mnist", *flags).status == 2
    assert not loaded
    assert {info.name for info in describe() if info.present is False} >= {"mnist", "svhn"}
