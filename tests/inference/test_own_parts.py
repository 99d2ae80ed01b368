"""A method put together from parts: with the same parts it is the method by name, and what cannot be is refused."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn

import bayesprune as bp
from bayesprune.data import Data
from bayesprune.errors import SettingError, StoreError
from bayesprune.inference import (
    AdamSteps,
    FixedInclusion,
    Flattening,
    GateGuide,
    GaussianWeightGuide,
    LogitGateGuide,
    Quiet,
    RelaxedGates,
)
from bayesprune.inference.estimators import SampledLabelCurvature
from bayesprune.inference.objective import GATES, guide_of
from bayesprune.inference.spike_slab.flat import SpikeSlabFlat
from bayesprune.models import FixedGatePrior, GaussianSlab, LeNet300
from bayesprune.models.priors.weights import slab_parameters
from bayesprune.run.identity import identity_of
from bayesprune.run.running import initial_state, run
from bayesprune.run.settings import RunSettings
from bayesprune.store.runs import RunRecord
from bayesprune.structure import Structure
from bayesprune.training import Checkpointer, train

pytestmark = pytest.mark.filterwarnings("ignore::bayesprune.errors.PruningWarning")
SS_IG: dict[str, Any] = {
    "gate_prior": FixedInclusion(0.05), "weight_prior": GaussianSlab(0.2), "estimator": RelaxedGates(0.5),
    "guide": partial(LogitGateGuide, start=0.6, deviation=0.05, kind="prior_when_closed"),
    "step": AdamSteps(0.1), "removal": Quiet(below=0.4, steps=3), "shrink_every": 5, "means_first": False,
}  # fmt: skip
QUICK: dict[str, Any] = {"epochs": 20, "batch_size": 50, "seed": 0}


def perceptron() -> LeNet300:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return LeNet300((12, 8), (1, 6, 6), 3)


class Graded:
    """A prior of the user's: the later a unit, the less likely."""

    def __init__(self, groups: Structure) -> None:
        falls = [torch.linspace(0.0, 1.0, group.size)[group.kept] for group in groups.groups]
        self.prior = FixedGatePrior(0.5 * 0.002 ** torch.cat(falls))

    def sample_gates(self) -> Tensor:
        return self.prior.sample_gates()

    def best_inclusion(self, theta: Tensor) -> None:
        return None

    def penalty(self, theta: Tensor) -> Tensor:
        return self.prior.penalty(theta)


class Laplace:
    """A prior of the user's over weights that are a point."""

    def log_prob(self, network: nn.Module, parameters: Any = None) -> Tensor:
        weights = slab_parameters(network).values() if parameters is None else parameters
        return torch.stack([dist.Laplace(0.0, 0.3).log_prob(weight).sum() for weight in weights]).sum()

    def sample(self, network: nn.Module) -> dict[str, Tensor]:
        return {
            name: pyro.sample(f"w.{name}", dist.Laplace(torch.zeros_like(weight), 0.3).to_event(weight.dim()))
            for name, weight in slab_parameters(network).items()
        }


class Probits(GateGuide):
    """A guide of the user's: theta = Phi(u)."""

    def begin_gates(self, theta: Tensor) -> None:
        self.u = nn.Parameter(torch.special.ndtri(theta.clamp(0.01, 0.99)))
        self.register_buffer("decided", torch.zeros(()))

    @property
    def theta(self) -> Tensor:  # type: ignore[override]  # it is computed here
        free = torch.special.ndtr(self.u).clamp(1e-6, 1 - 1e-6)
        return torch.where(self.get_buffer("decided") > 0, 1.0, free)

    def gate_parameters(self) -> list[nn.Parameter]:
        return [self.u]

    def open_all(self) -> None:
        self.get_buffer("decided").fill_(1.0)


OWN: dict[str, Any] = {
    "gate_prior": Graded, "guide": partial(Probits, start=0.9), "step": AdamSteps(0.2),
    "removal": Quiet(below=0.3, steps=2), "shrink_every": 3, "means_first": False,
}  # fmt: skip


