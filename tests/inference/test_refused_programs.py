"""Sites of a user's programs that cannot be scored are refused by name, in one line."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import SVI
from torch import Tensor

from bayesprune.errors import SettingError
from bayesprune.inference import GatedELBO, GatedOptim, GateGuide
from bayesprune.models import FlatteningGatePrior, GatedModel, GaussianSlab
from tests.inference.programs import Shifted, ShiftedGuide, remade

if TYPE_CHECKING:
    from tests.inference.conftest import Tiny

DECIDED = (1.0, 0.0, 1.0, 1.0, 1.0, 0.0)


def program(forward: Callable[..., Any], base: Any = GatedModel) -> Any:
    """A subclass with that program; `forward(self, run)` calls `run()` for the base's."""

    def whole(self: Any, inputs: Any, labels: Any = None) -> Any:
        return forward(self, lambda: base.forward(self, inputs, labels), inputs, labels)

    return type("Own", (base,), {"forward": whole})


def refused(case: Tiny, message: str) -> None:
    """In one line, from the ELBO as a module and under SVI alike."""
    svi = SVI(case.model, case.guide, GatedOptim(case.model, case.guide, 50), loss=GatedELBO())
    for use in (lambda: GatedELBO()(case.model, case.guide)(case.inputs, case.labels),
                lambda: svi.step(case.inputs, case.labels)):  # fmt: skip
        with pytest.raises(SettingError, match=message) as caught:
            use()
        assert "\n" not in str(caught.value)


def with_normal(name: str, **settings: Any) -> Callable[..., Any]:
    """A program that samples a standard normal first."""

    def forward(_: Any, run: Callable[[], Any], *__: Any) -> Any:
        infer: Any = settings
        pyro.sample(name, dist.Normal(0.0, 1.0), infer=infer)
        return run()

    return forward


def test_sites_that_only_one_side_has_are_named(tiny: Callable[..., Tiny]) -> None:
    case = tiny()
    refused(remade(case, program(with_normal("u"))), "the model samples 'u', and the guide does not: sample")
    refused(remade(case, GatedModel, program(with_normal("u"), GateGuide)), "the guide samples 'u', and the model does")
    refused(remade(case, program(with_normal("u")), weight_sites=True), "the model samples 'u', 'w.fc1.bias'")
    refused(
        remade(case, program(lambda _, run, *__: run()), weight_sites=True),
        r"GaussianWeightGuide or GateGuide\(weights",
    )
    only_helps = remade(case, GatedModel, program(with_normal("v", is_auxiliary=True), GateGuide))
    assert GatedELBO()(only_helps.model, only_helps.guide)(case.inputs, case.labels).isfinite()


def test_plates_that_differ_are_named(tiny: Callable[..., Tiny]) -> None:
    """One latent for all examples in the guide, one for each in the model: as many terms as examples."""

    class Inside(GatedModel):
        def outputs(self, inputs: Any, gates: Tensor, weights: dict[str, Tensor] | None = None) -> Tensor:
            pyro.sample("u", dist.Normal(torch.zeros(()).double(), 1.0))
            return super().outputs(inputs, gates, weights)

    case = remade(tiny(), Inside, ShiftedGuide)
    refused(case, "site 'u' is in the plates 'data' of the model and none of the guide")


def test_an_auxiliary_site_takes_its_part(tiny: Callable[..., Tiny]) -> None:
    """What helps to sample costs log q, as in Pyro's ELBO: at a point of density e^1.5 that is 1.5 nats."""

    def forward(_: Any, run: Callable[[], Any], *__: Any) -> Any:
        pyro.sample("v", dist.Delta(torch.tensor(0.0), log_density=1.5), infer={"is_auxiliary": True})
        return run()

    plain = tiny(theta=DECIDED)
    case = remade(plain, GatedModel, program(forward, GateGuide))
    usual, loss = (GatedELBO()(c.model, c.guide)(c.inputs, c.labels) for c in (plain, case))
    torch.testing.assert_close(loss, usual + 1.5)


def test_sites_without_a_pathwise_gradient_are_named(tiny: Callable[..., Tiny]) -> None:
    def discrete(_: Any, run: Callable[[], Any], *__: Any) -> Any:
        pyro.sample("k", dist.Categorical(torch.ones(3)))
        return run()

    def weighed(_: Any, run: Callable[[], Any], *__: Any) -> Any:
        pyro.factor("volume", torch.tensor(1.0), has_rsample=False)
        return run()

    def observed(_: Any, run: Callable[[], Any], *__: Any) -> Any:
        pyro.sample("seen", dist.Normal(0.0, 1.0), obs=torch.tensor(1.0))
        return run()

    case = tiny()
    both = remade(case, program(discrete), program(discrete, GateGuide))
    refused(
        both, r"site 'k' of the guide \(Categorical\) has no pathwise gradient: take a reparametrised law.*Trace_ELBO"
    )
    refused(remade(case, GatedModel, program(weighed, GateGuide)), "'volume' of the guide .* say has_rsample=True")
    refused(remade(case, GatedModel, program(observed, GateGuide)), "site 'seen' of the guide is observed")


