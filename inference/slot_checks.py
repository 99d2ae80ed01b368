"""Whether the parts of a `Variational` are what they must be, and fit together: said before anything is written."""

from collections.abc import Callable
from typing import Any

import torch
from pyro import poutine
from pyro.infer.elbo import ELBO
from torch import Tensor, nn

from bayesprune.data import Data
from bayesprune.devices import device_of
from bayesprune.errors import BayespruneError, SettingError, UnknownNameError, a_kind
from bayesprune.inference.elbo import GatedELBO, MiniBatch
from bayesprune.inference.estimators import ESTIMATORS, DisARM, GateEstimator, SalientFlips, ScoreFunction, UniformFlips
from bayesprune.inference.estimators.base import negative_log_likelihood
from bayesprune.inference.guides import GateGuide
from bayesprune.inference.objective import GatedObjective, check_follows
from bayesprune.inference.programs import log_probs
from bayesprune.inference.removal import Attraction, SlowAverage
from bayesprune.inference.slots import AdamSteps, ProjectedSteps, learnt_gates
from bayesprune.models.gated import GatedModel
from bayesprune.models.likelihoods import TaskLikelihood
from bayesprune.models.priors.gates import FlatteningGatePrior
from bayesprune.models.priors.weights import GaussianSlab, slab_parameters
from bayesprune.structure import evaluating
from bayesprune.training import TrainState

COMPARING = (SalientFlips, UniformFlips, DisARM, ScoreFunction)
"""Estimators that compare losses: with the same weights in both, or their noise would be in the difference."""

EXAMPLES = 4
"""Of the training data, on which parts are tried."""


def check_kinds(slots: dict[str, Any]) -> None:
    """Refuse parts that are of another kind than their slot.

    Raises:
        SettingError: naming the slot, what was given, and what it must be.
    """
    for name, wanted, good in (
        ("gate_prior", "a function from a Structure to a gate prior, such as FixedInclusion(1e-3)", _makes),
        ("weight_prior", "a prior of the weights, such as GaussianSlab(0.2)", _has("log_prob", "sample")),
        ("guide", "a function from a GatedModel to a GateGuide, such as the class GateGuide", _makes),
        ("likelihood", "a function from outputs to a distribution, such as CategoricalLikelihood()", _is_likelihood),
        ("step", "a step of the gates, such as AdamSteps()", _has("optimizer", "__call__")),
        ("removal", "a rule of removal, such as Quiet(), or 'end'", _is_removal),
        ("decide", "a function from the state to the gates that stay, bool [J]", callable),
    ):
        part = slots[name]
        if part is None and name not in ("gate_prior", "weight_prior"):
            continue
        if isinstance(part, type) and name not in ("gate_prior", "guide", "decide"):
            raise SettingError(f"{name} is the class {part.__name__}: give {wanted}")
        if not good(part):
            raise SettingError(f"{name} must be {wanted}, not {_said(part)}")
    _check_estimator(slots["estimator"])


def _check_estimator(given: Any) -> None:
    """Refuse what estimates no gradient, and losses in other units."""
    if given is None:
        return
    if isinstance(given, str):
        if given not in ESTIMATORS:
            raise UnknownNameError("estimator", given, ESTIMATORS)
        return
    if isinstance(given, (ELBO, GatedObjective)) or given in (GatedELBO, GatedObjective):
        raise SettingError(
            f"estimator is {_said(given)}, a whole loss: an estimator gives the data's part in nats per example, and "
            "the loop adds the rest; give an estimator such as 'curvature' or RelaxedGates()"
        )
    if isinstance(given, type) or not _has("loss")(given):
        raise SettingError(f"estimator must be a name or an estimator such as RelaxedGates(), not {_said(given)}")


def made_prior(make: Callable[..., Any], state: TrainState) -> Any:
    """The prior over the gates of a state, checked.

    The penalty counts nats of the whole training set, so where all gates are decided it must be -ln p(z) of what the
    prior samples.

    Raises:
        SettingError: the function fails, or what it makes is no gate prior, or its penalty is in other units.
    """
    prior = _called("gate_prior", make, state.structure)
    if not _has("sample_gates", "best_inclusion", "penalty")(prior):
        raise SettingError(
            f"gate_prior makes {a_kind(prior)}: a gate prior has sample_gates(), best_inclusion(theta) and "
            "penalty(theta), see bayesprune.models.priors.gates.GatePrior"
        )
    gates = state.structure.gate_count
    for theta in (torch.zeros(gates), torch.ones(gates), torch.arange(gates) % 2.0, torch.full((gates,), 0.5)):
        nats = _called("the penalty of gate_prior", prior.penalty, theta)
        if not isinstance(nats, Tensor) or nats.shape != (gates,) or not bool(torch.isfinite(nats).all()):
            shape = list(nats.shape) if isinstance(nats, Tensor) else type(nats).__name__
            raise SettingError(
                f"the penalty of gate_prior at theta = {float(theta[0]):g} is {shape}, or not finite: it must be "
                f"finite nats of shape [{gates}], one for each gate"
            )
        if bool(((theta == 0) | (theta == 1)).all()):
            _check_nats(prior, theta, float(nats.detach().double().sum()))
    return prior