@pytest.mark.long
def test_the_page_s_examples_run(page_blocks: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One after the other; the first is at most 25 lines, and what it saves is read without it."""
    monkeypatch.chdir(tmp_path)
    blocks = page_blocks("own-parts.md")
    assert len(blocks) == 3 and len([line for line in blocks[0].splitlines() if line.strip()]) <= 25
    found: dict[str, Any] = {}
    for number, block in enumerate(blocks):
        exec(compile(block, f"docs/own-parts.md, block {number + 1}", "exec"), found)
    assert not list(tmp_path.iterdir())  # the checkpoint is gone
    pruned = found["pruned"]
    assert pruned.evaluation.accuracy > 0.9 and sum(map(len, pruned.kept.values())) < 112
    assert len(found["tree"].posterior.data_vars) > 0
    assert found["graded"].evaluation.accuracy > 0.85
    pruned.save(tmp_path / "run")
    again = bp.load(tmp_path / "run")
    assert again.settings.method == "my-ss-ig" and again.kept == pruned.kept
    assert again.settings.options["weight_prior"] == "GaussianSlab(scale=0.2)"


def test_the_parts_of_ss_ig_are_ss_ig(small_data: Data) -> None:
    """The same steps as the method by name, to the last bit, shrinking included."""
    own = bp.prune(perceptron(), small_data, bp.Variational(**SS_IG), learning_rate=1e-3, **QUICK)
    named = bp.prune(
        perceptron(), small_data, "spike-slab", inclusion=0.05, gate_learning_rate=0.1, closed_below=0.4, quiet_steps=3,
        shrink_every=5, prune_share=0.5, start=0.6, means_first=False, **QUICK,
    )  # fmt: skip
    losses, theirs = ([one["loss"] for one in each.history if one["phase"] == "prune"] for each in (own, named))
    assert losses == theirs
    assert own.kept == named.kept and sum(map(len, own.kept.values())) < 56
    assert own.posterior is not None and named.posterior is not None
    assert torch.equal(own.posterior.trace, named.posterior.trace)
    assert torch.equal(own.posterior.reason, named.posterior.reason)


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param(OWN, id="a user's own"),
        pytest.param(SS_IG, id="SS-IG", marks=pytest.mark.long),
        pytest.param({}, id="defaults", marks=pytest.mark.long),
    ],
)
def test_it_resumes_at_any_step(parts: dict[str, Any], small_data: Data, tmp_path: Path) -> None:
    """Stopped after steps before and after removals; the result is that of a run in one go."""
    method = bp.Variational(**parts)
    settings = RunSettings(method.name, **QUICK | {"epochs": 6})
    whole = run(method, perceptron(), small_data, settings)
    for stop in (7, 14, 20):
        file = tmp_path / f"{stop}.safetensors"

        def end(progress: Any, stop: int = stop) -> None:
            if progress.step == stop:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run(method, perceptron(), small_data, settings, checkpointer=Checkpointer(file, steps=1), progress=end)
        again = bp.Variational(**parts)  # made anew, as a new process would
        resumed = run(again, perceptron(), small_data, settings, checkpointer=Checkpointer(file, steps=1))
        assert resumed.kept == whole.kept
        assert [one["loss"] for one in resumed.history] == [one["loss"] for one in whole.history]
    changed = bp.Variational(**parts | {"weight_prior": GaussianSlab(0.3)})
    with pytest.raises(StoreError, match="its options is"):
        run(changed, perceptron(), small_data, settings, checkpointer=Checkpointer(file))


def test_a_prior_and_a_guide_of_the_user_s_shrink_and_give_a_posterior(small_data: Data) -> None:
    """Units far back go first, as the prior says; every gate is open or closed, with a reason."""
    pruned = bp.prune(perceptron(), small_data, bp.Variational(**OWN), **QUICK)
    assert pruned.posterior is not None and set(pruned.posterior.decided.tolist()) == {0, 1}
    shapes = [sum(one["alive"].values()) for one in pruned.history]
    assert shapes[-1] < shapes[0]
    places = torch.cat(
        [torch.tensor(kept) / size for kept, size in zip(pruned.kept.values(), (36, 12, 8), strict=True)]
    )
    assert float(places.mean()) < 0.45
    tree = pruned.posterior_tree()
    assert "posterior" in tree.children


def test_what_is_left_out_fits_what_is_given(small_data: Data) -> None:
    """A prior with prices gets projected gates, another one logits: seen in the optimizers."""
    for method, kind in (
        (bp.Variational(), "ProjectedGateDescent"),
        (bp.Variational(gate_prior=FixedInclusion(0.1)), "FusedAdam"),
    ):
        settings = RunSettings(method.name, epochs=2, batch_size=50)
        state = initial_state(perceptron(), small_data, settings)
        plan = method.plan(state, small_data, settings)
        train(state, plan.phases[:1], small_data, batch_size=50, seed=0)
        assert type(state.optimizers[GATES]).__name__ == kind
        assert (type(guide_of(state)) is GateGuide) == (kind == "ProjectedGateDescent")


def test_priced_gates_whose_weights_count_wait_for_the_deviations(small_data: Data) -> None:
    """Else closing a gate saves what its weights cost before they have learnt their deviations."""
    seen: list[tuple[float, bool]] = []
    guide = partial(GaussianWeightGuide, start=0.5, deviation=0.01, kind="prior_when_closed")
    method = bp.Variational(gate_prior=Flattening(3.0), weight_prior=GaussianSlab(0.2), guide=guide)
    settings = RunSettings(method.name, epochs=60, batch_size=50)
    state = initial_state(perceptron(), small_data, settings)
    phase = method.plan(state, small_data, settings).phases[0]

    def look(state: Any) -> None:
        gates: Any = state.optimizers[GATES]
        seen.append((gates.ramp, gates.waits))

    object.__setattr__(phase, "updates", [*phase.updates, look])
    train(state, [phase], small_data, batch_size=50, seed=0)
    assert all(waits for ramp, waits in seen if ramp < 1) and not seen[-1][1]
    assert len({ramp for ramp, _ in seen}) > 5  # the deviations learn meanwhile


def test_numbers_and_code_of_the_parts_name_the_run() -> None:
    """Equal parts are one run; another number, another line of a class or another captured value is another one."""
    assert bp.Variational(**SS_IG).described == bp.Variational(**SS_IG).described

    def prior(inclusion: float) -> Any:
        return lambda groups: FixedGatePrior(torch.full((groups.gate_count,), inclusion))

    one, other = (bp.Variational(gate_prior=prior(p)).described for p in (0.1, 0.2))
    assert one != other and one == bp.Variational(gate_prior=prior(0.1)).described
    codes = []
    for step in ("theta", "2 * theta"):
        found: dict[str, Any] = {"__name__": "notebook"}
        exec(f"class Prior:\n    def penalty(self, theta):\n        return {step}\n", found)
        codes.append(bp.Variational(gate_prior=found["Prior"]).described["parts_digest"])
    assert codes[0] != codes[1]
    described = bp.Variational(**SS_IG).described
    assert described["guide"] == "LogitGateGuide(start=0.6, deviation=0.05, kind='prior_when_closed')"
    assert described["gate_prior"] == "FixedInclusion(inclusion=0.05, inputs=False)"
    assert "estimator" not in bp.Variational().described


def test_objects_stand_where_names_do(small_data: Data, tmp_path: Path) -> None:
    """Compared with methods by name, with restarts, and read without their code."""
    method = bp.Variational(**SS_IG | {"name": "mine"})
    both = bp.compare(perceptron, small_data, methods=["dense", method], seeds=1, out=tmp_path, epochs=2, batch_size=50)
    assert [one.result["method"] for one in both] == ["dense", "mine"]
    again = bp.compare(perceptron, small_data, methods=method, seeds=1, out=tmp_path, epochs=2, batch_size=50)
    assert again[0].folder == both[1].folder  # found, not made again
    assert RunRecord.read(both[1].folder or tmp_path).settings["options"]["removal"] == "Quiet(below=0.4, steps=3)"
    loaded = bp.load(both[1].folder or tmp_path, factory=perceptron)
    assert loaded.posterior is not None and loaded.settings.method == "mine"
    several = bp.prune(perceptron, small_data, method, restarts=2, epochs=2, batch_size=50)
    assert [one.settings.seed for one in several.restarts] == [0, 1]
    assert several.posterior_tree().posterior.sizes["chain"] == 2
    other = bp.Variational(name="mine")
    with pytest.raises(SettingError, match="two methods are called 'mine'"):
        bp.compare(perceptron, small_data, methods=[method, other], seeds=1, out=tmp_path, epochs=2)


class Wide(SpikeSlabFlat):
    """A method of the user's: its code is part of what the run is."""


def test_the_code_of_a_method_of_the_user_s_names_the_run() -> None:
    settings = RunSettings("spike-slab-flat")
    ours, theirs = (identity_of(settings, None, "data", method=one) for one in (SpikeSlabFlat(), Wide()))
    assert "method_digest" not in ours and ours == identity_of(settings, None, "data")
    assert len(theirs["method_digest"]) == 16


def test_it_computes_in_double_precision(small_data: Data) -> None:
    method = bp.Variational(**SS_IG)
    pruned = bp.prune(perceptron(), small_data, method, epochs=4, batch_size=50, precision="float64")
    assert next(pruned.network.parameters()).dtype == torch.float64


def test_other_estimators_removals_and_decisions(small_data: Data) -> None:
    """Every gate stays where the last decision says so, whatever theta is."""
    everything = bp.Variational(
        weight_prior=Laplace(), estimator=SampledLabelCurvature(), removal="end",
        likelihood=lambda outputs: dist.Categorical(logits=outputs),
        decide=lambda state: torch.ones(state.structure.gate_count, dtype=torch.bool),
    )  # fmt: skip
    pruned = bp.prune(perceptron(), small_data, everything, epochs=4, batch_size=50)
    assert pruned.posterior is not None and int(pruned.posterior.decided.sum()) == 56
