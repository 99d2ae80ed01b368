"""The diagonal of the Hessian of the mean loss: exactly, and estimated."""

import torch
from torch import Tensor, nn

from bayesprune.batches import call
from bayesprune.errors import NetworkError, SettingError
from bayesprune.pruners.problem import Batch, check_finite
from bayesprune.pruners.saliency.gauss_newton import CLASSES, gauss_newton_diagonal, obstacle
from bayesprune.pruners.saliency.gradients import gradients
from bayesprune.structure import weights_of
from bayesprune.structure.modes import twice_differentiable
from bayesprune.tasks import Likelihood
from bayesprune.tasks.likelihood import unweighted

MOST_WEIGHTS = 20_000
"""With more weights than this there are too many to take a Hessian-vector product for each."""
_AT_ONCE = 32


def exact_diagonal(network: nn.Module, batch: Batch, likelihood: Likelihood = CLASSES) -> dict[str, Tensor]:
    """The second derivatives by every single weight, exactly.

    Where the logits are piecewise linear in each weight (linear layers, convolutions, rectifiers, pooling, BatchNorm
    with running statistics) the diagonal is that of the Gauss-Newton matrix, and costs as many backward passes as
    there are classes. Elsewhere it takes one Hessian-vector product a weight.

    Args:
        network: in evaluation mode, every weight with gradients on.
        batch: inputs and targets of B examples.
        likelihood: of the targets; of classes by default.

    Raises:
        NetworkError: the logits are not piecewise linear in each weight and there are more than `MOST_WEIGHTS`
            weights; or derivatives are not finite (names the layer).
    """
    reason = obstacle(network, batch[0], likelihood)
    if reason is None:
        found = gauss_newton_diagonal(network, batch[0], likelihood, unweighted(batch[1])[1])
    else:
        _check_count(network, reason)
        found = _with_unit_vectors(network, batch, likelihood)
    check_finite("second derivatives", found)
    return found


def hutchinson_diagonal(
    network: nn.Module, batch: Batch, likelihood: Likelihood = CLASSES, draws: int = 100
) -> dict[str, Tensor]:
    """The mean of v * (H v) over random signs v: unbiased, of any network that can be differentiated twice.

    The variance of one draw is, for weight i, the sum over all others j of H_ij^2; that of the mean falls with
    1 / draws. Each draw costs one backward pass through the gradients' graph. Bekas et al. 2007.

    Args:
        network: in evaluation mode, every weight with gradients on.
        batch: inputs and targets of B examples.
        likelihood: of the targets; of classes by default.
        draws: how many sign vectors.

    Raises:
        SettingError: `draws` is below 1.
        NetworkError: derivatives are not finite; names the layer.
    """
    if draws < 1:
        raise SettingError(f"{draws} draws: at least 1 is needed to estimate second derivatives")
    weights, slopes = _slopes(network, batch, likelihood)
    found = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    curved = {name: slope for name, slope in slopes.items() if slope.grad_fn is not None}
    for _ in range(draws if curved else 0):
        signs = {name: torch.randint_like(weight, 2) * 2 - 1 for name, weight in weights.items()}
        products = torch.autograd.grad(
            list(curved.values()),
            list(weights.values()),
            [signs[name] for name in curved],
            retain_graph=True,
            allow_unused=True,
            materialize_grads=True,
        )
        for name, product in zip(weights, products, strict=True):
            found[name] += signs[name] * product / draws
    check_finite("second derivatives", found)
    return found


def _slopes(
    network: nn.Module, batch: Batch, likelihood: Likelihood
) -> tuple[dict[str, nn.Parameter], dict[str, Tensor]]:
    """The weights, and the differentiable gradient of the mean loss."""
    inputs, labels = batch
    weights = weights_of(network)
    with twice_differentiable():
        return weights, gradients(likelihood.loss(call(network, inputs), labels), weights, create_graph=True)


def _check_count(network: nn.Module, reason: str) -> None:
    """Refuse to walk through very many weights one by one."""
    count = sum(weight.numel() for weight in weights_of(network).values())
    if count > MOST_WEIGHTS:
        raise NetworkError(
            f"{reason}, so exact second derivatives take one Hessian-vector product for each of its {count:,} weights, "
            f"and at most {MOST_WEIGHTS:,} are feasible: give draws=100, the Hutchinson estimate"
        )


def _with_unit_vectors(network: nn.Module, batch: Batch, likelihood: Likelihood) -> dict[str, Tensor]:
    """The diagonal from one Hessian-vector product a weight."""
    weights, slopes = _slopes(network, batch, likelihood)
    return {name: _diagonal_block(slopes[name], weight) for name, weight in weights.items()}


def _diagonal_block(slope: Tensor, weight: Tensor) -> Tensor:
    """The derivatives of each entry of a gradient by the same entry of the weight."""
    if slope.grad_fn is None:  # the loss does not depend on the weight
        return torch.zeros_like(weight)
    entries = []
    for places in torch.arange(weight.numel(), device=weight.device).split(_AT_ONCE):
        units = slope.new_zeros(len(places), weight.numel()).scatter_(1, places[:, None], 1.0)
        products = _products(slope, weight, units.view(-1, *weight.shape))
        entries.append(products.flatten(1).gather(1, places[:, None]).flatten())
    return torch.cat(entries).view_as(weight)


def _products(slope: Tensor, weight: Tensor, directions: Tensor) -> Tensor:
    """The derivative of a gradient in each direction: all at once where torch can (not through GroupNorm)."""
    try:
        return torch.autograd.grad(slope, weight, directions, retain_graph=True, is_grads_batched=True)[0]
    except RuntimeError:
        return torch.stack([torch.autograd.grad(slope, weight, one, retain_graph=True)[0] for one in directions])
