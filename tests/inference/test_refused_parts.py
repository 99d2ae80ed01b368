"""Parts that cannot be, or do not fit: refused with one line before anything is written."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn

import bayesprune as bp
from bayesprune.data import Data
from bayesprune.errors import SettingError
from bayesprune.inference import (
    AdamSteps,
    FixedInclusion,
    Flattening,
    GatedELBO,
    GateGuide,
    GaussianWeightGuide,
    GaussianWeights,
    LogitGateGuide,
    ProjectedSteps,
    Quiet,
    RelaxedGates,
)
from bayesprune.inference.elbo_objective import ElboObjective
from bayesprune.inference.estimators import SalientFlips
from bayesprune.inference.flattened import Flattened
from bayesprune.inference.options import ParsimoniousOptions
from bayesprune.inference.removal import Attraction, SlowAverage
from bayesprune.inference.spike_slab.flat import SpikeSlabFlat
from bayesprune.models import FixedGatePrior, FlatteningGatePrior, GaussianLikelihood, GaussianSlab, LeNet300
from bayesprune.structure import Structure
from bayesprune.training import TrainState

pytestmark = pytest.mark.filterwarnings("ignore::bayesprune.errors.PruningWarning")
QUICK: dict[str, Any] = {"epochs": 20, "batch_size": 50, "seed": 0}
Loose: Any = bp.Variational
"""For what no type checker lets through."""


def perceptron() -> LeNet300:
    return LeNet300((12, 8), (1, 6, 6), 3)


class Divided(FixedGatePrior):
    """In nats per example, which no penalty is."""

    def __init__(self, groups: Structure) -> None:
        super().__init__(torch.full((groups.gate_count,), 0.1))

    def penalty(self, theta: Tensor) -> Tensor:
        return super().penalty(theta) / 240


class Summed(Divided):
    def penalty(self, theta: Tensor) -> Tensor:
        return super().penalty(theta).sum()


class Thin(GaussianSlab):
    """In nats per example, which no log density is."""

    def log_prob(self, network: nn.Module, parameters: Any = None) -> Tensor:
        return super().log_prob(network, parameters) / 240


class Few(GaussianSlab):
    def sample(self, network: nn.Module) -> dict[str, Tensor]:
        return {}


class Total(RelaxedGates):
    """In nats of the whole mini-batch."""

    def loss(self, problem: Any, theta: Tensor) -> Tensor:
        return super().loss(problem, theta) * problem.size


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: FixedInclusion(1.0), "inclusion must lie strictly between 0 and 1, not 1.0"),
        (lambda: FixedInclusion(0.0), "inclusion must be a finite number > 0, not 0.0"),
        (lambda: FixedInclusion("a"), "inclusion must be a number, not 'a'"),  # type: ignore[arg-type]  # on purpose
        (lambda: Flattening(-1.0), "price must be a finite number > 0, not -1.0"),
        (lambda: GaussianSlab(-1.0), "scale must be > 0, not -1.0"),
        (lambda: Quiet(below=0.9), "below must be a finite number > 0 and <= 0.5, not 0.9"),
        (lambda: AdamSteps(-1.0), "learning_rate must be a finite number > 0"),
        (lambda: ProjectedSteps(0.5), "horizon must be a finite number >= 1"),
        (lambda: Loose(gate_prior=0.1), "gate_prior must be a function from a Structure to a gate prior"),
        (lambda: Loose(gate_prior=FixedGatePrior(torch.ones(3) / 2)), "not a FixedGatePrior"),
        (lambda: Loose(weight_prior=0.2), "weight_prior must be a prior of the weights"),
        (lambda: Loose(weight_prior=GaussianSlab), "weight_prior is the class GaussianSlab: give"),
        (lambda: Loose(guide="GateGuide"), "guide must be a function from a GatedModel"),
        (lambda: Loose(likelihood=3), "likelihood must be a function from outputs to a distribution"),
        (lambda: Loose(estimator="curvatur"), "unknown estimator 'curvatur'"),
        (lambda: Loose(estimator=3), "estimator must be a name or an estimator"),
        (lambda: Loose(estimator=GatedELBO()), "nats per example, and the loop adds the rest"),
        (lambda: Loose(step=0.1), "step must be a step of the gates"),
        (lambda: Loose(removal="soon"), "removal must be a rule of removal, such as Quiet\\(\\), or 'end'"),
        (lambda: Loose(prune_share=0.0), "prune_share must be a finite number > 0 and <= 1"),
        (lambda: Loose(name=" "), "name must be one line of printable text"),
        (lambda: Loose(name="two\nlines"), "name must be one line of printable text"),
    ],
)
def test_a_part_of_another_kind_is_refused_at_once(make: Callable[[], Any], said: str) -> None:
    with pytest.raises(SettingError, match=said):
        make()


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"gate_prior": lambda groups: 3}, "gate_prior makes an int"),
        ({"gate_prior": lambda groups: groups.nothing}, "gate_prior failed \\(AttributeError"),
        ({"gate_prior": Divided}, "nats for decided gates whose -ln p\\(z\\) is"),
        ({"gate_prior": Summed}, "finite nats of shape \\[56\\], one for each gate"),
        (
            {"gate_prior": lambda groups: FixedGatePrior(torch.full((3,), 0.5))},
            "The size of tensor a|of shape \\[56\\]",
        ),
        ({"gate_prior": lambda groups: FlatteningGatePrior(torch.full((56,), float("nan")))}, "must be finite"),
        ({"weight_prior": Thin(0.5)}, "log_prob of weight_prior is .* where the sites of its sample say"),
        ({"weight_prior": Few(0.5)}, "sample of weight_prior has no site 'w.fc1.bias'"),
        ({"gate_prior": FixedInclusion(0.1), "estimator": Total()}, "with all gates open, and the mean negative"),
        ({"guide": lambda model: nn.Linear(2, 2)}, "guide makes a Linear: the loop needs a GateGuide"),
        ({"guide": lambda model: GateGuide(model, 2.0)}, "must lie in \\[0, 1\\]"),
        ({"guide": GaussianWeightGuide, "weight_prior": GaussianSlab(float("inf"))}, "GaussianSlab of finite scale"),
        ({"likelihood": GaussianLikelihood(1.0)}, "likelihood .*outputs \\[4, 3\\] and targets \\[4\\]"),
        ({"likelihood": lambda outputs: dist.Categorical(logits=outputs[:2])}, "does not fit outputs \\[4, 3\\]"),
        ({"likelihood": lambda outputs: outputs}, "likelihood makes a Tensor"),
        ({"likelihood": lambda outputs: dist.Normal(outputs[:, 0], 1.0).to_event(1)}, "log-probabilities \\[\\]"),
        ({"gate_prior": FixedInclusion(0.1), "step": ProjectedSteps()}, "measures steps in prices"),
        ({"guide": partial(LogitGateGuide, start=0.5), "step": ProjectedSteps()}, "moves theta itself"),
        ({"guide": GateGuide, "step": AdamSteps()}, "would carry theta out of"),
        ({"gate_prior": FixedInclusion(0.1), "removal": Attraction(0.1)}, "'attraction' reads the averages"),
        ({"gate_prior": FixedInclusion(0.1), "removal": SlowAverage()}, "'average' reads the averages"),
        ({"guide": partial(GaussianWeightGuide, draws="example"), "estimator": SalientFlips()}, "draws='batch'"),
        ({"guide": partial(GaussianWeightGuide, draws="example"), "estimator": "disarm"}, "draws='batch'"),
    ],
)
def test_parts_that_do_not_fit_are_refused_before_anything_is_written(
    parts: dict[str, Any], said: str, small_data: Data, tmp_path: Path
) -> None:
    method = bp.Variational(**parts)
    with pytest.raises(SettingError, match=said):
        bp.prune(perceptron(), small_data, method, checkpoint=tmp_path / "state", **QUICK)
    with pytest.raises(SettingError, match=said):
        bp.compare(perceptron, small_data, methods=["dense", method], seeds=1, out=tmp_path / "runs", epochs=2)
    assert not list(tmp_path.iterdir())


def test_a_guide_of_pyro_s_over_the_weights_cannot_follow(small_data: Data, tmp_path: Path) -> None:
    from pyro.infer.autoguide import AutoNormal

    class Over(GateGuide):
        weight_sites = True

    method = bp.Variational(guide=lambda model: Over(model, weights=AutoNormal) if model.weight_sites else Over(model))
    with pytest.raises(SettingError, match="a guide of Pyro's over the weights cannot follow"):
        bp.prune(perceptron(), small_data, method, checkpoint=tmp_path / "state", **QUICK)
    assert not list(tmp_path.iterdir())


def test_flattened_methods_refuse_weights_that_gates_would_be_priced_by(small_data: Data) -> None:
    class Gated(Flattened):
        name, summary, options = "gated", "", ParsimoniousOptions

        def weight_law(self, options: Any, chosen: Any, recipe: Any) -> GaussianWeights:
            return GaussianWeights(0.01, 0.01, kind="prior_when_closed")

    with pytest.raises(SettingError, match="an open gate cost ln gamma and the divergence of its weights"):
        bp.prune(perceptron(), small_data, Gated(), epochs=2)


def test_the_objective_is_no_loss_of_svi(small_data: Data) -> None:
    """As `GatedObjective`: it counts nats per example."""
    objective: Any = ElboObjective(FixedInclusion(0.1), 240, GaussianSlab(0.2), RelaxedGates())
    with pytest.raises(SettingError, match="ElboObjective counts nats per example"):
        objective(None, None)


def test_what_is_no_method_is_refused(small_data: Data) -> None:
    for wrong in (3, bp.Variational, None):
        with pytest.raises(SettingError, match="method must be a name or an object"):
            bp.prune(perceptron(), small_data, wrong, epochs=1)  # type: ignore[arg-type]  # on purpose
    with pytest.raises(SettingError, match="the name 'dense' is that of another method"):
        bp.prune(perceptron(), small_data, bp.Variational(name="dense"), epochs=1)
    with pytest.raises(SettingError, match="cannot use price"):
        bp.prune(perceptron(), small_data, bp.Variational(), price=3.0, epochs=1)
    with pytest.raises(SettingError, match="has no options"):
        bp.prune(perceptron(), small_data, bp.Variational(), options={"slab": 1.0}, epochs=1)
    with pytest.raises(SettingError, match="epochs=0|epochs=1 or more"):
        bp.prune(perceptron(), small_data, bp.Variational(), epochs=0)
    assert bp.prune(perceptron(), small_data, SpikeSlabFlat(), epochs=1).settings.method == "spike-slab-flat"


class Says:
    """A rule of removal that says the same whatever happens."""

    def __init__(self, said: Any) -> None:
        self.said = said

    def observe(self, state: Any) -> None:
        pass

    def removable(self, state: Any) -> Any:
        return self.said


@pytest.mark.parametrize(
    ("said", "given"),
    [(None, "NoneType"), ([True], "list"), (torch.ones(2) > 0, r"torch.bool \[2\]"), (torch.ones(2), "torch.float32")],
)
def test_what_is_said_of_gates_must_be_one_bool_each(small_data: Data, said: Any, given: str) -> None:
    decides = Loose(gate_prior=FixedInclusion(0.1), decide=lambda state: said)
    with pytest.raises(SettingError, match=f"decide gives {given}.*for each gate"):
        bp.prune(perceptron(), small_data, decides, epochs=2, batch_size=50, seed=0)
    removes = Loose(gate_prior=FixedInclusion(0.1), removal=Says(said), shrink_every=1)
    with pytest.raises(SettingError, match=f"removal.removable.state. gives {given}.*for each gate"):
        bp.prune(perceptron(), small_data, removes, epochs=2, batch_size=50, seed=0)


class FailingLate(Quiet):
    """A rule of the user's that fails in the middle of a run."""

    def __init__(self, place: str) -> None:
        super().__init__()
        object.__setattr__(self, "place", place)

    def observe(self, state: TrainState) -> None:
        super().observe(state)
        if self.place == "observe" and state.step == 3:  # type: ignore[attr-defined]  # set above: Quiet is frozen
            raise ZeroDivisionError("no\nnumber")

    def removable(self, state: TrainState) -> Tensor:
        if self.place == "removable":  # type: ignore[attr-defined]  # as above
            raise KeyError("who")
        return super().removable(state)


