"""No option of these methods is accepted and ignored: each, changed alone, changes what a run ends with."""

from dataclasses import fields
from typing import Any

import pytest
import torch

import bayesprune as bp
from bayesprune.data import Data
from bayesprune.experiments.methods import METHODS
from bayesprune.inference.options import ParsimoniousOptions
from bayesprune.inference.sections.options import ComplexityOptions, LayerGateOptions
from bayesprune.run.settings import RunSettings
from tests.bayesprune.sections.networks import Residual

GATES: dict[str, Any] = {"horizon": 12, "prune_share": 0.5, "ramp_share": 0.0, "shrink_every": 3}
LAYERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "start": (0.3, GATES), "prune_share": (0.25, GATES), "horizon": (40, GATES),
    "settle_share": (0.9, GATES | {"horizon": 60}), "ramp_share": (0.9, GATES), "shrink_every": (20, GATES),
    "sections_per_step": (1, GATES), "slab": (0.02, GATES), "fixed_learning_rate": (3e-2, GATES),
    "fixed_decay": (0.5, GATES),
}  # fmt: skip
BOTH: dict[str, tuple[Any, dict[str, Any]]] = {
    "nu": (0.5, GATES | {"nu": 0.05}), "beta": (20.0, GATES), "alpha": (0.0, GATES), "sections_per_step": (1, GATES),
}  # fmt: skip


def outcome(data: Data, method: str, options: dict[str, Any]) -> list[Any]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = Residual()
    price = None if "nu" in options else 3.0
    pruned = bp.prune(network, data, method, epochs=8, batch_size=40, price=price, **options)
    return [value.tolist() for value in pruned.network.state_dict().values()]


@pytest.mark.long
@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize(
    ("method", "name"), [*(("layer-gates", name) for name in LAYERS), *(("complexity-aware", name) for name in BOTH)]
)
def test_an_option_changes_the_result(method: str, name: str, small_data: Data) -> None:
    value, beside = (LAYERS if method == "layer-gates" else BOTH)[name]
    assert outcome(small_data, method, beside | {name: value}) != outcome(small_data, method, beside)


def test_every_option_is_tried() -> None:
    assert {field.name for field in fields(LayerGateOptions)} == LAYERS.keys()
    own = {field.name for field in fields(ComplexityOptions)} - {field.name for field in fields(ParsimoniousOptions)}
    assert own | {"alpha"} == BOTH.keys()


def test_usual_options_are_left_out() -> None:
    for name, kind in (("layer-gates", LayerGateOptions), ("complexity-aware", ComplexityOptions)):
        written = RunSettings(name, options={"start": kind().start, "slab": 0.5, "sections_per_step": 4})
        assert METHODS[name].normal(written) == RunSettings(name)
    given = METHODS["complexity-aware"].normal(RunSettings("complexity-aware", options={"gamma": 10.0}))
    assert given.price == pytest.approx(2.302585) and given.options == {}
