"""What the networks of the study predict: quality, calibration, and whether they notice other data."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from bayesprune.batches import call
from bayesprune.data import Data
from bayesprune.data.cached import load_cached
from bayesprune.errors import DataUnavailableError, StoreError
from bayesprune.experiments.facade import load
from bayesprune.experiments.papers.rows import RowRuns
from bayesprune.experiments.papers.uncertainty import runs
from bayesprune.experiments.restarts import as_restarts
from bayesprune.run.environment import environment
from bayesprune.run.pruned import Pruned
from bayesprune.store.runs import RunRecord
from bayesprune.structure import evaluating

DRAWS, CHAINS, WARM_UP = 50, 2, 25
"""Draws of gates in all, chains of the Gibbs sampler, and its sweeps before the draws."""

OTHER = {"mnist": "fashion-mnist", "fashion-mnist": "mnist"}
"""What is shown to a network besides its own data."""

ROTATED = "the same test images, turned by a right angle"

ALONE, POSTERIOR, GIBBS, RESTARTS = "compact network", "posterior draws", "Gibbs draws", "restarts"
ONE_DENSE, DEEP, SMALL, DROPOUT = "dense network", "deep ensemble", "small deep ensemble", "MC dropout"
PREDICTORS = (ALONE, POSTERIOR, GIBBS, RESTARTS, ONE_DENSE, DEEP, SMALL, DROPOUT)
_TRAINED = {ONE_DENSE: runs.DENSE, DEEP: runs.DEEP, SMALL: runs.SMALL, DROPOUT: runs.DROPOUT}


@dataclass(frozen=True)
class Measured:
    """What one predictor of one repeat came to.

    Attributes:
        predictor: one of `PREDICTORS`.
        repeat: whose seeds it was trained with.
        networks: that it averages, or draws of one network's gates.
        macs: of all passes together, one sample.
        accuracy, nll, ece, brier: on the test split.
        auroc, auroc_max: against other data, by the entropy and by the highest probability.
        auroc_error: standard error of `auroc` over images.
        losses: negative log-likelihood of each test example [N], nats.
    """

    predictor: str
    repeat: int
    networks: int
    macs: int
    accuracy: float
    nll: float
    ece: float
    brier: float
    auroc: float
    auroc_max: float
    auroc_error: float
    losses: Tensor = field(repr=False, compare=False)

    def to_json(self) -> dict[str, Any]:
        """All but the losses."""
        return {name: value for name, value in vars(self).items() if name != "losses"}


@environment()
def measured(found: Sequence[RowRuns]) -> tuple[list[Measured], str]:
    """Every predictor of every repeat, and what the other data are."""
    first = next((run for one in found for run in one.records), None)
    if first is None:
        return [], ""
    data = load_cached(str(first.settings["data"]))
    other, name = other_data(data)
    made = [one for row in found for one in _of_row(row, data, other)]
    return sorted(made, key=lambda one: PREDICTORS.index(one.predictor)), name


def other_data(data: Data) -> tuple[Any, str]:
    """Data to show besides the own, and what they are: another set of images, or the own ones turned."""
    try:
        if data.name in OTHER:
            return load_cached(OTHER[data.name]), OTHER[data.name]
    except DataUnavailableError:
        pass
    return turned(data), ROTATED


def turned(data: Data) -> Tensor:
    """The raw test images, each turned by a right angle."""
    (inputs, _), *_ = data.test.batches(len(data.test))
    raw: Tensor = data.normalisation.undo(inputs)
    return raw.rot90(1, (-2, -1))


def _of_row(row: RowRuns, data: Data, other: Any) -> Iterator[Measured]:
    """What the runs of a row are measured as."""
    factor = row.row.factor
    for repeat, places in runs.groups_of([int(run.result["seed"]) for run in row.records]).items():
        made = [_loaded(row.records[place]) for place in places]
        if factor == runs.COMPACT:
            yield from _of_restarts(repeat, made, data, other)
            continue
        name = next(label for label, trained in _TRAINED.items() if trained == factor)
        result = row.records[places[0]].result
        yield _measure(name, repeat, int(result.get("members", result.get("draws", 1))), made[0], data, other)


def _of_restarts(repeat: int, made: Sequence[Pruned], data: Data, other: Any) -> Iterator[Measured]:
    """The first restart alone and under draws of its gates, and all together."""
    first = replace(made[0], _data=data)
    yield _measure(ALONE, repeat, 1, first, data, other)
    drawn = first.drawn_gates(DRAWS, seed=repeat)
    yield _measure(POSTERIOR, repeat, DRAWS, first, data, other, first.ensemble(drawn))
    gibbs = first.gibbs(draws=DRAWS // CHAINS, chains=CHAINS, warm_up=WARM_UP, seed=repeat, progress=False).draws
    yield _measure(GIBBS, repeat, DRAWS, first, data, other, first.ensemble(gibbs))
    if len(made) > 1:
        together = as_restarts(made)
        yield _measure(RESTARTS, repeat, len(made), together, data, other, together.ensemble())


def _measure(
    predictor: str, repeat: int, count: int, pruned: Pruned, data: Data, other: Any, network: nn.Module | None = None
) -> Measured:
    """One predictor; `network` in place of that of the run."""
    asked = pruned if network is None else replace(pruned, network=network, masks={})
    quality, shift = asked.evaluate(data), asked.out_of_distribution(other, data)
    return Measured(
        predictor, repeat, count, quality.macs, quality.accuracy, quality.nll, quality.ece, quality.brier,
        shift.auroc, shift.max_probability.auroc, shift.entropy.standard_error, _losses(asked, data),
    )  # fmt: skip


@torch.no_grad()
def _losses(pruned: Pruned, data: Data) -> Tensor:
    """Negative log-likelihood of each test example [N], nats."""
    likelihood = data.task.likelihood()
    with evaluating(pruned.network):
        found = [likelihood.negative_log(call(pruned.network, x), y) for x, y in data.test.batches(1000)]
    return torch.cat(found).double()


def _loaded(record: RunRecord) -> Pruned:
    """The network of a finished run.

    Raises:
        StoreError: the record was not read from disk.
    """
    if record.folder is None:
        raise StoreError(f"run {record.id} has no folder to load its network from: read it from disk")
    return load(record.folder)
