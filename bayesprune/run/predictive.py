"""What a pruned network predicts under draws of its gates: the posterior predictive at fixed weights."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bayesprune.batches import call, each, head
from bayesprune.data import Split
from bayesprune.data.given import as_data
from bayesprune.devices import CPU, device_of, fitting, random_apart, widened
from bayesprune.errors import SettingError, StoreError, UnknownNameError, a_kind
from bayesprune.evaluation.evaluate import Scores
from bayesprune.run.settings import check_integer
from bayesprune.structure import Gating, evaluating
from bayesprune.tasks.likelihood import unweighted
from bayesprune.training.heads import saying

if TYPE_CHECKING:
    import xarray

    from bayesprune.run.pruned import Pruned

SPLITS = ("train", "validation", "test")
NUMBERS = 20_000_000
"""Outputs that are held at a time, over all draws."""


@dataclass(frozen=True, eq=False)
class Predictive:
    """Predictions of N examples under R chains of D draws.

    Attributes:
        log_likelihood: of every example under every draw [R, D, N], nats.
        outputs: that say the mean prediction of all draws [N, ...] (`Task.averaged`).
        targets: observed [N, ...].
        sampled: targets drawn from the law of every draw [R, D, N, ...]; None where they were not asked for.
        metrics: of the mean prediction, by key.
        split: "train", "validation" or "test" of the data that the run was trained on; "" for other examples.
        size: training examples of the run.
    """

    log_likelihood: Tensor
    outputs: Tensor
    targets: Tensor
    sampled: Tensor | None
    metrics: Scores
    split: str = ""
    size: int = 0

    def groups(self) -> "dict[str, xarray.Dataset]":
        """Groups `log_likelihood`, `observed_data` and `posterior_predictive` of a DataTree, each of one variable y."""
        import xarray

        def dataset(tensor: Tensor, dims: tuple[str, ...]) -> xarray.Dataset:
            rest = tuple(f"y_dim_{place}" for place in range(tensor.dim() - len(dims)))
            return xarray.Dataset({"y": (dims + rest, _small(tensor).numpy())})

        found = {
            "log_likelihood": dataset(self.log_likelihood, ("chain", "draw", "example")),
            "observed_data": dataset(self.targets, ("example",)),
        }
        if self.sampled is not None:
            found["posterior_predictive"] = dataset(self.sampled, ("chain", "draw", "example"))
        return found


@torch.no_grad()
def predictive(
    pruned: "Pruned",
    gates: Tensor,
    data: Any = None,
    *,
    split: str = "test",
    examples: int | None = None,
    sampled: bool = False,
    seed: int = 0,
    targets_seed: int | None = None,
) -> Predictive:
    """Predict under draws of the gates that are left, with batch normalisation in evaluation mode.

    Equal draws are computed once.

    Args:
        pruned: the result of a run.
        gates: draws [R, D, J] in {0, 1}, such as `pruned.gibbs().draws`.
        data: as for `Pruned.evaluate`: one split of `Data`, or all of raw examples.
        split: "train", "validation" or "test" of `Data`. `arviz.loo` leaves out examples that the draws have seen: it
            needs those of "train".
        examples: so many of them, drawn at random; None for all.
        sampled: also draw targets.
        seed: of the choice of examples and of these draws.
        targets_seed: of these draws, where they are to be others with the same examples.

    Raises:
        SettingError: there is no such split, there are not so many examples, the gates are not those of the network, or
            the run has no likelihood that can be drawn from.
        StoreError: a loaded network without data.
        DataError: the data are none, or do not fit the run.
    """
    structure, task, likelihood = pruned.structure, pruned.task, pruned.likelihood
    if task is None or likelihood is None:
        raise SettingError("the run's task was not saved along, so it has no likelihood: make the run in this process")
    if split not in SPLITS:
        raise UnknownNameError("split", split, SPLITS)
    if sampled and not likelihood.can_sample:
        raise SettingError("the task is a loss, and targets cannot be drawn from it: leave sampled out")
    if not isinstance(gates, Tensor):
        raise SettingError(
            f"gates are {a_kind(gates)}: give a tensor [chains, draws, {structure.gate_count}] of 0 and 1, such as "
            "pruned.gibbs().draws or pruned.drawn_gates()"
        )
    if gates.dim() != 3 or gates.shape[2] != structure.gate_count or not gates.numel():
        raise SettingError(f"gates are {list(gates.shape)}; [chains, draws, {structure.gate_count}] are needed")
    if not bool(((gates == 0) | (gates == 1)).all()):
        raise SettingError("gates hold other values than 0 and 1: give draws, not probabilities")
    source, known = _split(pruned, data, split)
    chosen = _number(examples, source)
    own = seed if targets_seed is None else targets_seed
    unique, back = gates.flatten(0, 1).unique(dim=0, return_inverse=True)
    gating = Gating(pruned.network, structure)
    place = device_of(pruned.network)
    logs, means, samples, observed = [], [], [], []
    try:
        with saying(pruned.network, pruned.settings.output), evaluating(pruned.network):
            for inputs, targets in _batches(source, _at_once(pruned, gates), chosen, seed):
                said = []
                for setting in unique.to(place, torch.get_default_dtype()):
                    with gating.applied(setting):
                        arriving = each(lambda part: fitting(pruned.network, part), inputs)
                        said.append(widened(call(pruned.network, arriving)).to(CPU))
                outputs = torch.stack(said)
                losses = torch.stack([likelihood.negative_log(one, targets) for one in said])
                logs.append(-losses[back])
                means.append(task.averaged(outputs[back]))
                observed.append(targets)
                if sampled:
                    with random_apart(torch.device(CPU), own + len(logs)):
                        drawn = likelihood.sample(outputs[back].flatten(0, 1))
                        samples.append(drawn.unflatten(0, (len(back), -1)))
    finally:
        gating.remove()
    mean, targets = torch.cat(means), torch.cat(observed)
    shape = gates.shape[:2]
    return Predictive(
        torch.cat(logs, 1).unflatten(0, shape),
        mean,
        targets,
        torch.cat(samples, 1).unflatten(0, shape) if sampled else None,
        task.measured(mean, targets, likelihood),
        known,
        int(pruned.data_summary["split_sizes"]["train"]),
    )


def joined(found: Sequence[Predictive], pruned: "Pruned") -> Predictive:
    """Predictions of the same examples by several networks, as chains of one.

    Args:
        found: of each network, with as many draws.
        pruned: one of them.

    Raises:
        SettingError: they are of other examples.
    """
    first, task, likelihood = found[0], pruned.task, pruned.likelihood
    if any(not torch.equal(one.targets, first.targets) for one in found):
        raise SettingError("the runs have other examples: give data=..., the same for all of them")
    assert task is not None and likelihood is not None  # else nothing was predicted
    mean = task.averaged(torch.stack([one.outputs for one in found]))
    drawn = [one.sampled for one in found if one.sampled is not None]
    return replace(
        first,
        log_likelihood=torch.cat([one.log_likelihood for one in found]),
        outputs=mean,
        sampled=torch.cat(drawn) if len(drawn) == len(found) else None,
        metrics=task.measured(mean, first.targets, likelihood),
    )


def _small(tensor: Tensor) -> Tensor:
    """Whole numbers in 16 bits where they fit."""
    fits = tensor.dtype == torch.int64 and bool(((tensor >= -(2**15)) & (tensor < 2**15)).all())
    return tensor.to(torch.int16) if fits else tensor


def _number(examples: int | None, source: Split) -> int | None:
    """How many examples are drawn; None for all, in their order."""
    if examples is None:
        return None
    check_integer("examples", examples, 1)
    if examples > len(source):
        raise SettingError(
            f"examples={examples:,} is more than the data have: give at most {len(source):,}, or leave it out"
        )
    return None if examples == len(source) else examples


def _batches(source: Split, size: int, examples: int | None, seed: int) -> Iterator[tuple[Any, Tensor]]:
    """Inputs and unweighted targets of all examples in order, or of some drawn at random."""
    left = len(source) if examples is None else examples
    for inputs, given in source.batches(size, seed=None if examples is None else seed):
        targets, _ = unweighted(given)
        yield head(inputs, left), targets[:left]
        left -= len(targets)
        if left <= 0:
            return


def _split(pruned: "Pruned", data: Any, name: str) -> tuple[Split, str]:
    """The examples to predict, and which of the run's own splits they are; "" for none of them."""
    data = pruned._data if data is None else data
    if data is None:
        raise StoreError("a loaded network does not bring its data along: give predictive(gates, data)")
    split = pruned.raw_split(data)
    if split is not None:
        return split, ""
    whole = as_data(data, None if pruned.task is None else pruned.task.name)
    found: Split = getattr(whole, name)
    return found, name if whole is pruned._data or whole.fingerprint == pruned.data_fingerprint else ""


def _at_once(pruned: "Pruned", gates: Tensor) -> int:
    """Examples at a time."""
    outputs = 1 if pruned.task is None else pruned.task.outputs
    return max(1, min(1_000, NUMBERS // (gates.shape[0] * gates.shape[1] * max(1, outputs))))
