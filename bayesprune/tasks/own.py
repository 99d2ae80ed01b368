"""A user's own task: a likelihood of their own, or only a loss, and metrics by name."""

from collections.abc import Callable, Collection, Mapping
from copy import copy
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributions import kl_divergence

from bayesprune.errors import DataError, SettingError, a_kind
from bayesprune.tasks.code import said_by
from bayesprune.tasks.likelihood import Likelihood, per_example
from bayesprune.tasks.task import Array, Metric, Task, Values, numbers

Law = Callable[[Tensor], Any]
"""From outputs [B, ...] to a distribution of Pyro's or torch's over targets, with batch shape [B] or [B, ...]."""

Loss = Callable[[Tensor, Tensor], Tensor]
"""From outputs and targets to a number, or to one for each example [B]."""

Measure = Callable[[Tensor, Tensor], Any]
"""From outputs [N, ...] and targets [N, ...] of the test split to a number."""

_WHOLE_NUMBERS = "biu"


@dataclass(frozen=True, eq=False)
class OwnTask(Task):
    """Targets as they are given (whole numbers as int64, others as float32), and what the user says of them.

    Args:
        outputs: numbers that the network says of an example; networks by name are made with so many.
        law: from outputs to a distribution of the targets (`Law`).
        loss: what to minimise instead (`Loss`). Deterministic methods take it as it is, and Bayesian ones as the
            negative log-likelihood of an example in nats.
        measures: functions by name (`Measure`), each called with all outputs and targets; the first is the one by which
            networks are compared; without any the negative log-likelihood, or the loss, is.
        lower_is_better: names of those that are better when they are lower.

    Raises:
        SettingError: neither or both of `law` and `loss` are given.
    """

    outputs: int = 1
    law: Law | None = None
    loss: Loss | None = None
    measures: Mapping[str, Measure] = field(default_factory=dict)
    lower_is_better: Collection[str] = ()

    name = "own"

    def __post_init__(self) -> None:
        if (self.law is None) == (self.loss is None):
            raise SettingError("an own task needs law=..., from outputs to a distribution, or loss=..., not both")
        if isinstance(self.lower_is_better, str):
            object.__setattr__(self, "lower_is_better", (self.lower_is_better,))
        unknown = sorted(set(self.lower_is_better) - set(self.measures))
        if unknown:
            raise SettingError(f"lower_is_better names {', '.join(unknown)}, and measures has no such function")

    @property
    def metrics(self) -> tuple[Metric, ...]:  # type: ignore[override]  # a task of the user's has its own
        """Those of the user, then the mean negative log-likelihood or loss."""
        own = [Metric(key, key, "of the user's own", "", key not in self.lower_is_better) for key in self.measures]
        said = "negative log-likelihood" if self.loss is None else "loss"
        label = "NLL" if self.loss is None else "loss"
        return (*own, Metric("nll", label, f"mean {said} of an example", "nats" if self.loss is None else "", False))

    @classmethod
    def fitted(cls, targets: Array, where: str, outputs: int | None = None) -> Task:
        """An own task is made by the user."""
        raise SettingError("make an own task by bayesprune.OwnTask(law=...) or bayesprune.OwnTask(loss=...)")

    def targets(self, values: Array, where: str) -> Tensor:
        """See `Task.targets`."""
        if values.ndim < 1:
            raise DataError(f"the targets of {where} have no axis: one an example is needed")
        if values.dtype.kind in _WHOLE_NUMBERS:
            return torch.from_numpy(values.astype(np.int64))
        return torch.from_numpy(numbers(values, where).astype(np.float32))

    def likelihood(self) -> Likelihood:
        """See `Task.likelihood`."""
        if self.law is not None:
            return FromLaw(self.law)
        assert self.loss is not None
        return FromLoss(self.loss)

    def measured(self, outputs: Tensor, targets: Tensor, likelihood: Likelihood) -> Values:
        """See `Task.measured`."""
        found: Values = {name: _number(name, measure(outputs, targets)) for name, measure in self.measures.items()}
        return found | {"nll": float(likelihood.loss(outputs, targets))}

    def check_outputs(self, outputs: Any, count: int, example_shape: Any, when: str, name: str) -> None:
        """Refuse what is no tensor with one row an example."""
        if not isinstance(outputs, Tensor) or outputs.dim() < 1 or len(outputs) != count:
            super().check_outputs(None if isinstance(outputs, Tensor) else outputs, count, example_shape, when, name)

    def to_json(self) -> dict[str, Any]:
        """See `Task.to_json`; the functions are named by a hash of their code."""
        functions = [self.law, self.loss, *self.measures.values()]
        digest = blake2b(digest_size=8)
        for function in functions:
            digest.update(said_by(function).encode())
        own = {"law": self.law is not None, "code_digest": digest.hexdigest(), "measures": list(self.measures)}
        return super().to_json() | own


