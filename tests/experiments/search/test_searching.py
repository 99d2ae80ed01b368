"""Searches on the executor: run folders, resumption, equal budgets, and what is told on the way."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import bayesprune as bp
from bayesprune.data import Data
from bayesprune.data.cached import load_cached
from bayesprune.errors import BayespruneError, DataError, SettingError, UnknownNameError
from bayesprune.experiments.executor import run_jobs
from bayesprune.experiments.search import running
from bayesprune.experiments.search.calling import BASE
from bayesprune.experiments.search.options import SearchOptions
from bayesprune.experiments.search.progress import Silent, Told, told
from bayesprune.experiments.search.running import Trained, search_of, train
from bayesprune.experiments.search.spaces import GraphSpace
from bayesprune.run.settings import RunSettings
from bayesprune.store.runs import RunRecord

SPACE = GraphSpace(vertices=(6, 8), widths=(1, 3))
OPTIONS = SearchOptions(candidates=5, population=3, batch=1, offspring=3)


@pytest.fixture
def base(small_npz: str) -> RunSettings:
    """Runs of one epoch."""
    return replace(BASE, data=small_npz, epochs=1, batch_size=120)


def pair(data: str) -> list[Trained]:
    """A search with the predictor and a random one."""
    names = ("predictor", "random")
    return [search_of(SPACE, replace(OPTIONS, strategy=name), load_cached(data, None)) for name in names]


def found(searches: Sequence[Trained]) -> list[list[tuple[Any, float]]]:
    return [[(one.genome, one.accuracy) for one in each.search.candidates] for each in searches]


class Stopping(Silent):
    """Presses Ctrl-C once so many runs are finished; counts the runs that were asked for."""

    def __init__(self, after: int) -> None:
        self.left = after

    def finished(self, number: int, folder: Path) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


def test_an_interrupted_search_goes_on_alike_and_trains_nothing_twice(base: RunSettings, tmp_path: Path) -> None:
    whole = pair(base.data)
    train(whole, base, tmp_path / "whole")
    for after in (2, 4):  # in the first round, and in a later one
        with pytest.raises(KeyboardInterrupt):
            train(pair(base.data), base, tmp_path / "parts", watcher=Stopping(after))
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "parts").glob("*/run.json")}
    again = pair(base.data)
    train(again, base, tmp_path / "parts")
    assert found(again) == found(whole)
    assert before and all(file.stat().st_mtime_ns == time for file, time in before.items())
    folders = [[folder.name for folder in each.folders] for each in again]
    assert folders == [[folder.name for folder in each.folders] for each in whole]
    different = {name for own in folders for name in own}
    assert {file.parent.name for file in (tmp_path / "parts").glob("*/run.json")} == different
    assert folders[0][:3] == folders[1][:3] and all(len(set(own)) == 5 for own in folders)


def test_an_equal_genome_is_an_equal_run(base: RunSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two searches that ask for the same candidates make each once, in one call of the executor a round."""
    made: list[int] = []
    plain = run_jobs

    def counting(jobs: Sequence[Any], *args: Any, **kwargs: Any) -> list[Path]:
        made.append(len(jobs))
        return plain(jobs, *args, **kwargs)

    monkeypatch.setattr(running, "run_jobs", counting)
    twins = [search_of(SPACE, OPTIONS, load_cached(base.data, None)) for _ in range(2)]
    train(twins, base, tmp_path)
    assert made == [3, 1, 1] and found(twins[:1]) == found(twins[1:])
    assert len(list(tmp_path.glob("*/run.json"))) == 5


def test_accuracies_are_those_of_the_last_epoch_on_the_validation_split(base: RunSettings, tmp_path: Path) -> None:
    search = search_of(SPACE, replace(OPTIONS, strategy="random"), load_cached(base.data, None))
    train([search], replace(base, epochs=2), tmp_path)  # the first epoch's accuracies are others
    for candidate, folder in zip(search.search.candidates, search.folders, strict=True):
        record = RunRecord.read(folder)
        assert candidate.accuracy == record.history[-1]["validation_accuracy"] and len(record.history) == 2
        assert candidate.cost == record.result["macs"]
    best = max(candidate.accuracy for candidate in search.search.candidates)
    assert search.search.best.accuracy == best == RunRecord.read(search.winner).history[-1]["validation_accuracy"]


