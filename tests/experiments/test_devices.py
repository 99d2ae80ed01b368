"""Whole runs on a device that is pretended: nothing is left on the CPU, and no step waits for the device."""

from collections import Counter, OrderedDict
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import bayesprune as bp
from bayesprune.data import Data, placing
from bayesprune.inference import FixedInclusion, Quiet
from bayesprune.models import LeNet300
from bayesprune.run.pruned import Pruned
from bayesprune.store.tree import load_tree
from bayesprune.training import loop

DEVICE = "lazy:0"


@pytest.fixture(scope="module")
def pretend() -> Any:
    """The module of the pretended device."""
    spec = spec_from_file_location("pretend", Path(__file__).parents[1] / "pretend.py")
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def device(pretend: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The pretended device while it is there."""
    with pretend.pretended(monkeypatch) as mode:
        yield mode


def perceptron() -> nn.Module:
    torch.manual_seed(0)
    return LeNet300((12, 8), (1, 6, 6), 3)


def convolutional() -> nn.Module:
    """With batch normalisation, flattened maps and noise of its own."""
    torch.manual_seed(0)
    return nn.Sequential(
        OrderedDict(
            conv=nn.Conv2d(1, 6, 3, padding=1), norm=nn.BatchNorm2d(6), pool=nn.MaxPool2d(2), relu1=nn.ReLU(),
            flatten=nn.Flatten(), drop=nn.Dropout(0.1), fc1=nn.Linear(6 * 9, 10), relu2=nn.ReLU(), fc2=nn.Linear(10, 3),
        )
    )  # fmt: skip


BAYES: dict[str, Any] = {"method": "parsimonious", "start": 0.9, "horizon": 8, "shrink_every": 5, "prune_share": 0.5}
NTT: dict[str, Any] = {"method": "ntt", "density": 0.4, "steps": 25, "every": 5}
ESTIMATORS = (
    "curvature", "straight-through", "salient-flips", "uniform-flips", "linearised-flips", "score-function", "disarm",
)  # fmt: skip
CASES: dict[str, dict[str, Any]] = {
    "dense": {"method": "dense", "consistency": 0.5},
    "magnitude": {"method": "magnitude", "density": 0.4, "prune_share": 0.5},
    "plain": {"method": "magnitude", "density": 0.4, "training": "plain"},
    "obd": {"method": "obd", "density": 0.4, "prune_share": 0.5},
    "layer-obs": {"method": "layer-obs", "density": 0.4, "prune_share": 0.5},
    "snip": {"method": "snip", "density": 0.4},
    "logit-snip": {"method": "logit-snip", "density": 0.4, "control": "shuffle"},
    "grasp": {"method": "grasp", "density": 0.4},
    "synflow": {"method": "synflow", "density": 0.4, "rounds": 3, "trim": True},
    "taylor": {"method": "taylor", "budget": "macs=40%"},
    "geometric-median": {"method": "geometric-median", "budget": "macs=40%"},
    "l1-units": {"method": "l1-units", "budget": "macs=40%", "network": convolutional, "inputs": "all"},
    "slimming": {"method": "slimming", "budget": "macs=40%", "network": convolutional},
    "lottery": {"method": "lottery", "density": 0.3, "rate": 0.5, "rewind": 4},
    "set": {"method": "set", "density": 0.3, "every": 5},
    "rigl": {"method": "rigl", "density": 0.3, "every": 5},
    "ntt": NTT,
    "ntt projected": NTT | {"kernel": "projected"},
    "ntt units": {"method": "ntt", "budget": "macs=40%", "steps": 25, "every": 5},
    **{f"estimator {name}": BAYES | {"estimator": name, "price": 3.0} for name in ESTIMATORS},
    "budget": BAYES | {"budget": "macs=40%"},
    "price by cost": BAYES | {"price_kind": "cost", "ramp_share": 0.5},
    "attraction": BAYES | {"price": 3.0, "removal": "attraction"},
    "average": BAYES | {"price": 3.0, "removal": "average", "learnt_noise": 1e-3},
    **{
        name: {"method": name, "prune_share": 0.5, "quiet_steps": 3, "shrink_every": 5, "closed_below": 0.4}
        for name in ("ss-gl", "ss-ghs")
    },
    "sv-bnn": {"method": "sv-bnn", "prune_share": 0.5, "inclusion": 0.1, "gate_learning_rate": 0.3, "trim": True},
    "convolutional": BAYES | {"price": 5.0, "network": convolutional, "inputs": "all", "flatten_inputs": True},
    "spike-slab": {"method": "spike-slab", "shrink_every": 5},
    "spike-slab-flat": BAYES | {"method": "spike-slab-flat", "price": 3.0},
    "parts": {"method": bp.Variational(removal=Quiet(0.3, 2), shrink_every=5, gate_prior=FixedInclusion(0.1))},
    "priced parts": {"method": bp.Variational(shrink_every=5)},
}  # fmt: skip
DUE = 5
"""In these cases the structure is looked at every so many steps."""


def prune(data: Any, device: str, **own: Any) -> Pruned:
    settings: dict[str, Any] = {
        "network": perceptron,
        "epochs": 3,
        "batch_size": 24,
        "seed": 3,
        "progress": False,
    } | own
    network = settings.pop("network")()
    return bp.prune(network, data, device=device, **settings)


@pytest.fixture
def waits(device: Any, monkeypatch: pytest.MonkeyPatch) -> Counter[int]:
    """How often steps waited for the device, by the number of the step in its phase."""
    seen: Counter[int] = Counter()
    made = loop._Loop._step

    def step(self: Any, *batch: Any) -> Any:
        before = device.waits.total()
        loss = made(self, *batch)
        seen[self.state.phase_step] += device.waits.total() - before
        return loss

    monkeypatch.setattr(loop._Loop, "_step", step)
    return seen


@pytest.mark.parametrize("case", CASES)
def test_every_method_runs_on_a_device_and_its_steps_do_not_wait(
    case: str, waits: Counter[int], small_data: Data
) -> None:
    pruned = prune(small_data, "cuda", **CASES[case])
    assert pruned.settings.device == DEVICE and next(pruned.network.parameters()).device.type == "cpu"
    assert pruned.evaluate().metrics == pytest.approx(pruned.evaluation.metrics, abs=1e-5)
    allowed = (0, 1) if case == "ntt projected" else (0,)  # places of new masks are looked for once, in the step after
    assert {step % DUE for step, count in waits.items() if count} <= {*allowed}
    assert sum(1 for count in waits.values() if not count) >= 10


def test_what_waits_and_what_lies_elsewhere_is_seen(pretend: Any, device: Any) -> None:
    far = torch.ones(3, device=DEVICE)
    with pytest.raises(pretend.Misplaced, match="gets a tensor"):
        far + torch.ones(3)
    assert float(far.sum()) == 3 and device.waits.total() == 1
    device.refuses = True
    with pytest.raises(pretend.Waited, match="local_scalar_dense"):
        far.sum().item()


STOPS = (1, 10, 15, 16, 28)  # of 30 steps; `ntt` chooses masks in 25 before them


@pytest.mark.parametrize(
    "case", ["dense", "estimator salient-flips", "budget", "price by cost", "ntt", "convolutional"]
)
def test_a_run_on_a_device_resumes_exactly(case: str, device: Any, small_data: Data, tmp_path: Path) -> None:
    whole = prune(small_data, "cuda", **CASES[case])
    for stop in STOPS:
        with pytest.raises(InterruptedError):
            prune(
                small_data, "cuda", **CASES[case], checkpoint=tmp_path / "state", progress=stopping_at(stop, tmp_path)
            )
        device.generator.manual_seed(stop)  # what somebody else draws in between changes nothing
    resumed = prune(small_data, "cuda", **CASES[case], checkpoint=tmp_path / "state")
    torch.testing.assert_close(resumed.network.state_dict(), whole.network.state_dict(), rtol=0, atol=0)
    assert resumed.kept == whole.kept
    assert [one["loss"] for one in resumed.history] == [one["loss"] for one in whole.history]


@pytest.fixture(autouse=True)
def every_step_is_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bayesprune.training.checkpoint.Checkpointer.is_due", lambda self, state: True)


def stopping_at(stop: int, folder: Path) -> Any:
    def progress(now: Any) -> None:
        if now.step > stop and (folder / "state").exists():
            raise InterruptedError

    return progress


@pytest.mark.parametrize("case", ["estimator curvature", "budget", "magnitude", "ntt"])
@pytest.mark.parametrize("way", [("cpu", "cuda"), ("cuda", "cpu")])
def test_a_run_moves_from_one_device_to_another(
    case: str, way: tuple[str, str], device: Any, small_data: Data, tmp_path: Path
) -> None:
    with pytest.raises(InterruptedError):
        prune(small_data, way[0], **CASES[case], checkpoint=tmp_path / "state", progress=stopping_at(12, tmp_path))
    assert load_tree(tmp_path / "state")["counters"]["step"] == 12
    moved = prune(small_data, way[1], **CASES[case], checkpoint=tmp_path / "state")
    assert moved.settings.device == (DEVICE if way[1] == "cuda" else "cpu")
    assert [one["phase"] for one in moved.history] == [
        one["phase"] for one in prune(small_data, "cpu", **CASES[case]).history
    ]


def test_on_a_device_the_same_is_learnt(device: Any, small_data: Data) -> None:
    # The order of examples is the same, and there is no noise: but for rounding so are the weights.
    one, other = (prune(small_data, name, method="dense", noise=0.0) for name in ("cpu", "cuda"))
    torch.testing.assert_close(one.network.state_dict(), other.network.state_dict(), rtol=1e-4, atol=1e-5)
    assert one.history[-1]["loss"] == pytest.approx(other.history[-1]["loss"], rel=1e-5)


def test_data_that_do_not_fit_come_batch_by_batch(
    device: Any, small_data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = prune(small_data, "cuda", **CASES["estimator curvature"])
    monkeypatch.setattr(placing, "free_memory", lambda device: 1000.0)
    split = prune(small_data, "cuda", **CASES["estimator curvature"])
    torch.testing.assert_close(split.network.state_dict(), whole.network.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize("precision", ["bf16", "float64"])
@pytest.mark.parametrize("case", ["estimator curvature", "magnitude", "convolutional", "budget", "ntt", "obd"])
def test_other_precisions_learn_the_same_roughly_and_are_read_back(
    precision: str, case: str, small_data: Data, tmp_path: Path
) -> None:
    pruned = prune(small_data, "cpu", **CASES[case], precision=precision)
    usual = prune(small_data, "cpu", **CASES[case])
    wanted = torch.float64 if precision == "float64" else torch.float32
    assert {parameter.dtype for parameter in pruned.network.parameters()} == {wanted}
    assert pruned.evaluation.nll == pytest.approx(usual.evaluation.nll, abs=0.3)  # ntt draws other weights in float64
    assert (pruned.evaluate().metrics, pruned.record().settings["precision"]) == (
        pruned.evaluation.metrics, precision,
    )  # fmt: skip
    pruned.save(tmp_path / "run")
    again = bp.load(tmp_path / "run", factory=lambda: CASES[case].get("network", perceptron)())
    torch.testing.assert_close(again.network.state_dict(), pruned.network.state_dict(), rtol=0, atol=0)


def test_float64_differs_from_float32_by_rounding_only(small_data: Data) -> None:
    one, other = (
        prune(small_data, "cpu", method="magnitude", density=0.4, precision=name) for name in ("float32", "float64")
    )
    assert one.evaluation.nll == pytest.approx(other.evaluation.nll, rel=1e-4)


@pytest.mark.parametrize("way", [("float32", "float64"), ("bf16", "float32")])
def test_a_run_goes_on_in_another_precision(way: tuple[str, str], small_data: Data, tmp_path: Path) -> None:
    case = CASES["estimator curvature"]
    with pytest.raises(InterruptedError):
        prune(
            small_data,
            "cpu",
            **case,
            precision=way[0],
            checkpoint=tmp_path / "state",
            progress=stopping_at(9, tmp_path),
        )
    moved = prune(small_data, "cpu", **case, precision=way[1], checkpoint=tmp_path / "state")
    assert moved.settings.precision == way[1] and len(moved.history) == 3
