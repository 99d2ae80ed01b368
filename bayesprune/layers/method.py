"""Method `layer-sparsity`: fit with the regulariser, collapse the layers that became linear, refit what is left."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch

from bayesprune.data import Data
from bayesprune.devices import device_of, random_apart
from bayesprune.errors import SettingError, UnsupportedLayerError
from bayesprune.evaluation.evaluate import predict
from bayesprune.layers.deciding import change, collapse_inactive, negative_shares, outputs_of
from bayesprune.layers.find import Layers, find_layers
from bayesprune.layers.options import LayerOptions
from bayesprune.layers.proximal import ProximalUpdate, layer_adam
from bayesprune.layers.signs import active_layers, negative_norms, strengths_of
from bayesprune.pruners.reading import normal_of, options_of
from bayesprune.pruners.stages import Stages
from bayesprune.run.method import Plan
from bayesprune.run.settings import RunSettings
from bayesprune.structure import weights_of
from bayesprune.structure.modes import evaluating
from bayesprune.tasks.likelihood import Gaussian
from bayesprune.training import NegativeLogLikelihood, Phase, Start, TrainState, cosine
from bayesprune.training.heads import picked
from bayesprune.training.initial import INITIAL
from bayesprune.training.memory import Memory


@dataclass
class CollapseMemory(Memory):
    """What the collapse did.

    Attributes:
        found: as JSON: layers that went and were left, what the validation score and outputs were before and after.
    """

    found: dict[str, Any] = field(default_factory=dict)


class LayerStages(Stages):
    """Phases as of other methods; the steps of `LayerAdam` are shorter for most weights, so that the rate is larger."""

    usual_rate = 6e-3


class LayerSparsity:
    """Layers become linear during training, go into the layers behind them, and the smaller network is trained on.

    The fit minimises loss + lam sum |W| + decay + sum_j r_j || neg([W_j b_j]) ||_F by proximal steps, with r_j =
    strength * sqrt(weights of layer j), raised from 0 over the first part of the fit. Layers with no negative weight
    or bias are then linear, since what they read is not negative, and are multiplied into the next layer. Which layers
    can go that way, and why others cannot, `find_layers` says. Units and inputs are not touched.

    How many layers go is decided by the strength; a budget or a density cannot be met.

    Source: Hebiri and Lederer, "Layer Sparsity in Neural Networks" (arXiv 2006.15604): the regulariser and the refit.
    The proximal step, the treatment of biases, convolutions, normalisation and skips are ours (docs/layer-sparsity.md).
    """

    name = "layer-sparsity"
    summary = "whole layers: those that become linear in training go into the next one, exactly"
    takes: frozenset[str] = frozenset()
    needs: frozenset[str] = frozenset()
    options = LayerOptions
    no_size = "no size: its option strength decides how many layers go, and it removes no single weights or channels"

    def normal(self, settings: RunSettings) -> RunSettings:
        """See `Method.normal`."""
        found = normal_of(self.options, replace(settings, learning_rate=None), LayerOptions.usual)
        rate = settings.learning_rate
        return replace(found, learning_rate=None if rate == LayerStages.usual_rate else rate)

    def plan(self, state: TrainState, data: Data, settings: RunSettings) -> Plan:
        """The fit, and the refit that begins with the collapse.

        Raises:
            UnsupportedLayerError: the network cannot be traced, or none of its layers can go; each with the reason.
            SettingError: an option is not allowed, or the fit has no epoch.
        """
        own = options_of(self.options, settings, LayerOptions.usual)
        layers = find_layers(state.network, state.example)
        if not layers.candidates:
            reasons = "; ".join(f"{name!r}: {reason}" for name, reason in layers.refused.items())
            raise UnsupportedLayerError(
                f"no layer of this network can go: {reasons}. A layer can go that stands between two others of its "
                "kind, behind an activation whose values are not negative and before a rectifier"
            )
        stages = LayerStages(settings, own, state, data)
        fit = (
            stages.epochs
            if stages.epochs < 2
            else min(stages.epochs - 1, max(1, round(own.prune_share * stages.epochs)))
        )
        watch = Watch(own.tol)
        start = partial(_collapse, own=own, data=data, output=settings.output)
        phases = [
            fit_phase(state, layers, own, stages.rate, stages.steps(fit), stages.fixed(stages.epochs).noise,
                      len(data.train), start=_initial(own.initial, state)),
            replace(stages.last(stages.epochs - fit, start), name="refit"),
        ]  # fmt: skip
        return Plan(
            phases, watch.describe, dense=stages.dense_objective(), review=partial(_review, layers=layers, own=own),
            ends_pruned=True,
        )  # fmt: skip


def _initial(name: str, state: TrainState) -> Start | None:
    """What draws the initial weights anew; None where the network keeps its own."""
    chosen = ("own" if state.fresh is None else "he") if name == "auto" else name

    def begin(state: TrainState) -> None:
        INITIAL[chosen](state.network)
        state.apply_masks()

    return None if chosen == "own" else begin


def fit_phase(
    state: TrainState, layers: Layers, own: LayerOptions, rate: float, steps: int, noise: float, examples: int,
    *, name: str = "fit", start: Start | None = None, warm_up: float | None = None,
) -> Phase:  # fmt: skip
    """Training with the regulariser; noise of a regression that is learnt is held meanwhile (`holds_noise`).

    Args:
        state: at the start.
        layers: of its network.
        own: strength, l1 penalty, weight decay and warm-up.
        rate: learning rate at the start; it falls to 0 along half a cosine.
        steps: optimizer steps.
        noise: as for `NegativeLogLikelihood`.
        examples: of the training split, for the weight decay.
        name: of the phase.
        start: as of a phase.
        warm_up: share of the steps instead of that of the options.

    Raises:
        SettingError: the regulariser would stand alone.
    """
    decay = own.decay_of(examples)
    check_guarded(own.strength, own.lam, decay)
    strengths = strengths_of(state.network, layers, own.strength)
    rising = own.warm_up if warm_up is None else warm_up
    update = ProximalUpdate(layers, strengths, own.lam, round(rising * steps), round(HOLD * steps))
    optimizer = layer_adam(state.network, rate, decay, memory=own.memory, hold=holds_noise(state))
    return Phase(
        name, steps, NegativeLogLikelihood(noise), optimizer, cosine, updates=[update], start=start,
    )  # fmt: skip


def holds_noise(state: TrainState) -> bool:
    """Whether the likelihood has normal noise that is learnt: the fit holds it, the refit learns it.

    It begins at the deviation of the targets, which is that of the best constant answer, so that the fit minimises half
    the mean squared error, as in the paper. Were it learnt here, strength and lam would mean something else at each
    step: noise of deviation s divides the gradient of the loss by s^2. Once training errs, the noise grows, the
    penalties weigh more, training errs more, and in the end the network says one number.
    """
    return isinstance(state.likelihood, Gaussian) and any(True for _ in state.likelihood.parameters())


HOLD = 0.8
"""Share of the fit from which inactive layers behind a batch normalisation stay so."""


def check_guarded(strength: float, lam: float, decay: float) -> None:
    """Refuse the regulariser without a penalty on all matrices.

    A network of rectifiers stays the same function when one matrix is multiplied by c and the next by 1/c. So the
    negative part of a penalised matrix could be made as small as one likes at no cost.

    Raises:
        SettingError: there is none.
    """
    if strength > 0 and lam == 0 and decay == 0:
        raise SettingError(
            "the regulariser on negative parts needs a penalty on all matrices beside it, since scaling one down and "
            "the next one up would make it as small as one likes: give lam > 0, or leave weight decay on"
        )


class Watch:
    """What each epoch's record says of the layers; the network is looked at anew after each change of its shape.

    Args:
        tol: up to which negative weights count as 0.
    """

    def __init__(self, tol: float) -> None:
        self.tol, self._known = tol, (-1, Layers((), (), {}))

    def describe(self, state: TrainState) -> dict[str, Any]:
        """Active layers, norms of negative parts, and after the collapse what it did."""
        if self._known[0] != state.shape_version:
            self._known = (state.shape_version, find_layers(state.network, state.example, in_training=True))
        layers = self._known[1]
        active = active_layers(state.network, layers, self.tol)
        found = state.memory(CollapseMemory).found
        return {
            "active_layers": len(active),
            "active": list(active),
            "negative": negative_norms(state.network, layers),
            **({"collapse": found} if found else {}),
        }


def _collapse(state: TrainState, *, own: LayerOptions, data: Data, output: str) -> None:
    """Take out what is linear, and measure what that changed, on the validation split (or the training split)."""
    looked = data.validation if len(data.validation) else data.train
    inputs = next(iter(looked.batches(min(len(looked), own.calibration))))[0]
    calibration = next(iter(data.train.batches(min(len(data.train), own.calibration))))[0]
    say = partial(outputs_of, state.network, inputs, partial(picked, name=output))
    if holds_noise(state):
        _fit_noise(state, data)
    before, score = say(), _scores(state, data)
    shares: dict[str, float] = negative_shares(
        state.network, find_layers(state.network, state.example), calibration
    )  # of all candidates, also where signs alone decide
    done = collapse_inactive(
        state.network, state.example, tol=own.tol, eps=own.eps, calibration=calibration if own.eps is not None else None
    )
    state.without_layers(done.steps)
    changed = change(before, say())
    if own.keep_zeros:
        state.masks |= {name: (weight != 0).to(weight) for name, weight in weights_of(state.network).items()}
    state.memory(CollapseMemory).found = {
        "gone": list(done.gone), "left": list(done.active), "shares": shares, "before": score,
        "after": _scores(state, data), "largest_change": changed.largest, "mean_change": changed.mean,
        "params": state.params(), "macs": state.network_macs(),
    }  # fmt: skip


@torch.no_grad()
def _fit_noise(state: TrainState, data: Data) -> None:
    """Noise that the fit held becomes that of the fit's errors on the training split; the refit learns it further."""
    batches = data.train.batches(min(len(data.train), 1_000))
    with evaluating(state.network), random_apart(device_of(state.network)):
        state.likelihood.refit((state.outputs(inputs), targets) for inputs, targets in batches)


def _scores(state: TrainState, data: Data) -> dict[str, float | None]:
    """All metrics on the validation split."""
    if not len(data.validation):
        return {}
    return dict(predict(state.network, data.validation, state.task, state.likelihood))


def _review(state: TrainState, *, layers: Layers, own: LayerOptions) -> Sequence[str]:
    """A line where no layer went, or where the data-dependent rule changed the function much."""
    found = state.memory(CollapseMemory).found
    if found and not found["gone"]:
        names = ", ".join(repr(one.layer) for one in layers.candidates)
        return [
            f"no layer became linear, of {names}: give a larger strength than {own.strength:g}, or more epochs, or eps"
        ]
    if found and found["mean_change"] > CHANGED and own.eps is not None:
        return [
            f"leaving out activations that acted on at most {own.eps:g} of the values changed the outputs by "
            f"{100 * found['mean_change']:.1f} % (root mean square) before the refit: give a smaller eps"
        ]
    return []


CHANGED = 0.3
"""A change of outputs by the data-dependent rule, relative, from which on the user is told."""
