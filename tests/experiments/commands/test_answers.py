"""What the commands answer: the JSON objects as they are promised, sentences, and nothing else on standard output."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from bayesprune.experiments.compare import COMPARED
from bayesprune.experiments.study import read_study
from bayesprune.run.tree.files import load_tree

ASKED = ["id", "price", "budget", "density_asked", "epochs"]
RUN_KEYS = [
    *ASKED,
    "method", "seed", "accuracy", "nll", "ece", "brier", "task", "metrics", "recalls", "params", "dense_params",
    "nonzero_weights",
    "macs", "unattributed_macs",
    "latency_ms", "density", "architecture", "undecided_gates", "decided_at_end", "closed_by_price", "cut_for_budget",
    "reopened", "train_seconds", "train_macs_ratio",
]  # fmt: skip
COUNTS = [
    "seed", "params", "dense_params", "nonzero_weights", "macs", "unattributed_macs", "undecided_gates",
    "decided_at_end", "closed_by_price", "cut_for_budget", "reopened",
]  # fmt: skip
NO_NUMBERS = ("method", "architecture", "task", "metrics", "recalls")
SHORT = ["--epochs", 2, "--widths", 12, 6, "--batch-size", 20]
PARAMETERS = 64 * 12 + 12 + 12 * 6 + 6 + 6 * 3 + 3


def the_object(text: str) -> dict[str, Any]:
    """The JSON object that is all of the text, on one line."""
    assert text.endswith("\n") and text.count("\n") == 1
    found = json.loads(text, parse_constant=pytest.fail)
    assert isinstance(found, dict)
    return found


def check_schema(found: dict[str, Any]) -> None:
    """Every key and its type, as users' programs expect them."""
    assert list(found) == ["schema", "data", "network", "split_sizes", "epochs", "runs", "summary", "report"]
    assert found["schema"] == 2
    assert isinstance(found["data"], str) and isinstance(found["network"], str) and isinstance(found["epochs"], int)
    assert list(found["split_sizes"]) == ["train", "validation", "test"]
    assert Path(found["report"]).is_file()
    for run in found["runs"]:
        assert [key for key in run if key != "warnings"] == RUN_KEYS
        assert isinstance(run["method"], str) and re.fullmatch("[0-9a-f]{12}", run["id"])
        assert run["epochs"] == found["epochs"] and type(run["price"]) in (float, type(None))
        assert (run["budget"] is None) == (run["method"] not in ("l1-units", "random"))
        assert (run["density_asked"] is None) == (run["method"] != "magnitude")
        assert all(type(run[key]) is int and run[key] >= 0 for key in COUNTS)
        numbers = [run[key] for key in RUN_KEYS if key not in (*ASKED, *COUNTS, *NO_NUMBERS)]
        assert all(type(number) is float and number >= 0.0 for number in numbers)
        assert run["task"] == "classification" and list(run["metrics"])[0] == "accuracy"
        assert run["metrics"]["accuracy"]["value"] == run["accuracy"] and run["metrics"]["nll"]["better"] == "lower"
        assert all(0 <= recall <= 1 for recall in run["recalls"])
        assert run["accuracy"] <= 1.0 and run["density"] <= 1.0 and run["task"] == "classification"
        assert all(run[key] == run["metrics"][key]["value"] for key in ("accuracy", "nll", "ece", "brier"))
        assert all({"value", "label", "meaning", "unit", "better"} == set(one) for one in run["metrics"].values())
        assert len(run["recalls"]) == 3 and min(run["recalls"]) == run["metrics"]["lowest_recall"]["value"]
        assert all(isinstance(name, str) and type(kept) is int for name, kept in run["architecture"].items())
        assert run["undecided_gates"] == 0
    for row in found["summary"]:
        assert {"method", "label", "n", "accuracy", "nll", "ece", "params", "macs", "latency_ms"} <= row.keys()
        assert all(set(row[key]) == {"mean", "sd"} for key in row if key not in ("method", "label", "n"))