@pytest.mark.long
def test_workers_find_what_this_process_finds(base: RunSettings, tmp_path: Path) -> None:
    results = [
        bp.search(
            "graphs", base.data, out=tmp_path / str(workers), workers=workers, epochs=1, batch_size=120,
            vertices=(6, 8), widths=(1, 3), candidates=8, population=4, batch=2, offspring=3,
        )
        for workers in (1, 2)
    ]  # fmt: skip
    one, two = ([(each.genome, each.accuracy) for each in result.candidates] for result in results)
    assert one == two


def searched(data: Any, out: Path, **settings: Any) -> bp.SearchResult:
    small = {"epochs": 1, "batch_size": 120, "candidates": 4, "population": 3, "batch": 1, "offspring": 2}
    return bp.search(data=data, out=out, progress=False, **{"widths": (1, 2), **small, **settings})


@pytest.mark.parametrize("space", ["graphs", "cells"])
def test_the_call_from_python(space: str, small_npz: str, tmp_path: Path) -> None:
    limits: dict[str, dict[str, Any]] = {"graphs": {"vertices": [6, 7]}, "cells": {"vertices": 3, "stages": 2}}
    result = searched(small_npz, tmp_path, space=space, objectives="accuracy,macs", **limits[space])
    assert len(result.candidates) == len(result.records) == 4 and result.best in result.front
    place = result.candidates.index(result.best)
    assert result.record.id == result.records[place].id
    assert result.test_accuracy == result.record.result["accuracy"]
    loaded = result.load()
    assert loaded.evaluate(small_npz).accuracy == pytest.approx(result.test_accuracy)
    assert type(loaded.network).__name__ == {"graphs": "GraphMLP", "cells": "CellNet"}[space]


def test_objects_as_data_and_a_last_run_of_the_winner(small_data: Data, tmp_path: Path) -> None:
    result = searched(small_data, tmp_path, vertices=(6, 7), final_epochs=2)
    assert result.record.settings["epochs"] == 2 and result.record.id not in {one.id for one in result.records}
    assert result.record.settings["network"] == result.best.genome.network
    assert len(list(tmp_path.glob("*/run.json"))) == 5


@pytest.mark.parametrize(
    ("given", "words", "error"),
    [
        ({"space": "trees"}, "there are cells, graphs", UnknownNameError),
        ({"population": 0}, "population must be an integer >= 1, not 0", SettingError),
        ({"candidates": 2}, "2 candidates are fewer than the population of 3", SettingError),
        ({"families": ["watts"]}, "did you mean 'watts-strogatz'", UnknownNameError),
        ({"operations": ["skip"]}, "unknown setting of a search in graphs 'operations'", UnknownNameError),
        ({"network": "lenet5"}, "unknown setting of a search in graphs 'network'", UnknownNameError),
        ({"epochs": 0}, "epochs is 0", SettingError),
        ({"final_data": "mnist5k"}, "without final_epochs", SettingError),
        ({"final_epochs": 0}, "final_epochs must be", SettingError),
        ({"most_macs": 10}, "at most 10 MACs", SettingError),
        ({"data": "diabetes"}, "has no classes", SettingError),
        ({"data": 3}, "data", DataError),
        ({"space": "cells", "data": "wine"}, "cellnet cannot take inputs of shape", BayespruneError),
    ],
)
def test_what_cannot_be_searched(
    given: dict[str, Any], words: str, error: type[BayespruneError], small_npz: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=words):
        searched(**{"data": small_npz, "out": tmp_path / "out", **given})
    assert not (tmp_path / "out").exists()


def test_what_is_told_on_the_way(
    base: RunSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("bayesprune.experiments.search.progress.monotonic", lambda: now[0])
    plain = Told.finished

    def later(self: Told, number: int, folder: Path) -> None:
        now[0] += 10.0  # every run takes ten seconds
        plain(self, number, folder)

    monkeypatch.setattr(Told, "finished", later)

    def lines() -> list[str]:
        with told(tmp_path) as watcher:
            search = search_of(SPACE, replace(OPTIONS, strategy="random"), load_cached(base.data, None))
            train([search], base, tmp_path, watcher=watcher, later=3)
        return capsys.readouterr().err.splitlines()

    first = lines()
    assert [line.split()[0] for line in first] == [f"[{count}/8]" for count in range(1, 6)]
    assert first[0].endswith("about 1:10 left") and first[-1].endswith("about 0:30 left")
    assert all("width" in line and "validation accuracy" in line for line in first)
    assert lines() == ["reused 5 finished runs"]
