"""Data, networks, weights, files and folders that cannot be used: one line, exit status 2, nothing written."""

import re
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest

import bayesprune as bp
from bayesprune.errors import (
    BayespruneError,
    DataError,
    DataUnavailableError,
    InputShapeError,
    NetworkError,
    SettingError,
    StoreError,
    UnknownNameError,
)
from bayesprune.experiments.study import read_study


@dataclass(frozen=True)
class Bad:
    """Settings of a run that cannot be used together, and what the message must say."""

    name: str
    words: str
    error: type[BayespruneError]
    settings: dict[str, str] = field(default_factory=dict)


def data(name: str, words: str, error: type[BayespruneError] = DataError) -> Bad:
    """A data set that cannot be used."""
    return Bad(name, words, error, {"data": name})


def network(name: str, words: str, error: type[BayespruneError] = NetworkError) -> Bad:
    """A network that cannot be used."""
    return Bad(name, words, error, {"network": name})


def weights(name: str, words: str, error: type[BayespruneError] = SettingError) -> Bad:
    """Weights that cannot be used, for LeNet-300-100 on pictures of its size."""
    return Bad(name, words, error, {"weights": f"{{inputs}}/{name}", "data": "npz:{inputs}/large.npz"})


BAD = [
    data("mnist5", "unknown data set 'mnist5': did you mean 'mnist5k'?", UnknownNameError),
    data("npz:", "'npz:' names no path", SettingError),
    data("npz:{inputs}/nan.npz", "not finite, in 1 examples; the first is in example 7 at [0, 2, 3]: remove"),
    data("npz:{inputs}/infinite.npz", "not finite, in 1 examples; the first is in example 7 at [0, 2, 3]: remove"),
    data("npz:{inputs}/below.npz", "label -1 of example 0"),
    data("npz:{inputs}/beyond.npz", "is 1000000 but there are only 120 training examples; number the classes 0, 1, 2"),
    Bad(
        "floats as classes",
        "are float64, not integers; give labels.astype(int)",
        DataError,
        {"data": "npz:{inputs}/floats.npz", "task": "classification"},
    ),
    data("npz:{inputs}/one_class.npz", "holds one class only; at least 2 are needed"),
    data("npz:{inputs}/fewer_labels.npz", "has 120 inputs but 119 labels"),
    data("npz:{inputs}/no_labels.npz", "it needs arrays x and y"),
    data("npz:{inputs}/cut.npz", "is not an npz file, or a truncated one"),
    data("npz:{inputs}/damaged.npz", "save the file again with numpy.savez"),
    data("npz:{inputs}/missing.npz", "missing.npz is not there"),
    data("folder:{inputs}/empty", "has no subfolders, so there are no classes; give each class a subfolder"),
    data("folder:{inputs}/classes", "classes/a has no pictures"),
    data("folder:{inputs}/missing", "missing is not there"),
    network("lenet30", "unknown network 'lenet30': did you mean 'lenet300'?", UnknownNameError),
    network("lenet5", "lenet5 cannot take inputs of shape (1, 8, 8): it needs at least (1, 16, 16)", InputShapeError),
    network("nowhere:net", "'nowhere:net' cannot be imported (ModuleNotFoundError", SettingError),
    network("networks_of_mine:missing", "has no attribute 'missing'); give package.module:callable", SettingError),
    network("module_that_raises:net", "cannot be imported (ZeroDivisionError: division by zero)", SettingError),
    network("module_that_exits:net", "cannot be imported (SystemExit: 0)", SettingError),
    network("networks_of_mine:constant", "'networks_of_mine:constant' is not callable", SettingError),
    network("networks_of_mine:number", "made an int; a torch.nn.Module is needed"),
    network("networks_of_mine:fails", "failed with RuntimeError: out of"),
    network("networks_of_mine:wants_more", "missing 1 required positional argument: 'depth'"),
    network("networks_of_mine:two_outputs", "are [2, 2]; logits [2, 3] are needed for the 3 classes"),
    weights("missing.safetensors", "is not a file: name a safetensors file"),
    weights("garbage.safetensors", "garbage.safetensors cannot be used"),
    weights("few.safetensors", "few.safetensors cannot be used"),
    weights("nan.safetensors", "fc1.weight of the network holds NaN or infinite values", NetworkError),
]


