"""The part `search`: figures by hand from searches made up, and the whole part on small data."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bayesprune.errors import SettingError
from bayesprune.experiments.papers.hidden_structures import search
from bayesprune.experiments.papers.hidden_structures.search_tables import (
    best_so_far,
    prediction_table,
    strategies_table,
    target_of,
)
from bayesprune.experiments.papers.results import write_results
from bayesprune.experiments.search.evolution import Candidate
from bayesprune.experiments.search.options import STRATEGIES
from bayesprune.experiments.search.spaces import CellSpace, GraphSpace


def made_up(accuracies: list[float], predicted: list[tuple[float, float] | None] | None = None) -> Any:
    """A search with these validation accuracies; costs are 10, 20, ..."""
    given = predicted or [None] * len(accuracies)
    candidates = [
        Candidate(place, accuracy, 10 * place, told)
        for place, (accuracy, told) in enumerate(zip(accuracies, given, strict=True), 1)
    ]
    best = max(candidates, key=lambda one: one.accuracy)
    return SimpleNamespace(search=SimpleNamespace(candidates=candidates, best=best))


SEARCHES: Any = {
    "predictor": [made_up([0.5, 0.8, 0.9]), made_up([0.5, 0.6, 0.7])],
    "evolution": [made_up([0.5, 0.6, 0.6]), made_up([0.5, 0.7, 0.6])],
    "random": [made_up([0.5, 0.4, 0.8]), made_up([0.5, 0.7, 0.6])],
}


def test_figures_by_hand() -> None:
    assert best_so_far(SEARCHES["random"][0]) == [0.5, 0.5, 0.8]
    target = target_of("here", SEARCHES)
    assert target.wanted == "better in 4 of 5 seeds"
    assert target.measured == "better in 1 of 2, by +5.00 points on average" and target.verdict == "not measured"
    records: Any = [SimpleNamespace(result={"accuracy": 0.5}), SimpleNamespace(result={"accuracy": 0.6})]
    table = strategies_table(SEARCHES, dict.fromkeys(STRATEGIES, records))
    rows = {row[0]: row for row in table.rows}
    assert rows["predictor"][1:] == ("80.00 ± 14.14", "55.00 ± 7.07", "1 of 2, 1 alike", "2.5", "30")
    assert rows["evolution"][3:5] == ("0 of 2, 1 alike", "more than 3")
    assert rows["random"][3:5] == ("-", "-") and rows["random"][5] == "25"


def test_five_seeds_of_which_four_are_better_are_enough() -> None:
    seeds = {"predictor": [made_up([0.9])] * 4 + [made_up([0.5])], "random": [made_up([0.6])] * 5}
    assert target_of("here", seeds).verdict == "reached"
    seeds["predictor"][3] = made_up([0.6])  # alike is not better
    assert target_of("here", seeds).verdict == "MISSED"


def test_predictions_by_hand() -> None:
    told = [None, (0.5, 0.1), (0.6, 0.1), (0.7, 0.01)]
    table = prediction_table([made_up([0.2, 0.55, 0.65, 0.75], told)])
    assert table.rows == (("3", "1.00", "+5.00", "67"),)
    assert prediction_table([made_up([0.2, 0.3])]).rows == ()


def test_the_whole_part_on_small_data(small_npz: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = search.on_graphs(small_npz)
    plan = replace(
        plan,
        space=GraphSpace(vertices=(6, 7), widths=(1, 2)),
        options=replace(plan.options, candidates=4, population=2, batch=1, offspring=2),
        base=replace(plan.base, epochs=1, batch_size=120),
    )
    longer = replace(plan, final=replace(plan.base, epochs=2))
    monkeypatch.setattr(search, "comparisons", lambda quick, data: [longer])
    findings = search.evaluate(tmp_path, repeats=1)
    values = write_results("hidden-structures-search", findings, [], tmp_path)
    found = json.loads((tmp_path / "results.json").read_text("utf-8"))["comparisons"][0]["searches"]
    assert [one["strategy"] for one in found] == list(STRATEGIES)
    runs = {candidate["run"] for one in found for candidate in one["candidates"]}
    winners = {one["best"]["network"] for one in found}
    assert len(runs) + len(winners) == len(list(tmp_path.glob("*/run.json")))
    for one in found:
        best = max(candidate["validation_accuracy"] for candidate in one["candidates"])
        assert one["best"]["validation_accuracy"] == best and len(one["candidates"]) == 4
    assert all((tmp_path / name).is_file() for name in values["pictures"]) and len(values["pictures"]) == 2
    assert "82.4" in (tmp_path / "tables.md").read_text("utf-8")


def test_what_is_searched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BAYESPRUNE_DATA", str(tmp_path))
    assert [one.data for one in search.comparisons()] == ["mnist5k", "mnist5k"]
    assert [type(one.space) for one in search.comparisons()] == [GraphSpace, CellSpace]
    assert [one.data for one in search.comparisons(quick=True)] == ["mnist5k"]
    colours = search.comparisons(data="cifar10@5000/20000")[0]
    assert isinstance(colours.space, CellSpace) and colours.final is not None and colours.final.data == "cifar10"
    with pytest.raises(SettingError, match="repeats"):
        search.evaluate(tmp_path, repeats=0)
