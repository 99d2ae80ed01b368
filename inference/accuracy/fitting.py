"""Fitting the regression of accuracy: by variational inference for many sets of training rows, or by NUTS for one."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyro
import torch
from pyro.infer import MCMC, NUTS, Trace_ELBO
from torch import Tensor

from bayesprune.devices import random_apart
from bayesprune.errors import DataError
from bayesprune.inference.accuracy.guide import SITES, AccuracyGuide
from bayesprune.models.accuracy import AccuracyRegression, row_law, weight_scales
from bayesprune.run.settings import check_integer

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

EDGE = 1e-4
"""Accuracies are moved into [EDGE, 1 - EDGE] before their logit is taken: about half a string of 6,250."""

_RATE, _LAST_RATE = 0.03, 0.003
_PARTICLES = 4


@dataclass(frozen=True, eq=False)
class Scaling:
    """How rows are standardised: by mean and standard deviation of each set's own training rows.

    Attributes:
        centre, width: of the properties, [F, K].
        level, spread: of the logit of accuracy, [F].
    """

    centre: Floats
    width: Floats
    level: Floats
    spread: Floats

    @classmethod
    def of(cls, inputs: Floats, logits: Floats, used: Bools) -> "Scaling":
        """That of training rows `used` [F, N] of inputs [N, K] and logits [N]."""
        share = used / used.sum(1, keepdims=True)
        centre, level = share @ inputs, share @ logits
        width = np.sqrt(np.maximum(share @ inputs**2 - centre**2, 0))
        spread = np.sqrt((share * (logits - level[:, None]) ** 2).sum(1))
        flat = width <= 1e-9 * (1 + np.abs(centre))
        return cls(centre, np.where(flat, 1.0, width), level, np.where(spread > 0, spread, 1.0))

    def inputs(self, rows: Floats) -> Tensor:
        """Rows [N, K] as the sets see them, [N, F, K]."""
        return torch.as_tensor((rows[:, None] - self.centre) / self.width, dtype=torch.float32)


@dataclass(frozen=True, eq=False)
class FittedAccuracy:
    """Posteriors of F sets of training rows.

    Attributes:
        draws: of each parameter by name, [S, F] or [S, F, K].
        scaling: of the rows.
        chains: S / chains draws of each follow each other; 1 for independent ones.
    """

    draws: dict[str, Tensor]
    scaling: Scaling
    chains: int = 1

    def predictive(self, rows: Floats, *, seed: int = 0) -> Floats:
        """Draws [S, F, N] of the accuracy of networks with properties `rows` [N, K], each from its own parameters."""
        inputs = self.scaling.inputs(rows)
        given = [self.draws[name] for name in ("weights", "trend", "level", "log_noise", "freedom")]
        with random_apart(torch.device("cpu"), seed), torch.no_grad():
            drawn = [row_law(inputs, *(each[place] for each in given)).sample() for place in range(len(given[0]))]
        found = torch.stack(drawn).transpose(1, 2).double().numpy()
        logits: Floats = self.scaling.level[:, None] + self.scaling.spread[:, None] * found
        return 1 / (1 + np.exp(-np.clip(logits, -50, 50)))

    def relevance(self) -> Floats:
        """[F, K], posterior probability that a weight is further from 0 than a tenth of the targets' deviation."""
        found: Floats = (self.draws["weights"].abs() > 0.1).double().mean(0).numpy()
        return found