def filled(bad: Bad, inputs: Path) -> dict[str, Any]:
    """The settings with the folder of files in its place."""
    settings = {"data": "npz:{inputs}/ok.npz", "network": "lenet300"} | bad.settings
    return {name: value.replace("{inputs}", str(inputs)) for name, value in settings.items()}


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.name)
def test_bad_input_is_one_line_and_a_typed_error(
    bad: Bad, command: Any, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(inputs)
    settings = filled(bad, inputs)
    flags = [word for name, value in settings.items() for word in (f"--{name}", value)]
    outcome = command("prune", "--method", "dense", "--epochs", 1, *flags)
    assert (outcome.status, outcome.out, outcome.err.count("\n")) == (2, "", 1), outcome.err
    assert outcome.err.startswith("bayesprune: ") and bad.words in outcome.err
    with pytest.raises(bad.error, match=re.escape(bad.words)):
        bp.compare(methods=["dense"], epochs=1, out=tmp_path / "runs", **settings)
    assert not list(tmp_path.iterdir())


def test_files_of_mnist_that_are_cut_off(
    command: Any, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BAYESPRUNE_DATA", str(inputs / "cut"))
    outcome = command("prune", "--data", "mnist")
    assert (outcome.status, outcome.err.count("\n")) == (2, 1)
    assert "train-images-idx3-ubyte has 115 bytes but its header states 47,040,016; delete" in outcome.err
    with pytest.raises(DataError, match="115 bytes"):
        bp.load_data("mnist")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("arguments", [("data", "fashion-mnist"), ("prune", "--data", "fashion-mnist")])
def test_data_that_are_not_here_and_cannot_be_fetched(
    arguments: tuple[str, ...], command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    outcome = command(*arguments)
    assert (outcome.status, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert "no route to host" in outcome.err
    assert f"into {tmp_path / 'data'}" in outcome.err
    assert "'mnist5k' comes with the library and needs no download" in outcome.err
    assert not [path for path in tmp_path.rglob("*") if path.is_file()] and not (tmp_path / "runs").exists()
    with pytest.raises(DataUnavailableError, match="no route to host"):
        bp.load_data("fashion-mnist")


@pytest.mark.parametrize("name", ["prune", "compare"])
@pytest.mark.parametrize("out", ["file", "file/below", "/proc/nothing/here"])
def test_an_output_folder_that_cannot_be_written_to(name: str, out: str, command: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    outcome = command(name, "--out", out, "--epochs", 1)
    assert (outcome.status, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert out in outcome.err
    with pytest.raises(StoreError, match=out):
        bp.compare(methods=["dense"], epochs=1, out=out)
    assert [path.name for path in tmp_path.rglob("*")] == ["file"]
    assert (tmp_path / "file").read_text() == "mine"


STUDIES = {
    "unknown_key": "unknown setting 'epoch': did you mean 'epochs'?",
    "unknown_own_key": "unknown setting 'speed'",
    "bad_value": "epochs must be an integer >= 0, not 'many'",
    "unknown_method": "unknown method 'dens': did you mean 'dense'?",
    "no_methods": "a study needs methods = [...] or tables [method.NAME]",
    "no_seeds": "seeds must be an integer >= 1, not 0",
    "no_toml": "no_toml.toml is not TOML",
    "missing": "missing.toml cannot be read: No such file or directory; name a TOML file",
}


@pytest.mark.parametrize("name", [*STUDIES, "bad_option", "no_match"])
def test_a_study_that_cannot_be_made(name: str, command: Any, inputs: Path, tmp_path: Path) -> None:
    file = inputs / f"{name}.toml"
    outcome = command("study", file)
    assert (outcome.status, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    later = {
        "bad_option": "start must lie strictly between 0 and 1",
        "no_match": "matches 'parsimonious', which is not",
    }
    assert (STUDIES | later)[name] in outcome.err
    assert not list(tmp_path.iterdir())
    if name in STUDIES:
        with pytest.raises(SettingError, match=re.escape(STUDIES[name])):
            read_study(file)


@pytest.mark.parametrize("name", ["report", "posterior"])
@pytest.mark.parametrize(
    ("places", "words"),
    [
        ([], "give at least one run folder"),
        (["{inputs}/empty"], "empty holds no finished run: give a folder with run.json"),
        (["{inputs}/missing"], "missing holds no finished run"),
        (["{inputs}/file"], "file holds no finished run"),
    ],
)
def test_folders_without_runs(
    name: str, places: list[str], words: str, command: Any, inputs: Path, tmp_path: Path
) -> None:
    outcome = command(name, *(place.replace("{inputs}", str(inputs)) for place in places))
    assert (outcome.status, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert words in outcome.err
    assert not list(tmp_path.iterdir())


def test_a_posterior_of_a_run_that_has_none(command: Any, make_run: Callable[..., Any], tmp_path: Path) -> None:
    folder = make_run("dense").folder
    before = sorted(tmp_path.rglob("*"))
    outcome = command("posterior", folder)
    assert (outcome.status, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert "none of these runs has a posterior: give a run of a Bayesian method" in outcome.err
    assert sorted(tmp_path.rglob("*")) == before


def test_a_run_that_was_changed(command: Any, make_run: Callable[..., Any]) -> None:
    folder = make_run("dense").folder
    (folder / "run.json").write_text("{}")
    outcome = command("report", folder)
    assert (outcome.status, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert "run.json" in outcome.err and "key 'schema' is missing" in outcome.err
