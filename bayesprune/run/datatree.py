"""The posterior over a network's structure, and what goes with it, as one xarray DataTree that ArviZ reads.

What a run knows is a probability for every gate, so draws are made from those, independently. They say
nothing about convergence by themselves: only independent restarts, one chain each, can disagree.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bayesprune.errors import SettingError
from bayesprune.run.evidence import Evidence
from bayesprune.run.predictive import Predictive
from bayesprune.run.settings import check_integer
from bayesprune.run.tree.chains import Chains, OfChains, chains_of
from bayesprune.run.tree.groups import constants, posterior, statistics
from bayesprune.run.tree.predictions import predictions, read_once
from bayesprune.run.tree.prior import Prior, prior_of
from bayesprune.run.tree.weights import weight_draws

if TYPE_CHECKING:
    import xarray

    from bayesprune.run.tree.chains import Run


def to_datatree(
    runs: "Run | Sequence[Run] | OfChains",
    draws: int = 1000,
    seed: int = 0,
    *,
    data: Any = None,
    split: str | None = None,
    examples: int | None = None,
    predicted: Predictive | None = None,
    evidence: Evidence | Sequence[Evidence] | None = None,
    prior: str | bool | None = None,
    price: float | None = None,
    weights: bool = False,
    trace: bool = False,
) -> "xarray.DataTree":
    """The posterior of one run, of several restarts of it as chains, or of Gibbs draws; gates named like `fc1[12]`.

    Groups and variables; what a group is and is not stands in `docs/posterior.md`:

    - `posterior`: `z` [chain, draw, gate], uint8, 1 where a draw opens the gate; `open_gates` [chain, draw, group], the
      number of open gates of each group of channels. With `weights` each parameter [chain, draw, ...] by its name.
    - `sample_stats`: of each draw [chain, draw] `macs` and `params`, the cost of the network that it leaves, where
      networks and not only their records are given; `log_q`, its log-probability under the posterior it comes from;
      with predictions `loss`, nats an example; with predictions of training examples and a prior `log_p`, its log
      posterior up to a constant. `macs` to `log_p` are those of the gates that are left, the others closed. Of a chain:
      `inclusion_probability` [chain, gate] before the last decisions, `decided` and `price` [chain, gate], `seed`; with
      evidence `evidence` and `evidence_error` [chain, gate], NaN where a gate is gone; with `trace` the inclusion
      probabilities after every epoch [chain, step, gate].
    - `constant_data`: `group_of_gate` [gate], `index_in_group` [gate], `group_size` [group].
    - `log_likelihood`, `posterior_predictive`, `observed_data`: where `data`, `split` or `predicted` is given.
    - `log_prior`, `prior`, `prior_predictive`: where `prior` is given, the last one with data.

    ArviZ before 1.0 takes it as `arviz.from_datatree(tree)`; `arviz.concat(one, two, dim="chain")` joins such restarts.

    Args:
        runs: a finished run with a posterior, or several that differ in their seed only: what `bayesprune.prune` or
            `bayesprune.load` returned, a record, or a run folder; or what `Pruned.gibbs` returned.
        draws: draws a chain, at least 1; Gibbs draws are those that there are.
        seed: of all that is drawn here.
        data: to predict, as in `Pruned.predictive`.
        split: "train", "validation" or "test" of the data, of the run's own where none are given; None for "test" if
            data are given, and else for no predictions.
        examples: so many of them, drawn at random; None for all. The tree has draws x examples numbers.
        predicted: what `Pruned.predictive` said of the same draws, in place of data.
        evidence: of one run, or of each.
        prior: "marginal", for gates whose prior probability pi is drawn from the flattening hyper-prior; "map" for the
            prior odds of the objective, with pi at its mode; True for "marginal", and for the odds that Gibbs draws
            have by themselves.
        price: nats of every gate for the prior; None for those of the run.
        weights: also the weights of every draw: draws x weights numbers.
        trace: also the inclusion probabilities after every epoch.

    Raises:
        StoreError: a folder holds no finished run, or is damaged; a loaded network without data.
        SettingError: there is no run, a run has no posterior, is given twice, or is no restart of the first
            one (other groups or settings); a number is out of range; a record has no network, or a run no prices, and
            they are asked for; there are too many weights.
        DataError: the data are none, or do not fit the run.
    """
    import xarray

    check_integer("draws", draws, 1)
    check_integer("seed", seed, 0)
    chains = runs.chains() if isinstance(runs, OfChains) else chains_of(runs, draws, seed, trace)
    shape = chains.z.shape[:2]
    chosen = None if prior in (None, False) else prior_of(chains, prior, price, seed)
    data = read_once(chains, data)
    if predicted is None and (data is not None or split is not None):
        predicted = predictions(chains, chains.z, data, split or "test", examples, seed)
    if predicted is not None and tuple(predicted.log_likelihood.shape[:2]) != shape:
        found = list(predicted.log_likelihood.shape[:2])
        raise SettingError(f"the predictions are of {found} chains and draws, and these are {list(shape)}")
    groups = {
        "posterior": posterior(chains),
        "sample_stats": statistics(chains, predicted, evidence, None if chosen is None else chosen.log_odds),
        "constant_data": constants(chains),
    }
    if weights:
        groups["posterior"] = groups["posterior"].merge(weight_draws(chains))
    if predicted is not None:
        groups |= predicted.groups()
    if chosen is not None:
        groups |= chosen.groups(chains) | _before(chains, chosen, data, split, examples, seed)
    axes = {"chain": np.arange(shape[0]), "draw": np.arange(shape[1])}
    tree = xarray.DataTree.from_dict({name: _placed(one, axes) for name, one in groups.items()})
    tree.attrs.update({"note": chains.note, "inference_library": "bayesprune"} | chains.attributes)
    return tree


def _placed(group: "xarray.Dataset", axes: dict[str, Any]) -> "xarray.Dataset":
    """A group with numbers on its chains and draws."""
    return group.assign_coords({axis: values for axis, values in axes.items() if axis in group.dims})


def _before(
    chains: Chains, prior: Prior, data: Any, split: str | None, examples: int | None, seed: int
) -> "dict[str, xarray.Dataset]":
    """What is predicted under gates drawn from the prior."""
    if data is None and split is None:
        return {}
    found = predictions(chains, prior.z, data, split or "test", examples, seed).groups()
    return {"prior_predictive": found["posterior_predictive"]} if "posterior_predictive" in found else {}
