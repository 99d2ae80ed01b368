"""The objective of random multipliers: the loss under draws of them, and what the law and the weights cost."""

from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from bayesprune.batches import arguments_of, call, count
from bayesprune.devices import number, widened
from bayesprune.errors import SettingError
from bayesprune.inference import onset
from bayesprune.inference.guides import GaussianWeightGuide
from bayesprune.inference.multipliers.guide import multiplier_guide
from bayesprune.models.gated import GatedModel
from bayesprune.models.priors.gates import FixedGatePrior
from bayesprune.models.priors.weights import GaussianSlab
from bayesprune.structure import Gating, Structure
from bayesprune.training import TrainState


class MultiplierObjective:
    """In nats per training example: mean loss under drawn multipliers (and weights) + (penalty + weights' part) / N.

    The weights' part is that of the Gaussian prior at a point, or the divergence of Gaussian weights. While it is
    attached, the network in evaluation mode is the one that pruning would give now: with the multipliers of test time,
    and 0 where the rule lets a channel go.

    Args:
        size: training examples N.
        slab: prior of the weights.
        warm_up: steps over which the penalties of multipliers and Gaussian weights rise from 0, once the loss has left
            that of a guess (`inference.onset`); 0 for none.
    """

    needs_labels = True

    def __init__(self, size: int, slab: GaussianSlab, warm_up: int = 0) -> None:
        if warm_up < 0:
            raise SettingError(f"warm_up must be >= 0 steps, not {warm_up}")
        self.size, self.slab, self.warm_up = size, slab, warm_up
        self._resting: RestingMultipliers | None = None

    def attach(self, state: TrainState) -> None:
        """Put the multipliers on the network as it is now."""
        self.detach()
        guide = multiplier_guide(state)
        prior = FixedGatePrior(torch.full((state.structure.gate_count,), 0.5))
        model = GatedModel(
            state.network, state.structure, prior, self.size, weight_prior=self.slab, weight_sites=guide.weight_sites
        )
        model.close()  # of the model only the network is asked for
        guide.bind(model)
        guide.masks = state.masks
        self._resting = RestingMultipliers(state)

    def detach(self) -> None:
        """Take them off."""
        if self._resting is not None:
            self._resting.remove()
            self._resting = None

    def loss(self, state: TrainState, inputs: Any, labels: Any) -> Tensor:
        """The objective of a mini-batch; the losses of auxiliary outputs are part of it."""
        assert self._resting is not None
        onset.direct(state)
        guide, waits = multiplier_guide(state), onset.waits(state)
        guide.noiseless = waits
        weights = guide.sample_weights()
        multipliers = guide.fixed() if onset.stalls(state) else guide.draw(count(inputs))
        noisy = isinstance(guide, GaussianWeightGuide)
        with self._resting.drawn(multipliers, drawn_weights=noisy), guide.local_noise():
            if weights:
                said = functional_call(state.network, weights, *arguments_of(state.network, inputs))
            else:
                said = call(state.network, inputs)
        loss: Tensor = state.loss(widened(said), labels)
        rise = onset.risen(state, self.warm_up)
        onset.observe(state, number(loss.detach()))
        return loss if waits else loss + (rise * guide.penalty() + self._weights_part(state, rise)) / self.size

    def _weights_part(self, state: TrainState, rise: float) -> Tensor:
        """Of Gaussian weights the divergence, which rises too; of a point the prior, as weight decay."""
        guide = multiplier_guide(state)
        divergence = guide.weight_penalty(guide.theta)
        return -self.slab.log_prob(state.network) if divergence is None else rise * divergence

    def kind(self, state: TrainState) -> str:
        """All steps do the same, other than those that wait."""
        return "step" + onset.kind(state)


class RestingMultipliers:
    """Gates of a network that rest at the multipliers of test time whenever it is evaluated, unless others are drawn.

    Args:
        state: of the run, in its present shape.
    """

    def __init__(self, state: TrainState) -> None:
        self._state, self._structure = state, state.structure
        self._gating = Gating(state.network, state.structure)
        self._drawing, self._open = False, []  # type: tuple[bool, list[AbstractContextManager[None]]]
        self._handles = [
            state.network.register_forward_pre_hook(self._enter, prepend=True),
            state.network.register_forward_hook(self._leave, always_call=True),
        ]

    def drawn(self, multipliers: Tensor, *, drawn_weights: bool = False) -> "_Drawn":
        """For a while these multipliers [J] or [B, J] instead; see `Gating.applied`."""
        return _Drawn(self, self._gating.applied(multipliers, drawn_weights=drawn_weights))

    def remove(self) -> None:
        """Take all hooks off."""
        self._gating.remove()
        for handle in self._handles:
            handle.remove()
        self._handles = []

    @torch.no_grad()
    def _enter(self, network: nn.Module, _: Any) -> None:
        """Rest, where the network is evaluated in the shape that it had."""
        if network.training or self._drawing or self._state.structure is not self._structure:
            return
        resting = self._gating.applied(pruned_multipliers(self._state))
        resting.__enter__()
        self._open.append(resting)

    def _leave(self, *_: Any) -> None:
        """Rest no longer."""
        if self._open and not self._drawing:
            self._open.pop().__exit__(None, None, None)


class _Drawn:
    """Draws on a network for as long as they are entered."""

    def __init__(self, resting: RestingMultipliers, applied: AbstractContextManager[None]) -> None:
        self._resting, self._applied = resting, applied

    def __enter__(self) -> None:
        self._applied.__enter__()
        self._resting._drawing = True

    def __exit__(self, *_: Any) -> None:
        self._resting._drawing = False
        self._applied.__exit__(None, None, None)


@torch.no_grad()
def pruned_multipliers(state: TrainState) -> Tensor:
    """Multipliers [J] of the network that pruning would give now: those of test time, 0 where a channel goes.

    Of a group (or a layer) that the rule would empty the channel with the largest score stays, with multiplier 1: the
    law's may be next to 0, and the layer would pass nothing.
    """
    guide = multiplier_guide(state)
    score = guide.theta
    stays = score > guide.law.keep_above
    kept = _protected(state.structure, stays.cpu(), score.cpu()).to(stays.device)
    return torch.where(kept, torch.where(stays, guide.fixed(), 1.0), 0.0)


def _protected(structure: Structure, stays: Tensor, score: Tensor) -> Tensor:
    """What `Structure.protect` gives, without the product of a matrix and a vector that it begins with.

    It runs inside a network's forward pass, whose multiply-accumulates may be being counted.
    """
    kept = stays.clone()
    places = [torch.arange(place.start, place.stop) for place in structure.slices().values()]
    for gates in (*places, *(part for _, part in structure.parts)):
        if len(gates) and not kept[gates].any():
            kept[gates[int(score[gates].argmax())]] = True
    for reader in structure.readers:
        if not reader.open_positions(kept).any():
            kept[reader.best_gates(kept, score)] = True
    return kept
