"""`bayesprune inspect`: the table, the object, and bad input in one line."""

import json
from pathlib import Path
from typing import Any

import pytest


def test_a_registered_network(command: Any) -> None:
    outcome = command("inspect", "lenet300", "--shape", 1, 8, 8, "--classes", 3, "--widths", 12, 6)
    assert outcome.status == 0
    assert "fc3" in outcome.out and "its channels are outputs of the network" in outcome.out
    assert "smallest possible network: 5 MACs" in outcome.out


def test_the_object_of_a_network_of_ones_own(command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = (
        "from torch import nn\n\ndef make():\n    return nn.Sequential(nn.Linear(9, 4), nn.ReLU(), nn.Linear(4, 2))\n"
    )
    (tmp_path / "inspected_module.py").write_text(source)
    monkeypatch.chdir(tmp_path)
    outcome = command("inspect", "inspected_module:make", "--shape", 9, "--classes", 2, "--inputs", "none", "--json")
    found = json.loads(outcome.out)
    assert (outcome.status, outcome.out.count("\n"), found["schema"]) == (0, 1, 1)
    assert [(one["name"], one["removable"], bool(one["whole"])) for one in found["layers"]] == [
        ("0", 4, False), ("2", 0, True),
    ]  # fmt: skip
    assert (found["macs"], found["smallest_macs"]) == (9 * 4 + 4 * 2, 9 + 2)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["lenet"], "lenet"),
        (["lenet300", "--shape", "0"], "shape must be an integer >= 1"),
        (["lenet300", "--shape", "9", "--classes", "1"], "classes must be an integer >= 2"),
        (["lenet300", "--shape", "9", "--keep", "fc9"], "fc9"),
        (["lenet300", "--shape", "9", "--inputs", "some"], "inputs must be"),
        (["lenet300", "--data", "nowhere"], "nowhere"),
    ],
)
def test_bad_input(arguments: list[str], said: str, command: Any) -> None:
    outcome = command("inspect", *arguments)
    assert outcome.status == 2 and outcome.out == ""
    assert said in outcome.err and outcome.err.count("\n") == 1
