"""Empirical neural tangent kernels: for every pair of samples a K x K block of inner products of logits' gradients.

    Theta(x1, x2)[n, m, a, b] = sum_i  d f_a(x1_n) / d p_i  *  d f_b(x2_m) / d p_i

over the coordinates i of the network's parameters p: all of them, or those that masks keep. Two ways to the same
numbers: `contracted_kernel` takes all Jacobians; `tangent_kernel` never forms those of linear layers, which hold most
weights. Both can be differentiated in the parameters.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap

from bayesprune.devices import CPU
from bayesprune.errors import DataError, NetworkError
from bayesprune.structure.modes import twice_differentiable
from bayesprune.tangent.capture import check_separate, forward, plain_layers
from bayesprune.tangent.elementary import Elementary
from bayesprune.tangent.factors import layer_parts

Parameters = Mapping[str, Tensor]
"""Tensors by parameter name, in place of the network's own."""


def tangent_kernel(
    network: nn.Module,
    first: Tensor,
    second: Tensor,
    *,
    parameters: Parameters | None = None,
    keep: Parameters | None = None,
) -> Tensor:
    """The kernel between two batches, layer by layer.

    With a the inputs of a linear layer and d_k the gradient of logit k at its outputs, the layer's part of
    Theta[n, m, a, b] is (a_n . a_m + 1) (d_a,n . d_b,m): no Jacobian is formed. Convolutions' Jacobians are formed
    layer by layer from unfolded patches; what belongs to no linear or (one- or two-dimensional) convolution layer is
    contracted like `contracted_kernel`. Gradients can be taken through it wherever torch's gradients are on.

    Args:
        network: in the mode in which its kernel is wanted.
        first: [N, ...].
        second: [M, ...].
        parameters: instead of the network's own.
        keep: by parameter name, 0 for coordinates that are left out of the sum (the "projected" kernel of a masked
            network); all others are in it ("released", as the code of Liu and Zenke, arXiv 2006.08228, has it).

    Returns:
        [N, M, K, K] for K logits.

    Raises:
        DataError: the batches have samples of different shapes, or none.
        NetworkError: the outputs are not [samples, logits], the network mixes samples (batch normalisation in training
            mode, say), or the kernel is not finite.
    """
    _given(network, first, second, parameters)
    check_separate(network, torch.cat([first[:1], second[:1]]))
    return kernel_and_outputs(network, first, second, parameters=parameters, keep=keep)[0]


def kernel_and_outputs(
    network: nn.Module,
    first: Tensor,
    second: Tensor,
    *,
    parameters: Parameters | None = None,
    keep: Parameters | None = None,
) -> tuple[Tensor, Tensor]:
    """`tangent_kernel`, and the outputs [N + M, K] of both batches, which it has to make anyway.

    That the network mixes no samples is taken for granted, so that it costs nothing in every step of training.
    """
    values = _given(network, first, second, parameters)
    wanted = torch.is_grad_enabled()
    with torch.enable_grad(), twice_differentiable():
        # Frozen parameters have their part in the kernel, though nothing is to flow back to them.
        values = {
            name: value if wanted and value.requires_grad else value.detach().requires_grad_(True)
            for name, value in values.items()
        }
        outputs, calls = forward(network, values, torch.cat([first, second]), plain_layers(network))
        slopes = output_slopes(outputs, [call.outputs for call in calls], create_graph=wanted)
    with torch.set_grad_enabled(wanted), twice_differentiable():
        parts = layer_parts(network, calls, slopes, len(outputs))
        kernels = [part.kernel(len(first), keep or {}) for part in parts]
        rest = values.keys() - {name for part in parts for name in part.names}
        if rest:
            kernels.append(_contracted(network, first, second, values, sorted(rest), keep))
    kernel = torch.stack(kernels).sum(0)
    _check(kernel)
    return (kernel, outputs) if wanted else (kernel, outputs.detach())


def contracted_kernel(
    network: nn.Module,
    first: Tensor,
    second: Tensor,
    *,
    parameters: Parameters | None = None,
    keep: Parameters | None = None,
    chunk: int | None = None,
) -> Tensor:
    """The kernel between two batches from all Jacobians [N, K, P] (`torch.func`); as `tangent_kernel` otherwise.

    Args:
        network: as there.
        first: as there.
        second: as there.
        parameters: as there.
        keep: as there.
        chunk: samples whose Jacobians are taken at a time; None for all.
    """
    values = _given(network, first, second, parameters)
    check_separate(network, torch.cat([first[:1], second[:1]]))
    kernel = _contracted(network, first, second, values, list(values), keep, chunk)
    _check(kernel)
    return kernel


def output_slopes(outputs: Tensor, at: list[Tensor], *, create_graph: bool) -> list[Tensor]:
    """Gradients [B, K, ...] of every logit of outputs [B, K] at tensors [B, ...] of the same samples.

    One backward pass a logit: to batch them costs as much time and more memory, and some layers cannot.
    """
    if not at:
        return []
    found = [
        torch.autograd.grad(logit, at, create_graph=create_graph, retain_graph=True, materialize_grads=True)
        for logit in outputs.sum(0).unbind()
    ]
    return [torch.stack(gradients, 1) for gradients in zip(*found, strict=True)]


def _contracted(
    network: nn.Module,
    first: Tensor,
    second: Tensor,
    values: Parameters,
    names: list[str],
    keep: Parameters | None,
    chunk: int | None = None,
) -> Tensor:
    """The part of the kernel that belongs to some parameters, from their Jacobians."""
    others = {name: value for name, value in values.items() if name not in names}

    def outputs(some: Parameters, sample: Tensor) -> Tensor:
        result: Tensor = functional_call(network, {**others, **some}, (sample[None],))
        return result[0]

    jacobian = vmap(jacrev(outputs), (None, 0), chunk_size=chunk, randomness="different")
    some = {name: values[name] for name in names}
    with Elementary():
        one, two = jacobian(some, first), jacobian(some, second)
    parts = []
    for name in names:
        left, right = one[name].flatten(2), two[name].flatten(2)
        if keep is not None and name in keep:
            left = left * keep[name].flatten()
        parts.append(torch.einsum("naf,mbf->nmab", left, right))
    return torch.stack(parts).sum(0)


def _given(network: nn.Module, first: Tensor, second: Tensor, parameters: Parameters | None) -> dict[str, Tensor]:
    """The parameters to differentiate in.

    Raises:
        DataError: batches that do not fit each other.
        NetworkError: the network has no parameters.
    """
    if not len(first) or not len(second) or first.shape[1:] != second.shape[1:]:
        raise DataError(
            f"a kernel needs two batches of samples of one shape, got {list(first.shape)} and {list(second.shape)}"
        )
    own = dict(network.named_parameters())
    if not own:
        raise NetworkError("the network has no parameters, so it has no tangent kernel")
    return {name: own[name] if parameters is None else parameters.get(name, own[name]) for name in own}


def _check(kernel: Tensor) -> None:
    """Refuse numbers that are none; on an accelerator that is left to the loss, which need not be read at every step.

    Raises:
        NetworkError: the kernel has them.
    """
    if kernel.device.type == CPU and not bool(torch.isfinite(kernel.detach()).all()):
        raise NetworkError(
            "the tangent kernel holds NaN or infinite values: check the network's weights and the scale of its inputs"
        )