def _check_nats(prior: Any, gates: Tensor, said: float) -> None:
    """Compare the penalty of decided gates with what the prior's program says of them."""
    with torch.no_grad(), torch.random.fork_rng(devices=[]), poutine.block():
        best = prior.best_inclusion(gates)
        values = {"z": gates} | ({} if best is None else {"pi": best})
        trace = poutine.trace(poutine.condition(prior.sample_gates, values)).get_trace()
        true = -float(sum(log_probs(trace, set()).values(), torch.zeros(())))
    if abs(said - true) > 1e-3 * (1 + abs(true)):
        raise SettingError(
            f"the penalty of gate_prior is {said:.6g} nats for decided gates whose -ln p(z) is {true:.6g}: it must "
            "be counted in nats of the whole training set, undivided by the number of examples"
        )


@torch.no_grad()
def check_weight_prior(prior: Any, network: nn.Module) -> None:
    """Compare the log density of the network's weights with what the prior's program says of them.

    Raises:
        SettingError: it is no finite number, or in other units.
    """
    weights = slab_parameters(network)
    said = _called("log_prob of weight_prior", prior.log_prob, network)
    if not isinstance(said, Tensor) or said.dim() or not bool(torch.isfinite(said)):
        raise SettingError(f"log_prob of weight_prior is {said!r:.80}: it must be one finite number of nats")
    if isinstance(prior, GaussianSlab) and prior.scale == float("inf"):
        return  # flat: it has no law to draw from
    with torch.random.fork_rng(devices=[]), poutine.block():
        values = {f"w.{name}": weight.detach() for name, weight in weights.items()}
        program = poutine.trace(poutine.condition(lambda: prior.sample(network), values))
        found = log_probs(_called("sample of weight_prior", program.get_trace), set())
    missing = sorted(values.keys() - found.keys())
    if missing:
        raise SettingError(f"sample of weight_prior has no site {missing[0]!r}: it needs one for each tensor")
    true = float(sum(found.values(), torch.zeros(())))
    if abs(float(said) - true) > 1e-3 * (1 + abs(true)):
        raise SettingError(
            f"log_prob of weight_prior is {float(said):.6g} where the sites of its sample say {true:.6g} nats: it must "
            "be counted in nats of the whole training set, undivided by the number of examples"
        )


def made_guide_of(make: Callable[..., Any], model: GatedModel) -> GateGuide:
    """The guide of a model, checked.

    Raises:
        SettingError: the function fails, or what it makes is no guide that the loop can train.
    """
    guide = _called("guide", make, model)
    if not isinstance(guide, GateGuide):
        raise SettingError(
            f"guide makes {a_kind(guide)}: the loop needs a GateGuide or a subclass of it, which knows the "
            "gates and is cut along with them"
        )
    check_follows(guide)
    return guide


def check_fit_together(guide: GateGuide, prior: Any, step: Any, rule: Any, estimator: GateEstimator) -> None:
    """Refuse parts that are good by themselves and not with each other.

    Raises:
        SettingError: naming both, and the cure.
    """
    boxed = any(parameter is guide.theta for parameter in learnt_gates(guide))
    if isinstance(step, ProjectedSteps):
        if not isinstance(prior, FlatteningGatePrior):
            raise SettingError(
                f"ProjectedSteps measures steps in prices, and {type(prior).__name__} has none: take AdamSteps() with "
                "a guide of logits (LogitGateGuide), or the prior Flattening(price)"
            )
        if not boxed:
            raise SettingError(
                f"ProjectedSteps moves theta itself, and {type(guide).__name__} computes it: take AdamSteps()"
            )
    elif isinstance(rule, (SlowAverage, Attraction)):
        raise SettingError(f"the removal {rule.name!r} reads the averages of ProjectedSteps: take Quiet()")
    if isinstance(step, AdamSteps) and boxed:
        raise SettingError(
            "AdamSteps would carry theta out of [0, 1]: take ProjectedSteps(), or a guide of logits (LogitGateGuide)"
        )
    if not learnt_gates(guide):
        raise SettingError(f"{type(guide).__name__} learns no gates: its gate_parameters() need no gradient")
    if getattr(guide, "draws", "batch") == "example" and isinstance(estimator, COMPARING):
        raise SettingError(
            f"{type(estimator).__name__} compares losses, which must see the same weights: give the guide draws='batch'"
        )


