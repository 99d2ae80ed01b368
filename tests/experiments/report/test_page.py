"""The page as a browser would take it: well formed, self-contained, harmless, and with the right numbers."""

import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from bayesprune.errors import SettingError, StoreError
from bayesprune.experiments.report import write_report
from bayesprune.store.runs import RunRecord

MakeRun = Callable[..., RunRecord]
VOID = {"meta", "br", "hr", "img", "input", "link"}
HOSTILE = "<script>alert(1)</script>\"'&$x_{y$\x00\ud800{{7*7}}\u4e2d"


class Page(HTMLParser):
    """Elements, ids, tables and text of a page; fails on tags that do not match."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text: list[str] = []
        self.cells: list[tuple[str, str]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)
        if tag in ("td", "th"):
            self.cells.append((dict(attrs).get("scope") or "", ""))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" in self.open:
            return
        self.text.append(data)
        if {"td", "th"} & set(self.open):
            scope, before = self.cells[-1]
            self.cells[-1] = (scope, before + data)

    def values(self, name: str) -> list[str]:
        return [value for _, key, value in self.attributes if key == name]

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


@pytest.fixture
def study(make_run: MakeRun) -> list[RunRecord]:
    return [make_run(method, seed) for method in ("dense", "parsimonious", "random") for seed in range(3)]


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    def write(records: list[RunRecord], **texts: str) -> str:
        return write_report(records, tmp_path / "new" / "report.html", **texts).read_text("utf-8")

    return write


def test_the_page_is_well_formed_and_stands_alone(study: list[RunRecord], write: Callable[..., str]) -> None:
    text = write(study, verdict="parsimonious wins.")
    page = Page(text)
    assert re.findall(r"https?:|//[a-z]|@import|url\((?!#)", text) == []
    assert not {"script", "link", "iframe", "object", "embed", "form"} & set(page.tags)
    references = page.values("src") + page.values("href")
    assert all(value.startswith(("data:image/png;base64,", "#")) for value in references)
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    used = {value[1:] for value in page.values("href") if value.startswith("#")}
    used |= {name for value in re.findall(r"url\(#([^)]+)\)", text) for name in [value]}
    used |= {name for value in page.values("aria-labelledby") for name in value.split()}
    assert used <= set(ids)
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text


def test_pictures_and_tables_can_be_read_aloud(study: list[RunRecord], write: Callable[..., str]) -> None:
    page = Page(write(study))
    pictures = page.tags.count("svg")
    assert pictures >= 1 + 3 + 2 + 2  # accuracy, one a group, two over epochs, pixels of two methods
    assert page.values("role").count("img") == pictures
    assert page.tags.count("title") == pictures + 1
    assert page.tags.count("desc") == pictures
    assert page.tags.count("caption") == page.tags.count("table")
    scopes = {scope for scope, _ in page.cells}
    assert {"row", "col"} <= scopes


def test_numbers_in_the_summary_are_those_of_numpy(study: list[RunRecord], write: Callable[..., str]) -> None:
    page = Page(write(study))
    cells = [text for _, text in page.cells]
    start = cells.index("parsimonious")
    results = [run.result for run in study if run.result["method"] == "parsimonious"]
    dense = {run.result["seed"]: run.result["train_seconds"] for run in study if run.result["method"] == "dense"}

    def shown(values: list[float], decimals: int) -> str:
        return f"{np.mean(values):,.{decimals}f} ± {np.std(values, ddof=1):,.{decimals}f}"

    expected = ["parsimonious", "3", shown([100 * row["accuracy"] for row in results], 1)]
    expected += [shown([row[key] for row in results], 3) for key in ("nll", "ece")]
    expected += [shown([row[key] for row in results], 0) for key in ("params", "nonzero_weights", "macs")]
    assert cells[start : start + len(expected)] == expected
    seconds = [row["train_seconds"] for row in results]
    after = start + len(expected) + 1  # latency stands between
    assert cells[after] == shown(seconds, 1)
    assert cells[after + 1] == shown([row["train_seconds"] / dense[row["seed"]] for row in results], 2)


def test_the_page_says_what_was_done(study: list[RunRecord], write: Callable[..., str]) -> None:
    words = Page(write(study, title="My study", verdict="A beats B by 1.0 points.")).words
    for phrase in (
        "My study",
        "A beats B by 1.0 points.",
        "last epoch",
        "validation split",
        "3 seeds (0, 1 and 2)",
        "sample standard deviation over seeds",
        "t-interval of the mean paired difference",
        "3,500 to train, 500 to validate, 1,000 to test",
    ):
        assert phrase in words


def test_hostile_names_are_harmless(make_run: MakeRun, write: Callable[..., str]) -> None:
    runs = [
        make_run(f"parsimonious{HOSTILE}", seed, bayesian=True, network=HOSTILE, data=HOSTILE, sizes={HOSTILE: 5})
        for seed in (0, 1)
    ]
    text = write(runs, title=HOSTILE, verdict=HOSTILE)
    page = Page(text)
    assert "script" not in page.tags
    assert "49" not in page.words.split(HOSTILE[:8])[0]
    assert page.words.count("<script>alert(1)</script>\"'&$x_{y$") >= 10  # shown as it is, everywhere
    assert "\x00" not in text
    assert {name for _, name, _ in page.attributes if name.startswith("on")} == set()


def test_the_same_runs_give_the_same_page(study: list[RunRecord], write: Callable[..., str]) -> None:
    assert write(study) == write(study)


def test_a_single_run_compares_nothing(make_run: MakeRun, write: Callable[..., str]) -> None:
    page = Page(write([make_run("parsimonious")]))
    assert "a single run" in page.words
    assert "Accuracy against MACs" not in page.words
    assert "±" not in page.words
    assert page.words.count("inclusion probability") >= 3


def test_one_seed_a_method_has_no_spread(make_run: MakeRun, write: Callable[..., str]) -> None:
    words = Page(write([make_run("dense"), make_run("random")])).words
    assert "One seed a method" in words
    assert "±" not in words
    assert "Every method was run with 1 seed (0)." in words


def test_without_a_posterior_the_page_says_so(make_run: MakeRun, write: Callable[..., str]) -> None:
    words = Page(write([make_run("dense"), make_run("random")])).words
    assert "None of these runs has a posterior" in words


def test_without_input_gates_there_is_no_picture_of_pixels(make_run: MakeRun, write: Callable[..., str]) -> None:
    sizes = {"fc1": 8, "fc2": 6}
    assert "Surviving input pixels" not in write([make_run("parsimonious", sizes=sizes)])
    channels = {"inputs": 3, "fc1": 8}
    page = write([make_run("parsimonious", sizes=channels, input_shape=(3, 4, 4))])
    assert "Surviving input pixels" not in page


def test_without_history_and_layers_the_rest_is_there(make_run: MakeRun, write: Callable[..., str]) -> None:
    run = make_run("dense")
    run.history.clear()
    run.layers.clear()
    words = Page(write([run])).words
    assert "epoch by epoch" not in words
    assert "Layer by layer" not in words
    assert "Settings and versions" in words


def test_layers_that_stay_whole_are_listed(make_run: MakeRun, write: Callable[..., str]) -> None:
    run = make_run("l1-units")
    assert "keep all their channels" not in Page(write([run])).words
    run.whole.update({"fc1": "named in keep", "unused": "it is <never> run"})
    said = "keep all their channels: fc1: named in keep; unused: it is <never> run."
    assert said in Page(write([run])).words


def test_different_seeds_are_named(make_run: MakeRun, write: Callable[..., str]) -> None:
    words = Page(write([make_run("dense", 0), make_run("random", 0), make_run("random", 7)])).words
    assert "dense with 1 seed (0) and random with 2 seeds (0 and 7)" in words


def test_no_run_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="no run to report on"):
        write_report([], tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_named(make_run: MakeRun, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="report.html"):
        write_report([make_run("dense")], tmp_path / "file" / "report.html")


def test_importing_the_report_loads_nothing_heavy() -> None:
    code = (
        "import sys, bayesprune.experiments.report, bayesprune.experiments.summary\n"
        "import bayesprune.experiments.posterior_view\n"
        "print({'matplotlib', 'jinja2', 'arviz', 'xarray', 'pandas', 'torch', 'rich'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_page_tells_what_happened_to_the_gates_and_what_runs_warn_of(
    make_run: MakeRun, write: Callable[..., str]
) -> None:
    ends = [1, 2, 3] + [0] * 27
    page = Page(write([make_run("parsimonious", ends=ends, warnings=["<b>it</b> lost 9 points"])]))
    assert "What happened to the gates of parsimonious, seed 0" in page.words
    cells = [text for _, text in page.cells]
    start = cells.index("all groups")
    assert cells[start : start + 6] == ["all groups", "30", "27", "1", "1", "1"]
    assert "Rows marked with ! have runs that warn:" in page.words and "<b>it</b> lost 9 points" in page.words
    assert "runs that warn" not in write([make_run("parsimonious")])
