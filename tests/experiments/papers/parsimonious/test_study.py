"""The whole report from made-up runs: page, Markdown, pictures and results.json."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bayesprune.experiments.papers import paper
from bayesprune.experiments.papers.gate_paths import gates_sketch, paths, sample
from bayesprune.experiments.papers.parsimonious.plots import widths_sketch
from bayesprune.experiments.papers.parsimonious.tables import factor_tables, published_table, time_table
from bayesprune.experiments.papers.results import write_results
from bayesprune.experiments.papers.rows import Row, RowRuns

MakeStudy = Callable[..., list[RowRuns]]
STUDY = paper("parsimonious")
PICTURES = {
    f"{kind}-{network}.png"
    for kind in ("error-macs", "gates", "epoch-macs", "epoch-seconds", "widths")
    for network in ("lenet300", "lenet5")
}


def plausible(row: Row, seed: int) -> tuple[float, ...]:
    """Something like the measured results, so that pictures can be looked at."""
    jitter = np.random.default_rng([seed, len(row.value)]).normal(size=2)
    mlp = row.network == "lenet300"
    if row.factor == "dense":
        return (1.5 if mlp else 0.8, 266_200 if mlp else 2_293_000, 266_610 if mlp else 431_080, 0.0)
    price = row.settings.price or 14.0
    assert isinstance(price, float)
    macs = (21_000 * (14 / price) ** 0.7 if mlp else 140_000 * (40 / price)) * (1 + 0.03 * jitter[0])
    error = (1.62 * (21_000 / macs) ** 0.25 if mlp else 0.85 * (140_000 / macs) ** 0.2) + 0.06 * jitter[1]
    return (error, round(macs), 4_200 if row.factor == "flatten" else 19_000, 0.012)


def test_everything_is_written_and_readable(make_study: MakeStudy, tmp_path: Path) -> None:
    found = make_study(STUDY.rows(), plausible)
    values = write_results("parsimonious", STUDY.evaluate(found), found, tmp_path / "out")
    files = {file.name for file in (tmp_path / "out").iterdir()}
    assert files == {"parsimonious.html", "tables.md", "results.json"} | PICTURES
    assert all((tmp_path / "out" / name).read_bytes().startswith(b"\x89PNG\r\n\x1a\n") for name in PICTURES)
    page = (tmp_path / "out" / "parsimonious.html").read_text("utf-8")
    assert not re.search(r"(src|href)=\"(?!#|data:)", page) and "<script" not in page
    assert page.count("<svg") == len(PICTURES)
    identities = re.findall(r'\bid="([^"]+)"', page)
    assert len(identities) == len(set(identities))
    for text in ("VIB", "97-71-33", "remembered, not re-read", "best test error seen in training", "MISSED", "reached"):
        assert text in page
    markdown = (tmp_path / "out" / "tables.md").read_text("utf-8")
    for network in ("lenet300", "lenet5"):
        for table in (published_table(network, found), *factor_tables(network, found)):
            assert table.caption in markdown
            assert all(f"| {' | '.join(row)} |" in markdown for row in table.rows)
    assert json.loads((tmp_path / "out" / "results.json").read_text()) == json.loads(json.dumps(values))
    assert set(re.findall(r"\]\(([^)]+)\)", markdown)) == PICTURES


def test_results_hold_every_run_and_verdict(make_study: MakeStudy, tmp_path: Path) -> None:
    rows = [row for row in STUDY.rows("lenet5") if row.factor in ("dense", "base", "start")]
    found = make_study(rows, plausible)
    values = write_results("parsimonious", STUDY.evaluate(found), found, tmp_path)
    assert [(row["factor"], len(row["runs"])) for row in values["rows"]] == [
        ("base", 5), ("dense", 1), ("start", 1), ("start", 5), ("start", 1),
    ]  # fmt: skip
    run = values["rows"][0]["runs"][3]
    assert run["seed"] == 3 and run["gates"] == 570 and run["accuracy"] == found[0].records[3].result["accuracy"]
    assert {target["subject"] for target in values["targets"]} == {"LeNet-5", "LeNet-5, flatten gates"}
    assert list(values["published"]) == ["lenet5"]


def test_rows_of_ours_stand_above_published_ones(make_study: MakeStudy) -> None:
    rows = [row for row in STUDY.rows("lenet300") if row.factor in ("dense", "base")]
    found = make_study(rows, lambda row, seed: (1.5 + 0.1 * seed, 20_000 + seed), {"train_macs_ratio": 0.1})
    table = published_table("lenet300", found)
    ours, published = table.rows[1], {row[0]: row for row in table.rows}
    assert ours[:2] == ("ours", "this study, 5 seeds")
    assert ours[3] == "1.70 ± 0.16" and ours[6] == "20,002 (20,000 to 20,004)" and ours[7] == "0.100 ± 0.000"
    assert published["VIB"][2:7] == ("97-71-33", "1.6", "-", "9,674", "9,560")
    assert published["RigL"][5:7] == ("-", "-")
    costs = [int(row[6].replace(",", "")) for row in table.rows[2:] if row[6] != "-"]
    assert costs == sorted(costs) and len(table.rows) == 2 + 9


def test_time_is_held_against_dense_runs(make_study: MakeStudy) -> None:
    rows = [row for row in STUDY.rows("lenet5") if row.factor in ("dense", "base")]
    found = make_study(rows, result={"train_macs_ratio": 0.1})
    for one in found:
        for run in one.records:
            run.result["train_seconds"] = 200.0 if one.row.factor == "dense" else 40.0 + 5 * run.result["seed"]
    table = time_table("lenet5", found)
    assert table is not None
    assert [row[3] for row in table.rows] == ["1.00", "0.25"]  # (40 + 45 + 50 + 55 + 60) / 5 = 50
    assert time_table("lenet5", found[:1]) is None


def test_paths_of_gates_go_from_the_start_to_the_decision(make_study: MakeStudy) -> None:
    rows = [row for row in STUDY.rows("lenet300") if row.value == "0.9"]
    run = make_study(rows)[0].records[0]
    epochs, values = paths(run, 0.9)
    posterior: Any = run.posterior
    assert values.shape == (42, 1184) and epochs[:3].tolist() == [0.0, 1.0, 2.0] and epochs[-1] == 40.5
    assert (values[0] == 0.9).all() and set(np.unique(values[-1])) == {0.0, 1.0}
    assert (values[1:-1] == posterior["trace"].numpy()).all()
    sketch = gates_sketch(run, "lenet300", "LeNet-300-100", 0.9)
    assert sketch is not None and f"{len(run.groups[0]['kept'])} of 784 kept" in sketch.description


def test_a_run_without_a_posterior_has_no_paths(make_study: MakeStudy) -> None:
    dense = [row for row in STUDY.rows("lenet300") if row.factor == "dense"]
    assert gates_sketch(make_study(dense)[0].records[0], "lenet300", "LeNet-300-100", 0.5) is None


@pytest.mark.parametrize(("count", "drawn"), [(1, [0]), (3, [0, 1, 2]), (5, [0, 2, 4])])
def test_a_sample_reaches_over_all_gates(count: int, drawn: list[int]) -> None:
    assert sample(count, 3) == drawn


def test_one_starting_size_is_no_picture_of_widths(make_study: MakeStudy) -> None:
    rows = [row for row in STUDY.rows("lenet5") if row.factor == "widths"]
    found = make_study(rows)
    assert widths_sketch("lenet5", found[:1]) is None
    sketch = widths_sketch("lenet5", list(reversed(found)))
    means = [len(one.records[0].groups[0]["kept"]) for one in found if len(one.records) == 1]
    assert sketch is not None and sketch.description.startswith(
        f"Mean final widths from the smallest to the largest start: conv1: {means[0]}, "
    )


def test_the_page_of_other_data_says_that_published_rows_do_not_compare(make_study: MakeStudy) -> None:
    rows = [row for row in STUDY.rows("lenet5", data="mnist5k") if row.factor == "base"]
    page = STUDY.evaluate(make_study(rows)).document.page()
    assert "these runs are on mnist5k, so that they cannot be compared" in page
    rows = [row for row in STUDY.rows("lenet5") if row.factor == "base"]
    assert "cannot be compared" not in STUDY.evaluate(make_study(rows)).document.page()
