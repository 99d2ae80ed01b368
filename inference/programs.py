"""Models and guides as Pyro programs: every site that is not a gate's is scored, or refused by name."""

from typing import Any

import torch
from pyro import poutine
from pyro.poutine import Trace
from pyro.poutine.util import site_is_factor, site_is_subsample
from torch import Tensor

from bayesprune.errors import SettingError

GATES = ("pi", "z")
"""Sites that the gate prior's closed form scores."""

LABELS = "y"
"""The observed site that the gates' estimator scores."""

CURE = "pyro.infer.Trace_ELBO takes any program, with more noise"


class Program:
    """One draw of all sites of a guide but the gates, and the model run with it under any gates.

    Pyro's own handlers do the work: the guide is traced, the model replayed against that trace with the gates put in,
    and of both traces log q - log p of all other sites is summed, factors and further observations included. Gradients
    are pathwise, so every such site of the guide must be reparametrised.

    Args:
        model: a gated model of the user's.
        guide: with `theta`.
        inputs: of B examples.
        labels: their targets.
        given: values of weight sites "w.<name>" that a closed form scores; they take the place of the guide's.

    Raises:
        SettingError: a site of the guide cannot be scored.
    """

    def __init__(self, model: Any, guide: Any, inputs: Any, labels: Any, given: dict[str, Tensor]) -> None:
        self._model = model
        self.closed = {*GATES, *(f"w.{name}" for name in given)}
        with poutine.block(hide_types=["sample"]):
            self.drawn = poutine.trace(guide).get_trace(inputs, labels)
        check_guide(self.drawn)
        self._replayed = replaced(self.drawn, {f"w.{name}": value for name, value in given.items()})
        self._replayed.nodes.pop("data", None)  # the model's own plate knows how many rows it is run with
        self._rest: Tensor | None = None
        self.scale: float | None = None

    @property
    def rest(self) -> Tensor:
        """sum log q - log p (nats) of all sites but gates and labels, for the whole data; after the first run."""
        assert self._rest is not None
        return self._rest

    def run(self, gates: Tensor, inputs: Any, labels: Any, rows: Tensor | None) -> Any:
        """The distribution of the labels under gates [J] or [B, J]; `rows` are those of the mini-batch.

        Raises:
            SettingError: model and guide differ in their sites, or a site cannot be scored.
        """
        replayed = replaced(self._replayed, {"z": gates})
        if rows is not None:
            replayed = replaced(replayed, taken(self._replayed, rows))
        trace = poutine.trace(poutine.replay(self._model, trace=replayed)).get_trace(inputs, labels)
        predicted = trace.nodes.get(LABELS)
        if self._rest is None:
            check_model(trace, self.drawn, labels)
            self.scale = float(trace.nodes[LABELS]["scale"])
            self._rest = log_prob(self.drawn, self.closed) - log_prob(trace, {*self.closed, LABELS})
        assert predicted is not None
        return predicted["fn"]


def replaced(trace: Trace, values: dict[str, Tensor]) -> Trace:
    """The same trace with other values at some of its sites."""
    copied = trace.copy()
    for name, value in values.items():
        if name in trace.nodes:
            copied.nodes[name] = {**trace.nodes[name], "value": value}
    return copied


def taken(trace: Trace, rows: Tensor) -> dict[str, Tensor]:
    """Values of sites of single examples, of `rows` of the mini-batch."""
    values = {}
    for name, site in trace.iter_stochastic_nodes():
        for frame in site["cond_indep_stack"]:
            if frame.name == "data" and frame.dim is not None:
                fn: Any = site["fn"]
                value: Any = site["value"]
                values[name] = value.index_select(frame.dim - fn.event_dim, rows)
    return values


def sites(trace: Trace) -> dict[str, Any]:
    """The sample sites of a trace that have a law: neither drawn subsets nor values that follow from others."""
    nodes: dict[str, Any] = dict(trace.nodes)
    return {
        name: site
        for name, site in nodes.items()
        if site["type"] == "sample" and not site_is_subsample(site) and not site["infer"].get("_deterministic")
    }


