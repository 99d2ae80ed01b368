"""Help that says what there is, and command lines that are not understood."""

import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

import bayesprune
from bayesprune.experiments.commands.flags import RunFlags
from bayesprune.experiments.compare import COMPARED
from bayesprune.experiments.methods import METHODS
from bayesprune.models.networks import LeNet300  # noqa: F401 - fills the registry
from bayesprune.run.networks import known
from bayesprune.run.settings import RunSettings

COMMANDS = ("compare", "prune", "study", "paper", "search", "inspect", "posterior", "report", "data")
HEAVY = {"torch", "numpy", "matplotlib", "pyro", "scipy", "pandas", "xarray", "torchvision", "networkx"}


def plain(text: str) -> str:
    """Help without its boxes and line breaks."""
    return " ".join(re.sub(r"[│╭╮╰╯─]", " ", text).split())


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help_names_every_command(arguments: list[str], command: Any) -> None:
    outcome = command(*arguments)
    assert (outcome.status, outcome.err) == (0, "")
    positions = [outcome.out.index(f"│ {name} ") for name in COMMANDS]
    assert positions == sorted(positions)
    assert "130 after Ctrl-C" in plain(outcome.out)


def test_version(command: Any) -> None:
    assert command("--version").out.strip() == bayesprune.__version__


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_explains_every_flag_once_and_gives_examples(
    name: str, command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    outcome = command(name, "--help")
    assert outcome.status == 0
    flags = re.findall(r"│ \*? *(--[a-z-]+)", outcome.out)
    assert "--json" in flags and len(flags) == len(set(flags))
    assert not re.search(r"--no-|None|\(\)", outcome.out)
    examples = outcome.out[outcome.out.index("Examples:") :].splitlines()[1:]
    assert examples and all(line.startswith(f"  bayesprune {name}") for line in examples)
    for example in examples:
        assert set(re.findall(r"--[a-z-]+", example)) <= set(flags)


def test_help_names_the_methods_and_networks_there_are(command: Any) -> None:
    prune, compare = plain(command("prune", "--help").out), plain(command("compare", "--help").out)
    assert all(name in prune for name in METHODS)
    assert all(name in compare for name in COMPARED)
    assert all(f"{name}," in prune for name in known())


def test_every_setting_of_a_run_has_a_flag() -> None:
    settings = {field.name for field in fields(RunSettings)} - {"method", "seed", "options"}
    assert {field.name for field in fields(RunFlags)} - {"option"} == settings
    assert RunFlags().settings("dense", 0) == RunSettings("dense")


def test_values_of_flags_become_settings() -> None:
    option = ("start=0.9", "price-kind=cost", "sure=true")
    flags = RunFlags(option=option, widths=(20, 10), price="3", keep=("fc1",))
    settings = flags.settings("parsimonious", 4)
    assert settings.options == {"start": 0.9, "price_kind": "cost", "sure": True}
    assert (settings.widths, settings.price, settings.keep, settings.seed) == ((20, 10), 3.0, ("fc1",), 4)
    flags = RunFlags(task="regression", output="logits", aux=("aux1=0.3", "aux2=1e-1"))
    settings = flags.settings("dense", 0)
    assert (settings.task, settings.output, settings.aux) == ("regression", "logits", {"aux1": 0.3, "aux2": 0.1})


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_loads_nothing_heavy(name: str, repository: Path) -> None:
    code = f"from bayesprune.experiments.cli import main; main(['{name}', '--help']); import sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=True)
    assert not HEAVY & set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["comapre"], 'Unknown command "comapre". Did you mean "compare"?'),
        (["nonsense"], "Available commands: compare, prune, study, paper, search, inspect, posterior, graph, ..."),
        (["prune", "--epoch", "3"], "Unknown option: --epoch. Did you mean --epochs? See bayesprune prune --help."),
        (["compare", "--sed", "3"], "Did you mean --seeds?"),
        (["prune", "lenet5"], "There is no place for lenet5. See bayesprune prune --help."),
        (["prune", "--epochs", "many"], "Invalid value for --epochs: 'many' is not an integer."),
        (["prune", "--epochs", "1.5"], "Invalid value for --epochs: '1.5' is not an integer."),
        (["prune", "--widths", "20", "x"], "--widths: 'x' is not an integer."),
        (["prune", "--noise", "half"], 'Invalid value for --noise: unable to convert "half" into float.'),
        (["prune", "--epochs"], "--epochs requires an argument"),
        (["prune", "--keep"], "--keep requires at least 1 element"),
        (["compare", "--methods"], "--methods requires at least 1 element"),
        (["prune", "--option", "start"], "option 'start': write NAME=VALUE, for example start=0.9"),
        (["prune", "--option", "=3"], "option '=3': write NAME=VALUE"),
        (["prune", "--aux", "aux1"], "aux 'aux1': write NAME=WEIGHT with a number, for example aux1=0.3"),
        (["prune", "--aux", "aux1=much"], "aux 'aux1=much': write NAME=WEIGHT"),
        (["prune", "--aux", "aux1=-1"], "aux['aux1'] must be a finite number > 0"),
        (["study"], "requires an argument"),
        (["study", "a.toml", "b.toml"], "There is no place for b.toml."),
        (["--json"], "Unknown command"),
    ],
)
def test_a_command_line_that_is_not_understood(arguments: list[str], words: str, command: Any, tmp_path: Path) -> None:
    outcome = command(*arguments)
    assert (outcome.status, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert outcome.err.startswith("bayesprune: ") and words in outcome.err
    assert not list(tmp_path.iterdir())


def test_a_reader_that_has_seen_enough_is_no_error(repository: Path) -> None:
    shell = f"{sys.executable} -m bayesprune data | head -n 1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", shell], cwd=repository, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0" and not done.stderr


@pytest.mark.parametrize(
    ("arguments", "rest"),
    [
        (["data"], ""),
        (["prune", "--method", "dense"], "; finished runs are kept, and the same command goes on"),
    ],
)
def test_ctrl_c_is_130_and_one_line(
    arguments: list[str], rest: str, command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("bayesprune.data.describe", interrupt)
    monkeypatch.setattr("bayesprune.experiments.commands.fetching.describe", interrupt)
    outcome = command(*arguments)
    assert (outcome.status, outcome.out, outcome.err) == (130, "", f"bayesprune: interrupted{rest}\n")
