"""Training with the regulariser: the proximal step, and an optimizer whose steps have one length a layer."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from bayesprune.layers.find import Candidate, Layers
from bayesprune.layers.linear import NORMS, effective, is_matrix
from bayesprune.layers.signs import write_effective
from bayesprune.training import TrainState
from bayesprune.training.phase import MakeOptimizer

STEP = "step_size"
"""What the optimizer remembers of a block: by how much of the averaged gradient its last step moved it."""


LARGEST = "largest_square"
"""What it remembers of a block where it has a memory: the largest mean square of the gradient, faded."""

HELD = "inactive"
"""What it remembers of a layer behind a batch normalisation: whether it was inactive after the last step."""

_ENDLESS = 1e30


@torch.no_grad()
def soft_threshold(values: Tensor, threshold: Tensor | float) -> Tensor:
    """The proximal step of threshold * sum |w|: towards 0 by the threshold, and to 0 within it."""
    return values.sign() * (values.abs() - threshold).clamp(min=0)


@torch.no_grad()
def shrunk_negative(parts: list[Tensor], threshold: Tensor | float) -> list[Tensor]:
    """The proximal step of threshold * || neg(W) ||_F over all parts together.

    With N the negative part, W becomes max(W, 0) + max(0, 1 - threshold / ||N||) N: the minimiser of
    1/2 ||V - W||^2 + threshold ||neg(V)||_F. Positive entries stay; all negative ones are 0 where ||N|| <= threshold.

    Args:
        parts: such as weight [O, I] and bias [O].
        threshold: step length times r_j.
    """
    below = [part.clamp(max=0) for part in parts]
    norm = torch.stack([part.square().sum() for part in below]).sum().sqrt()
    factor = (1 - threshold / norm.clamp_min(torch.finfo(norm.dtype).tiny)).clamp(min=0)
    return [part.clamp(min=0) + factor * negative for part, negative in zip(parts, below, strict=True)]


@torch.no_grad()
def proximal_step(parts: list[Tensor], step: Tensor | float, strength: float, lam: float) -> list[Tensor]:
    """The proximal step of lam * sum |w| over the first part + strength * || neg ||_F over all of them.

    The soft threshold first and the negative part then is exact, as for the sparse group lasso: both penalties are
    sums over entries or a norm of entries of one sign. The bias has no l1 penalty.

    Args:
        parts: the weight, and the bias where there is one.
        step: step length.
        strength: r_j.
        lam: of the l1 penalty.
    """
    first = soft_threshold(parts[0], step * lam) if lam > 0 else parts[0]
    both = [first, *parts[1:]]
    return shrunk_negative(both, step * strength) if strength > 0 else both


class LayerAdam(Optimizer):
    """Adam with one second moment a layer instead of one a weight.

    So the step of a layer is a number times its averaged gradient, and the proximal step of a norm over the layer is
    exact in the step's own metric: what it stops at is where the loss and the regulariser balance. With one second
    moment a weight (Adam) the closed form would be that of another problem. A step is

        m = b1 m + (1 - b1) g,   v = b2 v + (1 - b2) mean(g^2),
        w = w - t m',            t = rate / (sqrt(max(v', mean(g^2))) + eps)

    with m' and v' corrected for their start at 0, and g with coupled weight decay. A gradient that is suddenly large
    makes its own step no longer: a product of matrices without negative entries grows fast where training errs.

    The step also scales both penalties: where gradients become small it grows, and would take the weights to 0 before
    the loss can answer. With `memory` the largest max(v', mean(g^2)) so far counts instead, which fades by the factor
    1 - 1 / memory a step, so that no step is longer than the shortest one so far by more than that allows.

    Args:
        groups: one parameter group a layer: its tensors share v.
        lr: rate.
        betas: b1 and b2.
        eps: as in Adam.
        memory: in steps; 0 for none.
    """

    def __init__(
        self, groups: Iterable[dict[str, Any]], lr: float, betas: tuple[float, float] = (0.9, 0.99), eps: float = 1e-8,
        *, memory: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__(list(groups), {"lr": lr, "betas": betas, "eps": eps, "weight_decay": 0.0, "memory": memory})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]  # no closure is used
        """One step of every layer that has gradients."""
        for group in self.param_groups:
            moved = [parameter for parameter in group["params"] if parameter.grad is not None]
            if not moved:
                continue
            decay, (beta1, beta2) = group["weight_decay"], group["betas"]
            gradients = [p.grad if decay == 0 else p.grad + decay * p for p in moved]
            first = self.state[moved[0]]
            if "square" not in first:
                first["square"], first["step"] = torch.zeros_like(moved[0].flatten()[0]), 0
            first["step"] += 1
            count = sum(gradient.numel() for gradient in gradients)
            mean = torch.stack([gradient.square().sum() for gradient in gradients]).sum() / count
            first["square"].lerp_(mean, 1 - beta2)
            square = torch.maximum(first["square"] / (1 - beta2 ** first["step"]), mean)
            if group["memory"]:
                square = torch.maximum(square, (1 - 1 / group["memory"]) * first.get(LARGEST, square))
                first[LARGEST] = square
            step = group["lr"] / (square.sqrt() + group["eps"])
            first[STEP] = step
            for parameter, gradient in zip(moved, gradients, strict=True):
                memory = self.state[parameter]
                if "average" not in memory:
                    memory["average"] = torch.zeros_like(parameter)
                memory["average"].lerp_(gradient, 1 - beta1)
                parameter.sub_(memory["average"] * (step / (1 - beta1 ** first["step"])))

    step.hooked = True  # type: ignore[attr-defined]  # torch would wrap it at the first instance, and import its compiler


def layer_adam(
    network: nn.Module, rate: float, decay: float, *, memory: float = 0.0, hold: bool = False
) -> MakeOptimizer:
    """Makes `LayerAdam` of a network: a group a linear layer, convolution or normalisation, and one a tensor else.

    Args:
        network: whose parameters they are; a likelihood's that learn do not decay.
        rate: at the start.
        decay: weight decay, coupled.
        memory: of `LayerAdam`.
        hold: whether what a likelihood learns stays as it is.
    """

    def make(parameters: Iterable[Any]) -> Optimizer:
        given = list(parameters)
        nested = bool(given) and isinstance(given[0], dict)
        own = list(given[0]["params"]) if nested else given
        others = [tensor for group in given[1:] for tensor in group["params"]] if nested else []
        waiting = {id(parameter): parameter for parameter in own}
        groups: list[dict[str, Any]] = []
        for module in network.modules():
            if is_matrix(module) or isinstance(module, NORMS):
                mine = [waiting.pop(id(p)) for p in module.parameters() if id(p) in waiting]
                groups += [{"params": mine}] if mine else []
        groups += [{"params": [parameter]} for parameter in waiting.values()]
        decaying = [group | {"weight_decay": decay} for group in groups]
        beside: list[dict[str, Any]] = [{"params": [tensor], **({"lr": 0.0} if hold else {})} for tensor in others]
        return LayerAdam([*decaying, *beside], rate, memory=memory)

    return make


class ProximalUpdate:
    """After every optimizer step the proximal step of lam |W| on all matrices and r_j ||neg|| on the candidates.

    Args:
        layers: of the network as it is in this phase.
        strengths: r_j by candidate.
        lam: of the l1 penalty on the weights of all matrices, first and last included.
        warm_up: steps over which r_j rises from 0.
        hold_from: step from which a layer behind a batch normalisation that is inactive stays so.
    """

    def __init__(
        self, layers: Layers, strengths: dict[str, float], lam: float, warm_up: int, hold_from: int = 0
    ) -> None:
        self.layers, self.strengths, self.lam, self.warm_up = layers, strengths, lam, warm_up
        self.hold_from = hold_from

    @torch.no_grad()
    def __call__(self, state: TrainState) -> None:
        """Move the weights of the step just done."""
        reached = min(1.0, state.phase_step / self.warm_up) if self.warm_up else 1.0
        memory = state.optimizers["network"].state
        for name in self.layers.names:
            layer, one = state.network.get_submodule(name), self.layers.by_name.get(name)
            step = next((memory[p][STEP] for p in layer.parameters() if STEP in memory.get(p, {})), None)
            strength = 0.0 if one is None else reached * self.strengths[name]
            if step is None or (strength == 0 and self.lam == 0):
                continue
            if one is not None and one.norm:
                held = memory[layer.get_parameter("weight")].get(HELD, False) and state.phase_step >= self.hold_from
                values = self._behind_norm(state.network, one, step, _ENDLESS if held and strength > 0 else strength)
                memory[layer.get_parameter("weight")][HELD] = all(bool((part >= 0).all()) for part in values)
                continue
            tensors = [layer.get_parameter("weight"), *([] if layer.bias is None else [layer.get_parameter("bias")])]
            moved = proximal_step([tensor.detach() for tensor in tensors], step, strength, self.lam)
            for tensor, value in zip(tensors, moved, strict=True):
                tensor.copy_(value)

    def _behind_norm(self, network: nn.Module, one: Candidate, step: Tensor, strength: float) -> list[Tensor]:
        """The same on weight and bias with the normalisation folded in.

        The bias also moves with the running mean, and weights change their sign with the scale, while the proximal step
        goes to 0 with the learning rate. So where no weight is negative the bias is not either, and near the end of the
        fit a layer that is inactive is held so.
        """
        layer, norm = network.get_submodule(one.layer), network.get_submodule(one.norm)
        weight, bias = effective(layer, norm)
        assert bias is not None  # a normalisation has a shift
        moved = proximal_step([weight, bias], step.double(), strength, self.lam)
        if strength > 0 and bool((moved[0] >= 0).all()):
            moved[1] = moved[1].clamp(min=0)
        write_effective(layer, norm, moved[0], moved[1])
        return moved
