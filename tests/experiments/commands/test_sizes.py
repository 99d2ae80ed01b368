"""Sizes on the command line: one for each layer, rounded counts, and pruning without training."""

import json
from typing import Any


def test_the_command_line_prunes_without_training(command: Any, small_npz: str) -> None:
    common = ["prune", "--data", small_npz, "--widths", 12, 8, "--epochs", 0, "--json"]
    outcome = command(*common, "--method", "magnitude", "--density", "fc1=10%,fc2=0.5")
    assert outcome.status == 0, outcome.err
    (run,) = json.loads(outcome.out)["runs"]
    assert run["nonzero_weights"] == 43 + 48 + 24 and run["train_seconds"] == 0
    outcome = command(*common, "--method", "l1-units", "--budget", "fc1=50%,fc2=30%")
    assert json.loads(outcome.out)["runs"][0]["architecture"] == {"inputs": 36, "fc1": 6, "fc2": 2}
    outcome = command(*common, "--method", "l1-units", "--budget", "macs=60%", "--option", "round_to=4")
    assert {count % 4 for count in json.loads(outcome.out)["runs"][0]["architecture"].values()} == {0}
    outcome = command(*common, "--method", "magnitude", "--density", "many")
    assert outcome.status == 2 and "density must be a number" in outcome.err and outcome.err.count("\n") == 1
