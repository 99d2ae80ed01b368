"""Whether closed forms may stand for sites of a user's programs: compared once by running them."""

from collections.abc import Callable
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary, ref

import torch
from pyro import poutine
from pyro.poutine import Trace
from torch import Tensor

from bayesprune.errors import SettingError
from bayesprune.inference.guides import GaussianWeightGuide, sample_gates
from bayesprune.inference.programs import CURE, GATES, LABELS, check_model, log_probs, replaced

_SOUND: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()
"""Of every guide the model that it was compared with last."""


def check_laws(model: Any, guide: Any, drawn: Trace, closed: set[str], inputs: Any, labels: Any) -> None:
    """Refuse programs whose gates, or weights, are not those that closed forms score; once for model and guide.

    The programs are run with all gates open, all closed and every other one open, and with a second draw of the
    guide's other sites; the log probabilities that must not change are compared.

    Args:
        model: a gated model.
        guide: with `theta`.
        drawn: a trace of the guide.
        closed: the sites that closed forms score.
        inputs: of B examples.
        labels: their targets.

    Raises:
        SettingError: naming the first site that differs, and the cure.
    """
    known = _SOUND.get(guide)
    if known is not None and known() is model:
        return
    with torch.random.fork_rng(devices=[]), torch.no_grad(), poutine.block():
        _Comparison(model, guide, drawn, closed, inputs, labels).run()
    _SOUND[guide] = ref(model)


class _Comparison:
    """The runs of one model and guide."""

    def __init__(self, model: Any, guide: Any, drawn: Trace, closed: set[str], inputs: Any, labels: Any) -> None:
        self._model, self._guide, self._drawn, self._closed = model, guide, drawn, closed
        self._arguments = (inputs, labels)

    def run(self) -> None:
        """All comparisons."""
        guide, model, drawn = self._guide, self._model, self._drawn
        prior = model.gate_prior
        check_model(self._trace(model, drawn), drawn, self._arguments[1])
        found, said = self._log_probs(guide, drawn), self._log_probs(model, drawn)
        weights = self._closed - {*GATES}
        own = self._log_probs(lambda *_: sample_gates(guide.theta, prior), drawn)
        self._same(own, found, GATES, "the guide", "is not GateGuide's: its closed form scores Bernoulli(theta)")
        own = self._log_probs(lambda *_: prior.sample_gates(), drawn)
        self._same(own, said, GATES, "the model", "is not the gate prior's, whose closed form scores it")
        if weights:
            own = self._log_probs(partial(GaussianWeightGuide.forward, guide), drawn)
            self._same(own, found, weights, "the guide", "is not GaussianWeightGuide's, whose closed form scores it")
            own = self._log_probs(lambda *_: model.weight_prior.sample(model.network), drawn)
            self._same(own, said, weights, "the model", "is not the weight prior's, whose closed form scores it")
        looks = f"looks at the gates, and its part in their gradient would be lost: leave 'z' out of it; {CURE}"
        z: Any = drawn.nodes["z"]["value"]
        for gates in (torch.ones_like(z), torch.zeros_like(z), torch.arange(len(z), device=z.device).to(z) % 2):
            changed = replaced(drawn, {"z": gates})
            for name, program, before in (("the guide", guide, found), ("the model", model, said)):
                self._same(before, self._log_probs(program, changed), None, name, looks)
        if found.keys() - self._closed:
            second = poutine.trace(guide).get_trace(*self._arguments)
            kept: Any = {name: drawn.nodes[name]["value"] for name in GATES if name in drawn.nodes}
            again = self._log_probs(model, replaced(second, kept))
            self._same(said, again, GATES, "the model", f"looks at other sites, which its closed form cannot; {CURE}")

    def _log_probs(self, program: Callable[..., Any], values: Trace) -> dict[str, Tensor]:
        """Of all sites but the labels, with values given."""
        return log_probs(self._trace(program, values), {LABELS})

    def _trace(self, program: Callable[..., Any], values: Trace) -> Trace:
        """A run with values given."""
        return poutine.trace(poutine.replay(program, trace=values)).get_trace(*self._arguments)

    def _same(self, one: dict[str, Tensor], other: dict[str, Tensor], names: Any, whose: str, fault: str) -> None:
        """Refuse the first site that is not the same in both; without names all that closed forms do not score."""
        names = (one.keys() | other.keys()) - self._closed if names is None else names
        for name in sorted(names):
            if not _equal(one.get(name), other.get(name)):
                raise SettingError(f"site {name!r} of {whose} {fault}")


def _equal(one: Tensor | None, other: Tensor | None) -> bool:
    """Whether log probabilities are equal up to rounding, or both are missing."""
    if one is None or other is None:
        return one is other
    return bool(torch.isclose(one, other.to(one), rtol=1e-5, atol=1e-6, equal_nan=True))
