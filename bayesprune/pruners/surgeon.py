"""Layer-wise optimal brain surgeon (Dong et al., arXiv 1705.07565): scores, and the survivors' correction.

A layer's outputs W x change by dW x when its weights change by dW; with H = mean of x x^T over the layer's inputs
the mean square of that, halved, is the sum over output units of d H d^T / 2, d being a row of dW. Each layer is
treated by itself, with the inputs it gets in the network as it is, in evaluation mode. Of a convolution x are the
patches under the kernel, one for each output position. Biases take no part.

H is damped, since inputs that are constantly 0 (or depend on each other) make it singular: a ridge is added to its
diagonal. The authors start the inverse at 1e6 I, which is a ridge of 1e-6; that is for inputs of mean square 1 or less,
and where they are larger the ridge grows in proportion. Everything is computed in float64.

Whether inputs depend on each other is decided by a tolerance, not by whether a factorization happens to fail: of each
input q the share 1 / (H_qq [H^-1]_qq) of its mean square is what the others do not explain. Rounding alone leaves
shares of about 1e-15; where one is below 1e-12 the layer is refused. With the default damping no share of a layer of
fewer than a million inputs is so small.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.utils.hooks import RemovableHandle

from bayesprune.batches import call, chunks
from bayesprune.errors import NetworkError, SettingError
from bayesprune.pruners.problem import Problem, check_finite
from bayesprune.run.settings import check_integer, check_number
from bayesprune.structure import evaluating, hooked
from bayesprune.structure.layers import CONVOLUTION, TRANSPOSED
from bayesprune.structure.matrices import COUNTED

_LEAST_OWN_SHARE = 1e-12
"""Of an input's damped mean square, what the other inputs must at least leave unexplained."""

_CHUNK = 50
"""Examples in one forward pass: a convolution's patches take kernel size times the memory of its inputs."""


@torch.no_grad()
def layer_obs(problem: Problem, *, examples: int = 1000, damping: float = 1e-6) -> dict[str, Tensor]:
    """w^2 / (2 [H^-1]_qq) of every weight: the least by which its layer's error grows when it is removed.

    That least growth is reached when the other weights of the same output unit are corrected, as `correct` does. Labels
    are not read.

    Args:
        problem: its training inputs are read.
        examples: how many, drawn at random.
        damping: ridge on H, relative to the mean square of the layer's inputs where that is above 1.

    Raises:
        SettingError: examples or damping are not positive, or the damping is too small.
        NetworkError: a layer has groups, is transposed, was not called, or holds numbers that are not finite.
    """
    moments, scores = input_moments(problem, examples=examples, damping=damping), {}
    for name, weight in problem.weights().items():
        least = _inverse_diagonal(name, moments[name]).reciprocal()
        scores[name] = (0.5 * weight.double().square() * least.view(weight.shape[1:])).to(weight.dtype)
    return scores


@torch.no_grad()
def correct(problem: Problem, masks: Mapping[str, Tensor], *, examples: int = 1000, damping: float = 1e-6) -> None:
    """Set pruned weights to 0 and the survivors to what changes their layer's outputs least, in place.

    In a row w of a layer's weights with survivors K and pruned ones S that is the least-squares optimum
    w_K + (H_KK)^-1 H_KS w_S. All layers are corrected for the inputs of the network as it was before.

    Args:
        problem: its network still holds the weights that are to be removed; it is changed.
        masks: 0 or 1 for every weight, by parameter name; layers without one stay as they are.
        examples: training inputs for H, drawn at random.
        damping: as for `layer_obs`.

    Raises:
        SettingError: examples or damping are not positive, or the damping is too small.
        NetworkError: a mask belongs to no weight, or as for `layer_obs`.
    """
    weights = problem.weights()
    for name, mask in masks.items():
        if name not in weights or weights[name].shape != mask.shape:
            raise NetworkError(f"the mask {name!r} {list(mask.shape)} fits no weight: there are {sorted(weights)}")
    moments = input_moments(problem, examples=examples, damping=damping, only=masks)
    for name, mask in masks.items():
        rows, alive = weights[name].double().flatten(1), mask.flatten(1) != 0
        _inverse_diagonal(name, moments[name])  # what it does not refuse, it does not refuse for fewer inputs
        weights[name].copy_(_corrected(rows, alive, moments[name]).view(mask.shape))


def _corrected(rows: Tensor, alive: Tensor, moment: Tensor) -> Tensor:
    """Rows [R, F] with pruned entries 0 and the others at the optimum; equal masks are solved together."""
    result = rows * alive
    patterns, number = alive.unique(dim=0, return_inverse=True)
    for pattern, own in ((pattern, number == k) for k, pattern in enumerate(patterns)):
        kept, pruned = pattern.nonzero().flatten(), (~pattern).nonzero().flatten()
        if len(kept) and len(pruned):
            pull = moment[kept][:, pruned] @ rows[own][:, pruned].T
            factor = torch.linalg.cholesky(moment[kept][:, kept])
            change = rows.new_zeros(int(own.sum()), rows.shape[1])
            change[:, kept] = torch.cholesky_solve(pull, factor).T
            result[own] += change
    return result