def fit(
    inputs: Floats,
    accuracy: Floats,
    used: Bools | None = None,
    *,
    model: AccuracyRegression | None = None,
    steps: int = 1_000,
    draws: int = 500,
    seed: int = 0,
) -> FittedAccuracy:
    """Fit by variational inference.

    Args:
        inputs: properties [N, K].
        accuracy: [N], in [0, 1].
        used: [F, N], the rows that each of F posteriors learns from; None for one that learns from all.
        model: with its prior.
        steps: of Adam, from a rate of 0.03 down to 0.003.
        draws: of the posterior, that are kept.
        seed: of all that is drawn.

    Raises:
        DataError: shapes that do not fit, accuracies outside of [0, 1], numbers that are not finite, or a posterior
            with fewer than 2 rows.
        SettingError: no steps or draws.
    """
    model = model or AccuracyRegression()
    check_integer("steps", steps, 1)
    check_integer("draws", draws, 2)
    rows, targets, chosen, scaling = _prepared(inputs, accuracy, used)
    guide = AccuracyGuide(rows.shape[1], rows.shape[2], model.shrinkage)
    elbo = Trace_ELBO(num_particles=_PARTICLES, vectorize_particles=True, max_plate_nesting=2)
    optimizer = torch.optim.Adam(guide.parameters(), _RATE)
    falls = torch.optim.lr_scheduler.ExponentialLR(optimizer, (_LAST_RATE / _RATE) ** (1 / steps))
    with random_apart(torch.device("cpu"), seed), pyro.validation_enabled(False):
        for _ in range(steps):
            optimizer.zero_grad()
            loss: Any = elbo.differentiable_loss(model, guide, rows, targets, chosen)
            loss.backward()
            optimizer.step()
            falls.step()
        with torch.no_grad():
            found = {name: law.sample(torch.Size([draws])) for name, law in guide.laws().items()}
    return FittedAccuracy(_with_weights(found), scaling)


def fit_nuts(
    inputs: Floats,
    accuracy: Floats,
    *,
    model: AccuracyRegression | None = None,
    draws: int = 500,
    warmup: int = 500,
    chains: int = 1,
    deepest: int = 8,
    seed: int = 0,
) -> FittedAccuracy:
    """Fit one posterior by NUTS.

    Args:
        inputs: as for `fit`.
        accuracy: as for `fit`.
        model: with its prior.
        draws: of each chain.
        warmup: draws before them.
        chains: one after the other.
        deepest: a draw takes at most 2 to the power of this many steps.
        seed: of all that is drawn.

    Raises:
        DataError: as for `fit`.
        SettingError: no draws, chains or steps.
    """
    model = model or AccuracyRegression()
    for name, value in (("draws", draws), ("warmup", warmup), ("chains", chains), ("deepest", deepest)):
        check_integer(name, value, 1)
    rows, targets, chosen, scaling = _prepared(inputs, accuracy, None)
    found: list[dict[str, Tensor]] = []
    double = (rows.double(), targets.double(), chosen)
    with random_apart(torch.device("cpu"), seed), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(chains):
            chain = MCMC(NUTS(model, max_tree_depth=deepest), draws, warmup, disable_progbar=True)
            chain.run(*double)
            found.append(chain.get_samples())
    joined = {name: torch.cat([one[name] for one in found]) for name in found[0]}
    return FittedAccuracy(_with_weights({name: joined[name].float() for name in SITES}), scaling, chains)


def _with_weights(draws: dict[str, Tensor]) -> dict[str, Tensor]:
    """The draws with the weights that they stand for."""
    return draws | {"weights": draws["plain"] * weight_scales(draws["shrinkage"], draws["slab"], draws["local"])}


def _prepared(inputs: Floats, accuracy: Floats, used: Bools | None) -> tuple[Tensor, Tensor, Tensor, Scaling]:
    """Standardised rows [N, F, K], targets [N, F], which are used [N, F], and how they were scaled."""
    rows, truth = np.asarray(inputs, np.float64), np.asarray(accuracy, np.float64)
    chosen = np.ones((1, len(truth)), np.bool_) if used is None else np.asarray(used, np.bool_)
    if rows.ndim != 2 or len(rows) != len(truth) or chosen.ndim != 2 or chosen.shape[1] != len(truth):
        raise DataError(
            f"properties {rows.shape}, accuracies {truth.shape} and rows to use {chosen.shape} do not fit: give "
            "[N, K], [N] and [F, N]"
        )
    if not (np.isfinite(rows).all() and np.isfinite(truth).all() and truth.min() >= 0 and truth.max() <= 1):
        raise DataError("properties must be finite, and accuracies from 0 to 1: leave such rows out")
    if chosen.sum(1).min() < 2:
        raise DataError(f"a posterior would learn from {chosen.sum(1).min()} rows: give each 2 or more")
    inside = np.clip(truth, EDGE, 1 - EDGE)
    logits = np.log(inside / (1 - inside))
    scaling = Scaling.of(rows, logits, chosen)
    targets = (logits[:, None] - scaling.level) / scaling.spread
    tensor = torch.as_tensor(targets, dtype=torch.float32)
    return scaling.inputs(rows), tensor, torch.as_tensor(chosen.T.copy()), scaling