@pytest.mark.parametrize(
    ("place", "step", "cause", "said"),
    [("observe", 3, ZeroDivisionError, "ZeroDivisionError: no number"), ("removable", 5, KeyError, "KeyError: 'who'")],
)
def test_a_rule_that_fails_in_a_run_is_named_with_its_step(
    place: str, step: int, cause: type[Exception], said: str, small_data: Data
) -> None:
    method = Loose(gate_prior=FixedInclusion(0.1), removal=FailingLate(place), shrink_every=5)
    with pytest.raises(SettingError) as caught:
        bp.prune(perceptron(), small_data, method, **QUICK)
    line = str(caught.value)
    assert line == f"removal.{place} of FailingLate failed at step {step} ({said}): mend it, or take another part"
    assert isinstance(caught.value.__cause__, cause)


def test_a_decision_that_fails_is_named_with_its_step(small_data: Data) -> None:
    def choose(state: TrainState) -> Tensor:
        raise RuntimeError

    method = Loose(gate_prior=FixedInclusion(0.1), decide=choose)
    with pytest.raises(SettingError, match=r"^decide of .*choose failed at step 50 \(RuntimeError\)") as caught:
        bp.prune(perceptron(), small_data, method, **QUICK)
    assert isinstance(caught.value.__cause__, RuntimeError)