def test_compare_prints_one_object_and_keeps_all_else_apart(command: Any, small_data: str, tmp_path: Path) -> None:
    outcome = command("compare", "--data", small_data, *SHORT, "--seeds", 2, "--workers", 1, "--json")
    found = the_object(outcome.out)
    check_schema(found)
    assert outcome.status == 0
    assert (found["network"], found["data"], found["epochs"]) == ("lenet300", small_data, 2)
    assert sum(found["split_sizes"].values()) == 120
    assert [(run["method"], run["seed"]) for run in found["runs"]] == [(m, s) for m in COMPARED for s in (0, 1)]
    assert [(row["method"], row["n"]) for row in found["summary"]] == [(method, 2) for method in COMPARED]
    assert found["report"] == "runs/report.html"
    of = {(run["method"], run["seed"]): run for run in found["runs"]}
    for seed in (0, 1):
        ours = of["parsimonious", seed]
        assert of["dense", seed]["params"] == PARAMETERS
        assert of["l1-units", seed]["macs"] <= ours["macs"] and of["random", seed]["macs"] <= ours["macs"]
        assert of["magnitude", seed]["density"] == pytest.approx(ours["density"], abs=1 / PARAMETERS)
    accuracies = [of["dense", seed]["accuracy"] for seed in (0, 1)]
    assert found["summary"][0]["accuracy"]["mean"] == pytest.approx(sum(accuracies) / 2)

    lines = outcome.err.splitlines()
    assert re.fullmatch(r"10 runs, 100 steps, 1 at a time, into runs", lines[0])
    assert len(lines) == 11
    assert re.fullmatch(r"\[1/10\] parsimonious seed 0: accuracy \d+\.\d %, [\d,]+ MACs, \d+\.\d s", lines[1])
    assert lines[-1].startswith("[10/10] ")

    again = command("compare", "--data", small_data, *SHORT, "--seeds", 2, "--workers", 1)
    assert again.status == 0
    assert again.err.splitlines()[1:] == ["reused 10 finished runs"]
    assert "parsimonious" in again.out.splitlines()[-2] and "Against dense, parsimonious" in again.out.splitlines()[-2]
    assert again.out.splitlines()[-1] == "report: runs/report.html"
    for method in COMPARED:
        assert re.search(rf"^ {method}\b", again.out, re.MULTILINE)

    reported = the_object(command("report", "runs", "--out", "page.html", "--json").out)
    assert reported["report"] == "page.html"
    assert sorted(map(str, reported["runs"])) == sorted(map(str, found["runs"]))


def test_prune_prints_the_same_object_with_one_run(command: Any, small_data: str) -> None:
    outcome = command("prune", "--data", small_data, *SHORT, "--seed", 3, "--out", "mine/here", "--json")
    found = the_object(outcome.out)
    check_schema(found)
    assert [(run["method"], run["seed"]) for run in found["runs"]] == [("parsimonious", 3)]
    assert Path(found["report"]).parent.parent == Path("mine/here")


def test_prune_says_what_it_came_to(command: Any, small_data: str) -> None:
    flags = ("--data", small_data, *SHORT)
    found = the_object(command("prune", *flags, "--json").out)["runs"][0]
    sentence, page = command("prune", *flags).out.splitlines()[-2:]
    dense = 64 * 12 + 12 * 6 + 6 * 3
    assert sentence.startswith(
        f"parsimonious, lenet300 on {small_data}, seed 0: accuracy {100 * found['accuracy']:.1f} % on 24 test images "
        f"with {found['macs']:,} MACs a sample, {100 * found['macs'] / dense:.3g} % of the dense network's. "
    )
    assert "82 gates" in sentence.partition("network's. ")[2]
    assert page.startswith("report: runs/") and Path(page.removeprefix("report: ")).is_file()
    dense_run = command("prune", "--method", "dense", *flags).out.splitlines()[-2]
    assert f"with {dense:,} MACs a sample, 100 % of the dense network's." in dense_run


def test_a_study_of_one_method_says_between_what_its_runs_lie(command: Any, small_data: str, tmp_path: Path) -> None:
    text = f'title = "Prices"\nout = "grid"\ndata = "{small_data}"\nepochs = 1\nwidths = [12, 6]\nseeds = 2\n'
    (tmp_path / "study.toml").write_text(text + "[method.parsimonious]\nprice = [0.5, 5]\n")
    outcome = command("study", "study.toml", "--workers", 1)
    assert outcome.status == 0, outcome.err
    sentence = outcome.out.splitlines()[-2]
    assert sentence.startswith(f"4 runs of parsimonious with 2 different settings, lenet300 on {small_data}: accuracy ")
    assert "% of the dense network's." in sentence and "MACs a sample" in sentence
    assert "Prices" in (tmp_path / "grid" / "report.html").read_text()
    found = the_object(command("study", "study.toml", "--workers", 1, "--json").out)
    check_schema(found)
    assert [row["label"] for row in found["summary"]] == ["parsimonious (price=0.5)", "parsimonious (price=5.0)"]
    assert [(run["price"], run["seed"]) for run in found["runs"]] == [(0.5, 0), (0.5, 1), (5.0, 0), (5.0, 1)]


