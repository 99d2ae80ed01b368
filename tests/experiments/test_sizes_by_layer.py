"""A size for each layer, rounded counts and runs without training, from Python and TOML."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import bayesprune as bp
from bayesprune.data import Data
from bayesprune.errors import SettingError
from bayesprune.experiments.study import read_study
from bayesprune.models import LeNet300
from bayesprune.run.pruned import Pruned

CHANNELS = ["l1-units", "geometric-median", "taylor", "random"]
WEIGHTS = [
    "magnitude", "class-uniform", "class-distributed", "obd", "layer-obs", "snip", "logit-snip", "grasp", "synflow",
    "taylor", "lottery", "random", "set", "rigl",
]  # fmt: skip
OWN: dict[str, dict[str, Any]] = {"lottery": {"rate": 0.9}, "synflow": {"rounds": 3}}


def network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return LeNet300((12, 8), (1, 6, 6), 3)


def prune(data: Data, name: str, start: nn.Module | None = None, **settings: Any) -> Pruned:
    usual = {"epochs": 2, "batch_size": 50, **OWN.get(name, {})}
    return bp.prune(start or network(), data, name, **{**usual, **settings})


def widths(pruned: Pruned) -> dict[str, int]:
    return {name: len(kept) for name, kept in pruned.kept.items()}


@pytest.mark.parametrize("name", CHANNELS)
def test_every_layer_keeps_its_share_of_channels(name: str, small_data: Data) -> None:
    pruned = prune(small_data, name, budget={"fc1": 0.5, "fc2": "30%"})
    assert widths(pruned) == {"inputs": 36, "fc1": 6, "fc2": 2}
    assert pruned.settings.budget == "fc1=0.5,fc2=0.3"


def test_the_channels_kept_are_those_with_the_highest_scores(small_data: Data) -> None:
    start = network()
    pruned = prune(small_data, "l1-units", start, budget="fc1=50%", epochs=0)
    norms = start.get_parameter("fc1.weight").abs().sum(1)
    assert pruned.kept["fc1"] == sorted(norms.argsort(descending=True)[:6].tolist())
    assert torch.equal(
        pruned.network.get_parameter("fc1.weight"), start.get_parameter("fc1.weight")[pruned.kept["fc1"]]
    )


def test_channels_go_in_rounds_too(small_data: Data) -> None:
    pruned = prune(small_data, "l1-units", budget="fc1=25%,fc2=50%", schedule="cubic", rounds=3, epochs=4)
    assert widths(pruned) == {"inputs": 36, "fc1": 3, "fc2": 4}
    alive = [(record["alive"]["fc1"], record["alive"]["fc2"]) for record in pruned.history]
    assert alive[0] == (12, 8) and alive[-1] == (3, 4) and alive == sorted(alive, reverse=True) and len(set(alive)) > 2


@pytest.mark.parametrize("name", WEIGHTS)
def test_every_layer_keeps_its_share_of_weights(name: str, small_data: Data) -> None:
    pruned = prune(small_data, name, density={"fc1": 0.1, "fc3": "50%"})
    counts = {key: int(mask.sum()) for key, mask in pruned.masks.items()}
    assert counts == {"fc1.weight": 43, "fc2.weight": 96, "fc3.weight": 12}


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("parsimonious", {"budget": "fc1=50%"}, "one budget for the whole network, such as budget='macs=10%'"),
        ("ntt", {"budget": "fc1=50%"}, "takes one budget for the whole network"),
        ("ntt", {"density": {"fc1": 0.5}}, "takes one density for the whole network, such as density=0.1"),
        ("l1-units", {"budget": "fc9=50%"}, "unknown cost, or layer with channels to remove, 'fc9': did you mean"),
        ("l1-units", {"budget": "flops=50%"}, "remove, 'flops': there are .*latency.*macs.*params"),
        ("magnitude", {"density": "inputs=50%"}, "unknown layer with weights 'inputs'"),
        ("l1-units", {"budget": "fc1=50%", "allocation": "class-blind"}, "leave one of them out"),
        ("magnitude", {"density": "fc1=50%", "allocation": "class-uniform"}, "leave one of them out"),
        ("magnitude", {"density": 0.5, "round_to": 8}, "round_to=8 is for channels"),
        ("rigl", {"density": 0.5, "round_to": 8}, "round_to=8 is for channels"),
        (
            "l1-units",
            {"budget": "fc1=50%,fc3=50%"},
            "'fc3' keeps all its channels .its channels are outputs of the network",
        ),
        ("l1-units", {"budget": "fc1=50%", "keep": ["fc1"]}, "'fc1' keeps all its channels .named in keep"),
        (
            "l1-units",
            {"budget": "macs=50%", "round_to": 37},
            "round_to=37 leaves all as it is: no group has more than 36",
        ),
        ("parsimonious", {"price": 1.0, "round_to": 37}, "round_to=37 leaves all as it is: no group has more than 36"),
        ("l1-units", {"budget": "fc2=40%", "round_to": 4}, "leaves 3 of 8 channels of 'fc2', and round_to=4 keeps 4"),
        ("l1-units", {"budget": "fc1=50%", "least": 3}, "so least=3 does nothing here: leave one of them out"),
        ("magnitude", {"density": "fc1=50%", "least": 3}, "so least=3 does nothing here: leave one of them out"),
        ("l1-units", {"budget": "macs=50%", "round_to": 0}, "round_to must be an integer >= 1"),
    ],
)
def test_what_cannot_be_is_refused(name: str, settings: dict[str, Any], message: str, small_data: Data) -> None:
    with pytest.raises(SettingError, match=message):
        prune(small_data, name, **settings)


@pytest.mark.parametrize("name", CHANNELS)
def test_counts_are_multiples_within_the_budget(name: str, small_data: Data) -> None:
    pruned = prune(small_data, name, budget="macs=60%", round_to=4)
    assert all(count % 4 == 0 and count >= 4 for count in widths(pruned).values())
    assert pruned.evaluation.macs <= 0.6 * 552
    assert widths(prune(small_data, name, budget="fc1=60%,fc2=50%", round_to=4)) == {"inputs": 36, "fc1": 4, "fc2": 4}


def test_studies_take_tables(tmp_path: Path) -> None:
    study = tmp_path / "study.toml"
    study.write_text(
        'seeds = 1\n[method.l1-units]\nbudget = {fc1 = 0.5, fc2 = "30%"}\n[method.magnitude]\n'
        "density = [{fc1 = 0.1}, 0.2]\n"
    )
    sizes = [(job.settings.budget, job.settings.density) for job in read_study(study).jobs]
    assert sizes == [("fc1=0.5,fc2=0.3", None), (None, "fc1=0.1"), (None, 0.2)]
