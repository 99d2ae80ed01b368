"""Dynamic sparse training: masks that move during training while their counts stay (SET and RigL)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import cos, pi

import torch
from torch import Tensor, nn

from bayesprune.errors import NetworkError
from bayesprune.pruners.problem import check_finite
from bayesprune.run.settings import check_integer, check_number
from bayesprune.training import TrainState


@dataclass(frozen=True)
class SparseEvolution:
    """SET: drop the weights nearest zero, grow as many at random (Mocanu et al., arXiv 1707.04780).

    An update of the training loop. Every so many steps of the phase, in each masked layer:

    - of its positive alive weights the smallest `fraction` is dropped, and of its negative ones the largest (each count
      rounded down), and every alive weight that is exactly 0;
    - as many dead positions (just dropped ones included, as in the authors' code) are drawn from torch's global
      generator and grown with weight 0 and fresh optimizer moments.

    So each layer's number of alive weights stays the same. Of equal weights the one that comes first stays.
    Layers without a mask, or with nothing masked, are left alone.

    Attributes:
        every: steps between two changes.
        fraction: share of a layer's alive weights that is replaced, between 0 and 1.
        until: no change from this step of the phase on; None for all through the phase. A change at the last
            step leaves grown weights that were never trained.
        within: masks of an earlier pruning, by parameter name: what they hold at 0 never grows.
    """

    every: int
    fraction: float = 0.3
    until: int | None = None
    within: Mapping[str, Tensor] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        _check(self.every, self.fraction, self.until)

    @torch.no_grad()
    def __call__(self, state: TrainState) -> None:
        """Move the masks, if it is time to."""
        if not _is_due(state.phase_step, self.every, self.until):
            return
        for name, weight, alive in _masked(state):
            values = weight.flatten()
            positive, negative = _where(alive & (values > 0)), _where(alive & (values < 0))
            survivors = torch.zeros_like(alive)
            survivors[_largest(values, positive, len(positive) - int(self.fraction * len(positive)))] = True
            survivors[_largest(-values, negative, len(negative) - int(self.fraction * len(negative)))] = True
            dead = _where(_may_grow(name, survivors, self.within))
            grown = torch.zeros_like(alive)
            grown[dead[torch.randperm(len(dead)).to(dead.device)[: int(alive.sum() - survivors.sum())]]] = True
            _rewire(state, name, survivors, grown, fresh=grown)


@dataclass(frozen=True)
class RigL:
    """RigL: drop the smallest weights, grow where the dense gradient is largest (Evci et al., arXiv 1911.11134).

    An update of the training loop. Every so many steps of the phase, before step `until`, in each masked layer:

    - the share f_t = fraction / 2 (1 + cos(pi t / until)) of its alive weights (rounded down) with the smallest |w| is
      dropped, t being the steps done;
    - as many positions with the largest |gradient| among all that are now not alive are grown. As in the paper
      (algorithm 1) and its code these include the ones just dropped: such a one is taken back with its weight and
      moments. Others start with weight 0 and fresh optimizer moments.

    The gradient is that of the step just done, of all weights at the masked network: the loop masks weights, not
    gradients. Each layer's number of alive weights stays the same. Of equals the one that comes first stays or is
    grown. Layers without a mask, or with nothing masked, are left alone.

    Attributes:
        until: the step of the phase at which changes end; the paper takes 75 % of all.
        every: steps between two changes.
        fraction: share that is replaced at first, between 0 and 1.
        within: masks of an earlier pruning, by parameter name: what they hold at 0 never grows.
    """

    until: int
    every: int = 100
    fraction: float = 0.3
    within: Mapping[str, Tensor] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        _check(self.every, self.fraction, self.until)

    def share(self, step: int) -> float:
        """The share f_t of a layer's alive weights that is replaced after a step."""
        return self.fraction / 2 * (1 + cos(pi * step / self.until))

    @torch.no_grad()
    def __call__(self, state: TrainState) -> None:
        """Move the masks, if it is time to.

        Raises:
            NetworkError: a masked layer has no gradient, or one that is not finite.
        """
        if not _is_due(state.phase_step, self.every, self.until):
            return
        for name, weight, alive in _masked(state):
            size, gradient = weight.flatten().abs(), _gradient(name, weight).flatten().abs()
            before = _where(alive)
            dropped = int(self.share(state.phase_step) * len(before))
            survivors, grown = torch.zeros_like(alive), torch.zeros_like(alive)
            survivors[_largest(size, before, len(before) - dropped)] = True
            grown[_largest(gradient, _where(_may_grow(name, survivors, self.within)), dropped)] = True
            _rewire(state, name, survivors, grown, fresh=grown & ~alive)


def _check(every: int, fraction: float, until: int | None) -> None:
    """Refuse settings that cannot be.

    Raises:
        SettingError: names the value and its limits.
    """
    check_integer("every", every, 1)
    check_number("fraction", fraction, 0.0, 1.0)
    if until is not None:
        check_integer("until", until, 1)


def _is_due(step: int, every: int, until: int | None) -> bool:
    """Whether masks change after this step of the phase."""
    return step % every == 0 and (until is None or step < until)


def _masked(state: TrainState) -> list[tuple[str, nn.Parameter, Tensor]]:
    """Name, weight and flat alive positions (bool) of every layer with dead weights; refuses what is not finite."""
    found = {name: state.network.get_parameter(name) for name, mask in state.masks.items() if not bool(mask.all())}
    check_finite("weights", found)
    return [(name, weight, state.masks[name].flatten() != 0) for name, weight in found.items()]


def _gradient(name: str, weight: nn.Parameter) -> Tensor:
    """The gradient of the last step.

    Raises:
        NetworkError: there is none, or it is not finite.
    """
    if weight.grad is None:
        raise NetworkError(
            f"layer {name.removesuffix('.weight')!r} is masked but has no gradient, by which RigL grows weights: "
            "let it take part in the loss, or give it no mask"
        )
    check_finite("gradients", {name: weight.grad})
    return weight.grad


def _may_grow(name: str, survivors: Tensor, within: Mapping[str, Tensor]) -> Tensor:
    """The flat positions (bool) at which weights may grow: those that do not survive and were not pruned before."""
    return ~survivors if name not in within else ~survivors & (within[name].flatten() != 0)


def _where(positions: Tensor) -> Tensor:
    """The indices at which a flat bool tensor is True."""
    return positions.nonzero().flatten()


def _largest(scores: Tensor, among: Tensor, count: int) -> Tensor:
    """The `count` indices, out of `among`, of the largest scores; of equals the first."""
    return among[scores[among].argsort(descending=True, stable=True)[:count]]


def _rewire(state: TrainState, name: str, survivors: Tensor, grown: Tensor, *, fresh: Tensor) -> None:
    """Set a layer's mask to survivors and grown ones; `fresh` (all flat, bool) start with weight and moments 0."""
    weight = state.network.get_parameter(name)
    alive, fresh = (survivors | grown).view(weight.shape), fresh.view(weight.shape)
    state.masks[name] = alive.to(state.masks[name].dtype)
    weight.masked_fill_(fresh | ~alive, 0.0)
    for optimizer in state.optimizers.values():
        for moment in optimizer.state.get(weight, {}).values():
            if isinstance(moment, Tensor) and moment.shape == weight.shape:
                moment.masked_fill_(fresh, 0.0)