class FromLaw(Likelihood):
    """What a user's function from outputs to a distribution says."""

    def __init__(self, law: Law) -> None:
        super().__init__()
        self._law = law

    def terms(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """See `Likelihood.terms`."""
        law = self._of(outputs)
        if tuple(law.batch_shape + law.event_shape) != tuple(targets.shape):
            raise SettingError(
                f"the law of the own task is one of targets {list(law.batch_shape + law.event_shape)}, and the targets "
                f"are {list(targets.shape)}: let its law have the shape of the targets, such as "
                "Normal(outputs[:, 0], 1) for targets [N] and Normal(outputs, 1).to_event(1) for [N, K]"
            )
        log_prob: Tensor = law.log_prob(targets)
        if log_prob.dim() < 1 or len(log_prob) != len(outputs):
            raise SettingError(
                f"the law of the own task gives log-probabilities {list(log_prob.shape)} for {len(outputs)} examples: "
                f"its batch shape must begin with [{len(outputs)}]"
            )
        return -log_prob

    def _of(self, outputs: Tensor) -> Any:
        """The distribution that the user's function makes of outputs.

        Raises:
            SettingError: it fails, or makes something else.
        """
        try:
            law = self._law(outputs)
        except Exception as error:  # the function is the user's
            said = " ".join(str(error).split())[:200]
            raise SettingError(
                f"the law of the own task failed on outputs {list(outputs.shape)} ({type(error).__name__}: {said})"
            ) from error
        if not all(hasattr(law, name) for name in ("log_prob", "sample", "batch_shape", "event_shape")):
            raise SettingError(
                f"the law of the own task gives {a_kind(law)}: a distribution of pyro or torch is needed, "
                "such as Normal(outputs, 1).to_event(1)"
            )
        return law

    @torch.no_grad()
    def sample(self, outputs: Tensor) -> Tensor:
        """See `Likelihood.sample`."""
        drawn: Tensor = self._of(outputs).sample()
        return drawn

    def divergence(self, one: Tensor, other: Tensor) -> Tensor:
        """See `Likelihood.divergence`; by one draw of each law where torch knows no closed form."""
        p, q = self._of(one), self._of(other)
        try:
            return per_example(kl_divergence(p, q) + kl_divergence(q, p))
        except NotImplementedError:
            x, y = p.sample(), q.sample()
            return per_example(p.log_prob(x) - q.log_prob(x) + q.log_prob(y) - p.log_prob(y))


class FromLoss(Likelihood):
    """A user's loss, taken for a negative log-likelihood in nats; no targets can be drawn from it."""

    can_sample = False

    def __init__(self, loss: Loss) -> None:
        super().__init__()
        self._loss = loss
        self._each = copy(loss) if getattr(loss, "reduction", None) in ("mean", "sum") else None
        if self._each is not None:
            self._each.reduction = "none"  # type: ignore[attr-defined]  # torch's losses have it

    def terms(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """See `Likelihood.terms`: [B], each the loss of an example by itself."""
        self._check(outputs, targets)
        if self._each is not None:
            terms = self._each(outputs, targets)
            summed = getattr(self._loss, "reduction", "") == "sum"
            return terms if terms.dim() < 2 else terms.flatten(1).sum(1) if summed else terms.flatten(1).mean(1)
        value = self._of(outputs, targets)
        if value.dim() == 1 and len(value) == len(outputs):
            return value
        if value.dim() > 0:
            raise SettingError(
                f"loss gives {list(value.shape)} for {len(outputs)} examples: it must give one, or one an example"
            )
        alone = [self._loss(outputs[k : k + 1], targets[k : k + 1]) for k in range(len(outputs))]
        return torch.stack(alone)

    def loss(self, outputs: Tensor, targets: Any) -> Tensor:
        """The user's loss as it is; weights of examples multiply the loss of each."""
        if isinstance(targets, tuple):
            return super().loss(outputs, targets)
        self._check(outputs, targets)
        value = self._of(outputs, targets)
        return value if value.dim() == 0 else per_example(value).mean()

    def _of(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """What the user's function gives.

        Raises:
            SettingError: no tensor, or one that does not depend on the outputs.
        """
        value = self._loss(outputs, targets)
        if not isinstance(value, Tensor):
            raise SettingError(f"loss gives {a_kind(value)}: it must give a tensor, made from the outputs")
        if torch.is_grad_enabled() and outputs.requires_grad and not value.requires_grad:
            raise SettingError("loss does not depend on the outputs: leave out detach() and item()")
        return value

    def _check(self, outputs: Tensor, targets: Tensor) -> None:
        """Refuse what a loss of torch's would compare every output with every target for: [B, 1] and [B].

        Raises:
            SettingError: names both shapes.
        """
        if self._each is not None and targets.is_floating_point() and outputs.dim() != targets.dim():
            raise SettingError(
                f"the loss compares outputs {list(outputs.shape)} with targets {list(targets.shape)}: give the targets "
                "the shape of the outputs, such as y[:, None] for one number an example"
            )

    def sample(self, outputs: Tensor) -> Tensor:
        """A loss says nothing of the targets' law."""
        raise SettingError("a loss draws no targets: give a law, or estimator='salient-flips', which needs none")

    def divergence(self, one: Tensor, other: Tensor) -> Tensor:
        """A loss says nothing of the targets' law."""
        raise SettingError("consistency compares predicted distributions, and a loss has none: give consistency=0")


def _number(name: str, value: Any) -> float:
    """A user's metric as a number."""
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise SettingError(f"the metric {name!r} gives {value!r}: it must give one number") from error