def try_loss(model: GatedModel, guide: GateGuide, estimator: GateEstimator, state: TrainState, data: Data) -> None:
    """Compute the loss of a few examples once: whatever does not fit is said now.

    Raises:
        SettingError: the likelihood does not fit the targets, a site cannot be scored, or the loss is no finite number.
    """
    inputs, labels = next(iter(data.train.batches(EXAMPLES)))
    with torch.random.fork_rng(devices=[]), evaluating(state.network):
        _check_likelihood(model, inputs, labels)
        _check_estimator_units(MiniBatch(model, guide, inputs, labels), estimator, guide.theta.detach())
        loss = _called("the loss", GatedELBO(estimator)(model, guide), inputs, labels)
        if loss.dim() or not bool(torch.isfinite(loss)):
            raise SettingError(f"the loss is {loss.detach()} on {EXAMPLES} examples: it must be one finite number")


def _check_estimator_units(problem: MiniBatch, estimator: GateEstimator, theta: Tensor) -> None:
    """Compare an estimator's loss with the mean negative log-likelihood, where all gates are open for good."""
    opened = torch.ones_like(theta).requires_grad_(True)
    said = _called("estimator", estimator.loss, problem, opened)
    true = float(negative_log_likelihood(problem, torch.ones_like(theta)).detach().mean())
    if not isinstance(said, Tensor) or said.dim() or abs(float(said.detach()) - true) > 1e-3 * (1 + abs(true)):
        raise SettingError(
            f"estimator gives {said!r:.80} with all gates open, and the mean negative log-likelihood is {true:.6g}: it "
            "must give that, in nats per example, with the gates' gradient"
        )


@torch.no_grad()
def _check_likelihood(model: GatedModel, inputs: Any, labels: Any) -> None:
    """Refuse a likelihood that does not give one log-probability for each example."""
    if isinstance(model.likelihood, TaskLikelihood):
        return  # the task's own checks hold
    outputs = model.outputs(inputs, torch.ones(model.structure.gate_count, device=device_of(model.network)))
    law = _called("likelihood", model.likelihood, outputs)
    if not _has("log_prob")(law):
        raise SettingError(f"likelihood makes {a_kind(law)}: it must make a distribution of the targets")
    wanted = f"outputs {list(outputs.shape)} and targets {list(getattr(labels, 'shape', []))}"
    try:
        said = law.log_prob(labels)
    except Exception as error:  # the law is the user's
        fault = " ".join(str(error).split())[:160]
        raise SettingError(f"likelihood does not fit {wanted} ({type(error).__name__}: {fault})") from error
    if said.shape != outputs.shape[:1] or not bool(torch.isfinite(said).all()):
        raise SettingError(
            f"likelihood gives log-probabilities {list(said.shape)} for {wanted}: it must give one finite number for "
            "each example; a law of several numbers needs .to_event(1)"
        )


def _called(name: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function of the user's gives; its errors as ours."""
    try:
        return function(*arguments)
    except BayespruneError:
        raise
    except Exception as error:  # the function is the user's and may raise anything
        said = " ".join(str(error).split())[:200]
        raise SettingError(f"{name} failed ({type(error).__name__}: {said})") from error


def _has(*names: str) -> Callable[[Any], bool]:
    return lambda part: all(callable(getattr(part, name, None)) for name in names)


def _makes(part: Any) -> bool:
    """Whether it is a function that makes a part, and not the part itself."""
    return callable(part) and (isinstance(part, type) or not isinstance(part, nn.Module))


def _is_likelihood(part: Any) -> bool:
    return callable(part) and not isinstance(part, nn.Module)


def _is_removal(part: Any) -> bool:
    return part == "end" or _has("observe", "removable")(part)


def _said(part: Any) -> str:
    return repr(part) if isinstance(part, (str, int, float, type(None))) else a_kind(part)
