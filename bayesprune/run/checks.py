"""Whether a network can be trained on the data at all; asked before a run starts."""

from copy import deepcopy

import torch
from torch import Tensor, nn

from bayesprune.data import Data, TensorSplit
from bayesprune.errors import NetworkError, SettingError
from bayesprune.run.settings import RunSettings
from bayesprune.structure import evaluating


def check_network(network: nn.Module, example: Tensor, data: Data, settings: RunSettings) -> None:
    """Refuse a network that cannot be trained on the data; it is left as it is.

    Args:
        network: with the weights to start from.
        example: inputs [B, ...] of the data.
        data: what it is to learn from.
        settings: of the run.

    Raises:
        NetworkError: weights that are no numbers, inputs that it cannot take, or another number of outputs.
        SettingError: a last batch of one example where batch normalisation needs more.
    """
    _check_weights(network)
    _check_outputs(network, example, data)
    _check_last_batch(network, example, data, settings)


def _check_outputs(network: nn.Module, example: Tensor, data: Data) -> None:
    """Refuse inputs that the network cannot take, and outputs that are no logits."""
    try:
        with torch.no_grad(), evaluating(network):
            outputs = network(example)
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        raise NetworkError(f"the network cannot take inputs of shape {data.input_shape}: {error}") from error
    if not isinstance(outputs, Tensor) or outputs.dim() != 2 or outputs.shape[1] < data.classes:
        shape = list(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        raise NetworkError(
            f"the network's outputs for a batch of {len(example)} are {shape}; logits [{len(example)}, "
            f"{data.classes}] are needed for the {data.classes} classes of {data.name}"
        )


def _check_weights(network: nn.Module) -> None:
    """Refuse weights that are no numbers: training could only go wrong."""
    for name, weights in network.named_parameters():
        if not bool(torch.isfinite(weights).all()):
            raise NetworkError(f"{name} of the network holds NaN or infinite values: start from other weights")


def _check_last_batch(network: nn.Module, example: Tensor, data: Data, settings: RunSettings) -> None:
    """Refuse a last batch of one example where batch normalisation needs more."""
    if not isinstance(data.train, TensorSplit) or len(data.train) % settings.batch_size != 1:
        return
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            deepcopy(network).train()(example[:1])
    except ValueError as error:
        raise SettingError(
            f"batch_size {settings.batch_size} leaves one of {len(data.train):,} examples to the last batch, "
            f"which batch normalisation cannot train on: choose another batch size ({error})"
        ) from error