def test_posterior_writes_pictures_and_tables(command: Any, small_data: str, tmp_path: Path) -> None:
    for seed in (0, 1):
        assert command("prune", "--data", small_data, *SHORT, "--seed", seed).status == 0
    bayesian = sorted(folder.name for folder in (tmp_path / "runs").iterdir())
    assert command("prune", "--method", "dense", "--data", small_data, *SHORT).status == 0  # is passed over
    outcome = command("posterior", "runs", "--draws", 50, "--json")
    found = the_object(outcome.out)
    assert (outcome.status, outcome.err) == (0, "")
    assert found["schema"] == 1 and found["restarts"] == 2
    assert sorted(found["runs"]) == bayesian
    assert {name: row["gates"] for name, row in found["groups"].items()} == {"inputs": 64, "fc1": 12, "fc2": 6}
    names = {"plot": "posterior", "agreement_plot": "agreement"}
    names |= {"calibration_plot": "calibration", "entropy_plot": "entropy"}
    for key, name in names.items():
        assert Path(found[key]).name == f"{name}.png" and Path(found[key]).is_file(), key
    assert [one["run"] for one in found["evidence"]] == found["runs"]  # that of each run, in its own folder
    for one in found["evidence"]:
        assert Path(one["plot"]) == Path("runs") / one["run"] / "evidence.png" and Path(one["plot"]).is_file()
        assert set(one["found"]["groups"]) <= {"inputs", "fc1", "fc2"} and one["no_evidence"] is None
    assert found["predictions"]["examples"] == 24 and found["predictions"]["draws"] == 50
    assert set(found["predictions"]["entropy"]) == {"right", "wrong"} and found["no_predictions"] is None

    without = the_object(command("posterior", "runs", "--examples", 0, "--json").out)
    assert (without["evidence"], without["predictions"], without["no_predictions"]) == ([], None, None)


@pytest.mark.long
def test_posterior_in_words_and_as_netcdf(command: Any, small_data: str, tmp_path: Path) -> None:
    for seed in (0, 1):
        assert command("prune", "--data", small_data, *SHORT, "--seed", seed).status == 0
    bayesian = sorted(folder.name for folder in (tmp_path / "runs").iterdir())
    arguments = ("runs", "--draws", 50, "--plot", "gates.svg", "--netcdf", "draws.nc")
    text = command("posterior", *arguments).out
    assert "plot: gates.svg" in text and "R-hat" in text and "24 test examples, the mean of 50 draws of 2" in text
    assert (tmp_path / "gates.svg").read_text().startswith("<?xml")
    for run in bayesian:
        assert re.search(rf"Run {run}, seed [01]: evidence in nats", text)
        assert (tmp_path / f"gates-evidence-{run}.svg").is_file()
    assert all((tmp_path / f"gates-{name}.svg").is_file() for name in ("agreement", "calibration", "entropy"))
    tree = load_tree(tmp_path / "draws.nc")
    assert dict(tree["posterior"].sizes) == {"chain": 2, "draw": 50, "gate": 82, "group": 3}
    assert tree["log_likelihood"]["y"].shape == (2, 50, 24) and tree["sample_stats"]["macs"].shape == (2, 50)
    alone = command("posterior", Path("runs") / bayesian[0], "--draws", 50, "--plot", "one.svg").out
    assert "\nevidence in nats" in alone and (tmp_path / "one-evidence.svg").is_file()
    assert not (tmp_path / "one-agreement.svg").exists()


def test_data_lists_what_there_is(command: Any, tmp_path: Path) -> None:
    found = the_object(command("data", "--json").out)
    entries = {entry["name"]: entry for entry in found["data"]}
    assert list(entries) == [
        "mnist5k", "diabetes", "breast-cancer", "wine", "teacher200", "teacher2000", "layers1", "layers2",
        "layers3", "reber", "reber-embedded", "reber-hard", "mnist", "fashion-mnist", "cifar10", "svhn", "reber-study",
        "folder:PATH", "npz:PATH", "csv:FILE[:TARGET]",
    ]  # fmt: skip
    assert entries["mnist5k"]["present"] is True and entries["mnist"]["present"] is False
    assert entries["mnist"]["place"] == str(tmp_path / "data")
    text = command("data").out
    assert all(re.search(rf"^{re.escape(name)} ", text, re.MULTILINE) for name in entries)
    assert f"not here: it would be fetched (12 MB) into {tmp_path / 'data'}" in text


def test_data_describes_one_data_set(command: Any, small_data: str) -> None:
    found = the_object(command("data", "mnist5k", "--json").out)
    assert found["split_sizes"] == {"train": 3500, "validation": 500, "test": 1000}
    assert (found["input_shape"], found["classes"]) == ([1, 28, 28], 10)
    assert re.fullmatch(
        r"npz:.*: 84 train, 12 validation, 24 test; inputs 1 x 8 x 8, 3 classes\n", command("data", small_data).out
    )


def test_a_network_of_the_users_beside_them(command: Any, small_data: str, inputs: Path, tmp_path: Path) -> None:
    (tmp_path / "beside_me.py").write_text((inputs / "networks_of_mine.py").read_text())
    outcome = command("prune", "--network", "beside_me:plain", "--data", small_data, "--epochs", 1, "--json")
    assert outcome.status == 0, outcome.err
    found = the_object(outcome.out)
    assert found["network"] == "beside_me:plain"
    assert set(found["runs"][0]["architecture"]) == {"inputs", "1"}


def test_the_example_is_a_study(repository: Path) -> None:
    study = read_study(repository / "examples" / "prices.toml")
    assert len(study.jobs) == 18 and study.out == Path("prices")
    assert {job.settings.price for job in study.jobs if job.settings.method == "parsimonious"} == {0.5, 1, 2, 4, 8}
