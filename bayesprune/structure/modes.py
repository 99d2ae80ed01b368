"""Evaluation and training mode, or hooks, for a while; which modules stay in evaluation mode."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

from torch import nn
from torch.utils.hooks import RemovableHandle

_NORM = nn.modules.batchnorm._NormBase
_MARK = "stays_in_evaluation_mode"


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Put a network in evaluation mode; afterwards every module has the mode it had, frozen ones included."""
    with _same_modes(network):
        network.eval()
        yield


@contextmanager
def as_in_training(network: nn.Module) -> Iterator[None]:
    """Put a network in training mode and its layers in evaluation mode: all that training runs, without its noise.

    Afterwards every module has the mode it had.
    """
    with _same_modes(network):
        for module in network.modules():
            is_layer = isinstance(module, nn.MultiheadAttention)  # drops by itself, though it has a child
            module.training = any(True for _ in module.children()) and not is_layer
        yield


@contextmanager
def training(network: nn.Module) -> Iterator[None]:
    """Put a network in training mode as `train_mode` does; afterwards every module has the mode it had."""
    with _same_modes(network):
        train_mode(network)
        yield


def train_mode(network: nn.Module) -> None:
    """Put a network in training mode, all but the modules that `remember_frozen` marked."""
    network.train()
    for module in network.modules():
        if stays_evaluating(module):
            module.eval()


def remember_frozen(network: nn.Module) -> None:
    """Mark the modules that its user keeps in evaluation mode.

    These are the modules in evaluation mode of a network in training mode, and every normalisation in evaluation
    mode whose parameters are all frozen.
    """
    for module in network.modules():
        if not module.training and (network.training or _is_frozen(module)):
            setattr(module, _MARK, True)


def stays_evaluating(module: nn.Module) -> bool:
    """Whether `remember_frozen` marked a module."""
    return bool(getattr(module, _MARK, False))


def _is_frozen(module: nn.Module) -> bool:
    """A normalisation none of whose parameters is trained."""
    parameters = list(module.parameters(recurse=False))
    return isinstance(module, _NORM) and bool(parameters) and not any(each.requires_grad for each in parameters)


@contextmanager
def _same_modes(network: nn.Module) -> Iterator[None]:
    """Give every module its mode back afterwards."""
    modes = [(module, module.training) for module in network.modules()]
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextmanager
def hooked(handles: Iterable[RemovableHandle]) -> Iterator[None]:
    """Take hooks off again afterwards; those made so far, too, when making the next one fails."""
    with ExitStack() as stack:
        for handle in handles:
            stack.enter_context(handle)
        yield


@contextmanager
def batch_statistics(network: nn.Module) -> Iterator[None]:
    """Evaluation mode, but batch normalisation that is being trained takes its batch's statistics and keeps none."""
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.training]
    tracking = [norm.track_running_stats for norm in norms]
    with evaluating(network):
        try:
            for norm in norms:
                norm.training, norm.track_running_stats = True, False
            yield
        finally:
            for norm, tracks in zip(norms, tracking, strict=True):
                norm.track_running_stats = tracks


@contextmanager
def twice_differentiable() -> Iterator[None]:
    """For a while attention runs by operators that have second derivatives, which its fast ones have not."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    with sdpa_kernel(SDPBackend.MATH):
        yield