def log_probs(trace: Trace, leave: set[str]) -> dict[str, Tensor]:
    """Log probability (nats) of every site but those in `leave`, scaled and masked as the program says."""
    wanted = sites(trace).keys() - leave
    trace.compute_log_prob(lambda name, _: name in wanted)
    return {name: trace.nodes[name]["log_prob_sum"] for name in trace.nodes if name in wanted}


def log_prob(trace: Trace, leave: set[str]) -> Tensor:
    """The sum of `log_probs`."""
    return sum(log_probs(trace, leave).values(), torch.zeros(()))


def check_guide(drawn: Trace) -> None:
    """Refuse sites of a guide whose part in the gradient would be lost.

    Raises:
        SettingError: naming the site and the cure.
    """
    found = sites(drawn)
    if "z" not in found:
        raise SettingError(f"the guide does not sample the gates 'z': call GateGuide's forward; it has {_names(found)}")
    for name, site in found.items():
        if name in GATES:
            continue
        pathwise = bool(getattr(site["fn"], "has_rsample", False))
        law = type(getattr(site["fn"], "base_dist", site["fn"])).__name__
        if site["is_observed"] and not site_is_factor(site):
            raise SettingError(f"site {name!r} of the guide is observed: observations belong to the model")
        if not pathwise:
            cure = "say has_rsample=True where all in it is reparametrised" if site_is_factor(site) else (
                "take a reparametrised law, a point (Delta), or sum the site out of the model"
            )  # fmt: skip
            raise SettingError(f"site {name!r} of the guide ({law}) has no pathwise gradient: {cure}; {CURE}")


def check_model(trace: Trace, drawn: Trace, labels: Any) -> None:
    """Refuse a model whose sites are not the guide's, or whose labels are not those given.

    Raises:
        SettingError: naming the sites.
    """
    ours, theirs = _latent(trace), _latent(drawn)
    missing, surplus = sorted(ours - theirs), sorted(theirs - ours)
    if missing:
        hint = "; for weights take GaussianWeightGuide or GateGuide(weights=AutoNormal)" * missing[0].startswith("w.")
        raise SettingError(f"the model samples {_names(missing)}, and the guide does not: sample there too{hint}")
    if surplus:
        raise SettingError(f"the guide samples {_names(surplus)}, and the model does not: take them out, or say "
                           'infer={"is_auxiliary": True} of what only helps to sample others')  # fmt: skip
    for name in sorted(ours):
        inside, outside = _plates(trace.nodes[name]), _plates(drawn.nodes[name])
        if inside != outside:
            raise SettingError(
                f"site {name!r} is in the plates {_names(inside)} of the model and {_names(outside)} of the guide"
            )
    site: Any = trace.nodes.get(LABELS)
    if site is None or not site["is_observed"]:
        raise SettingError(f"the model observes no site {LABELS!r}: call it with labels, obs=labels in its program")
    if isinstance(site["mask"], Tensor) or site["mask"] is False:
        raise SettingError(f"site {LABELS!r} is masked, and gates would not see the mask: give weights of examples")
    if isinstance(site["scale"], Tensor) and site["scale"].numel() > 1:
        raise SettingError(f"site {LABELS!r} has a scale for each example: give weights of examples")
    if not _same(site["value"], labels):
        raise SettingError(f"site {LABELS!r} observes other labels than were given: change them before the program")


def _latent(trace: Trace) -> set[str]:
    """Names of what is sampled, without what only helps a guide to sample."""
    found = sites(trace).items()
    return {name for name, site in found if not (site["is_observed"] or site["infer"].get("is_auxiliary"))}


def _plates(site: Any) -> set[str]:
    """Names of the plates that a site is in."""
    return {frame.name for frame in site["cond_indep_stack"]}


def _same(one: Any, other: Any) -> bool:
    """Whether labels are equal."""
    if one is other:
        return True
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    return isinstance(one, Tensor) and isinstance(other, Tensor) and torch.equal(one, other)


def _names(names: Any) -> str:
    """For a message."""
    return ", ".join(repr(name) for name in sorted(names)) or "none"