def test_sites_that_look_at_the_gates_are_named(tiny: Callable[..., Tiny]) -> None:
    """Their part in the gates' gradient would be lost: factors, observations, and sites of the guide."""

    class Few(GatedModel):
        def outputs(self, inputs: Any, gates: Tensor, weights: dict[str, Tensor] | None = None) -> Tensor:
            pyro.factor("few", -gates.sum().round())
            return super().outputs(inputs, gates, weights)

    class Twice(GatedModel):
        def outputs(self, inputs: Any, gates: Tensor, weights: dict[str, Tensor] | None = None) -> Tensor:
            logits = super().outputs(inputs, gates, weights)
            pyro.sample("second", dist.Normal(logits[..., 0], 1.0), obs=inputs[:, 0])
            return logits

    class Follows(GateGuide):
        def forward(self, inputs: Any, labels: Any = None) -> Any:
            gates = super().forward(inputs, labels)
            pyro.sample("u", dist.Normal(gates.sum(), 1.0))
            return gates

    case = tiny()
    refused(remade(case, Few), "site 'few' of the model looks at the gates, .*: leave 'z' out of it")
    refused(remade(case, Twice), "site 'second' of the model looks at the gates")
    refused(remade(case, Shifted, Follows), "site 'u' of the guide looks at the gates")


def test_gates_with_another_law_are_named(tiny: Callable[..., Tiny]) -> None:
    """Closed forms stand for the package's own statements only."""

    def no_gates(*_: Any) -> None:
        pyro.sample("pi", dist.Normal(0.0, 1.0))

    def fair(self: Any, _: Any, *__: Any) -> None:
        pyro.sample("pi", dist.Delta(self._model[0].gate_prior.best_inclusion(self.theta).detach()).to_event(1))
        pyro.sample("z", dist.Bernoulli(0.5 * self.theta + 0.1).to_event(1))

    def own_prior(self: Any, _: Any, inputs: Any, labels: Any) -> Any:
        gates = pyro.sample("z", dist.Bernoulli(torch.full((6,), 0.3).double()).to_event(1))
        pyro.sample("pi", self.gate_prior._make_hyper_prior())
        with pyro.plate("data", self.size, subsample=torch.arange(len(inputs)), dim=-1):
            return pyro.sample("y", self.likelihood(self.outputs(inputs, gates)), obs=labels)

    case = tiny()
    refused(remade(case, GatedModel, program(no_gates, GateGuide)), "the guide does not sample the gates 'z'")
    refused(remade(case, GatedModel, program(fair, GateGuide)), "site 'z' of the guide is not GateGuide's")
    refused(remade(case, program(own_prior)), "site 'z' of the model is not the gate prior's")


class Shared(FlatteningGatePrior):
    """A chance that all gates share, which the closed form knows nothing of."""

    def sample_gates(self) -> Tensor:
        chance = pyro.sample("rho", dist.Normal(torch.zeros(()).double(), 1.0)).sigmoid()
        pyro.sample("pi", self._make_hyper_prior())
        return pyro.sample("z", dist.Bernoulli(chance.expand(6)).to_event(1))


def test_a_gate_prior_with_a_site_of_its_own_is_named(tiny: Callable[..., Tiny]) -> None:
    def forward(_: Any, run: Callable[[], Any], *__: Any) -> Any:
        pyro.sample("rho", dist.Normal(torch.zeros(()).double(), 1.0))
        return run()

    case = tiny(gate_prior=Shared(torch.full((6,), 2.0).double()))
    refused(case, "the model samples 'rho', and the guide does not")
    refused(remade(case, GatedModel, program(forward, GateGuide)), "site 'z' of the model looks at other sites")


def test_labels_that_estimators_would_not_see_are_named(tiny: Callable[..., Tiny]) -> None:
    def turned(self: Any, _: Any, inputs: Any, labels: Any) -> Any:
        return GatedModel.forward(self, inputs, labels.flip(0))

    def masked(_: Any, run: Callable[[], Any], *__: Any) -> Any:
        wanted: Any = torch.tensor([True, False, True, True, True])
        with pyro.poutine.mask(mask=wanted):
            return run()

    def scaled(_: Any, run: Callable[[], Any], *__: Any) -> Any:
        with pyro.poutine.scale(scale=torch.tensor([1.0, 2.0, 1.0, 1.0, 1.0])):
            return run()

    def renamed(self: Any, _: Any, inputs: Any, labels: Any) -> Any:
        gates = self.gate_prior.sample_gates()
        return pyro.sample("labels", self.likelihood(self.outputs(inputs, gates)).to_event(1), obs=labels)

    case = tiny()
    refused(remade(case, program(turned)), "site 'y' observes other labels than were given")
    refused(remade(case, program(masked), weight_prior=GaussianSlab(float("inf"))), "site 'y' is masked")
    refused(remade(case, program(scaled)), "site 'y' has a scale for each example")
    refused(remade(case, program(renamed)), "the model observes no site 'y'|'labels' of the model looks at the gates")
    refused(case._replace(labels=None), "labels are missing")  # type: ignore[arg-type]  # none are given