def _inverse_diagonal(name: str, moment: Tensor) -> Tensor:
    """The diagonal [F] of a damped moment's inverse.

    Raises:
        SettingError: the damping is too small: an input depends on the others, but for rounding.
    """
    factor, failed = torch.linalg.cholesky_ex(moment)
    if not int(failed):
        diagonal: Tensor = torch.cholesky_inverse(factor).diagonal()
        if bool((moment.diagonal() * diagonal * _LEAST_OWN_SHARE <= 1).all()):
            return diagonal
    layer = name.removesuffix(".weight")
    raise SettingError(f"the inputs of layer {layer!r} depend on each other: give a larger damping, such as 1e-6")


@torch.no_grad()
def input_moments(
    problem: Problem, *, examples: int = 1000, damping: float = 1e-6, only: Mapping[str, object] | None = None
) -> dict[str, Tensor]:
    """Damped second moments H = mean of x x^T [F, F] of the inputs of linear and convolution layers, float64.

    Args:
        problem: as for `layer_obs`.
        examples: training inputs, drawn at random.
        damping: as for `layer_obs`.
        only: parameter names of the layers wanted; None for all.

    Raises:
        SettingError: examples or damping are not positive, or the damping is too small.
        NetworkError: as for `layer_obs`.
    """
    check_integer("examples", examples, 1)
    check_number("damping", damping, 0.0)
    wanted = {name: weight for name, weight in problem.weights().items() if only is None or name in only}
    _refuse_others(problem.network, wanted)
    sums: dict[str, Tensor] = {}
    counts = dict.fromkeys(wanted, 0)
    with problem.scoring() as network, evaluating(network), _watching(network, wanted, sums, counts):
        for inputs in chunks(problem.examples(examples)[0], _CHUNK):
            call(network, inputs)
    for name in wanted:
        if not counts[name]:
            raise NetworkError(
                f"layer {name.removesuffix('.weight')!r} is not called in a forward pass, so its inputs are unknown: "
                "use a score that needs none, such as magnitude"
            )
    moments = {name: total / counts[name] for name, total in sums.items()}
    check_finite("inputs", moments)
    for moment in moments.values():
        diagonal = moment.diagonal()
        diagonal += damping * max(1.0, float(diagonal.mean()))
    return moments


def _refuse_others(network: nn.Module, wanted: Mapping[str, nn.Parameter]) -> None:
    """Refuse layers that are neither linear nor convolutions, such as recurrent ones.

    Raises:
        NetworkError: names the first.
    """
    chosen = {id(weight) for weight in wanted.values()}
    for name, layer in network.named_modules():
        if not isinstance(layer, COUNTED) and any(id(own) in chosen for own in layer._parameters.values()):
            raise NetworkError(
                f"the layer-wise surgeon cannot treat layer {name!r}, a {type(layer).__name__}: it needs linear layers "
                "or convolutions; use another score, such as magnitude"
            )


def _watching(
    network: nn.Module, wanted: Mapping[str, nn.Parameter], sums: dict[str, Tensor], counts: dict[str, int]
) -> AbstractContextManager[None]:
    """Add up x x^T and the number of x of every wanted weight while the network runs; a shared one's together."""
    names = {id(weight): name for name, weight in wanted.items()}

    def watch(name: str) -> Callable[[nn.Module, Any], None]:
        def hook(layer: nn.Module, arguments: tuple[Tensor, ...]) -> None:
            rows = _rows(layer, arguments[0]).double()
            counts[name] += len(rows)
            sums[name] = sums.get(name, 0.0) + rows.T @ rows

        return hook

    def watching() -> Iterator[RemovableHandle]:
        for layer_name, layer in network.named_modules():
            name = names.get(id(layer._parameters.get("weight")))
            if name is not None and isinstance(layer, COUNTED):
                _refuse(layer_name, layer)
                yield layer.register_forward_pre_hook(watch(name))

    return hooked(watching())


def _refuse(name: str, layer: nn.Module) -> None:
    """Refuse a convolution whose outputs do not all read the same patches.

    Raises:
        NetworkError: names it.
    """
    if isinstance(layer, TRANSPOSED) or (isinstance(layer, CONVOLUTION) and layer.groups != 1):
        kind = "transposed" if isinstance(layer, TRANSPOSED) else f"in {layer.groups} groups"
        raise NetworkError(
            f"the layer-wise surgeon cannot treat layer {name!r}, a convolution {kind}: it needs groups=1 and no "
            "transposition; use another score, such as magnitude or obd"
        )


def _rows(layer: nn.Module, inputs: Tensor) -> Tensor:
    """What a layer multiplies its weight rows by: [N, F], of a convolution patches in the order of its weight."""
    if not isinstance(layer, CONVOLUTION):
        return inputs.flatten(0, -2)
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    patches = pad(inputs, layer._reversed_padding_repeated_twice, mode)
    dimensions = len(layer.kernel_size)
    for axis, (size, stride, dilation) in enumerate(
        zip(layer.kernel_size, layer.stride, layer.dilation, strict=True), start=2
    ):
        patches = patches.unfold(axis, dilation * (size - 1) + 1, stride)[..., ::dilation]
    return patches.movedim(1, 1 + dimensions).flatten(1 + dimensions).flatten(0, dimensions)
