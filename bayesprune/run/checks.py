"""Whether a network can be trained on the data at all; asked before a run starts."""

import warnings
from typing import Any

import torch
from torch import Tensor, nn

from bayesprune.data import Data, last_batch
from bayesprune.data.loaders import LoaderSplit
from bayesprune.errors import NetworkError, PruningWarning, SettingError
from bayesprune.run.settings import RunSettings
from bayesprune.structure import evaluating
from bayesprune.structure.copying import copied
from bayesprune.structure.modes import train_mode

SEEN = 64
"""Examples whose outputs are looked at for probabilities where logits are needed."""


def check_network(network: nn.Module, example: Tensor, data: Data, settings: RunSettings) -> None:
    """Refuse a network that cannot be trained on the data; it is left as it is.

    Args:
        network: with the weights to start from.
        example: inputs [B, ...] of the data.
        data: what it is to learn from.
        settings: of the run.

    Raises:
        NetworkError: weights that are no numbers, inputs that it cannot take, or outputs that are no logits.
        SettingError: a last batch of one example where batch normalisation needs more.
    """
    _check_weights(network)
    _check_logits(_evaluated(network, example), example, data, "")
    _check_single(network, example)
    pair = example if len(example) > 1 else torch.cat([example, example])
    _check_logits(first_output(_trained(network, pair)), pair, data, " in training mode")
    _check_last_batch(network, example, data, settings)
    _warn_of_probabilities(network, data)


def train_on_first_output(network: nn.Module, example: Tensor) -> None:
    """Let a network that says several things in training say the first one, its logits, until `say_all` is called."""
    pair = example if len(example) > 1 else torch.cat([example, example])
    if not isinstance(_trained(network, pair), Tensor):
        network.register_forward_hook(_first)
        warnings.warn(
            "in training the network returns several outputs: it is trained on the first one, and what only the others "
            "need (auxiliary heads) is not trained",
            PruningWarning,
            stacklevel=2,
        )


def say_all(network: nn.Module) -> None:
    """Undo `train_on_first_output`."""
    for key in [key for key, hook in network._forward_hooks.items() if hook is _first]:
        del network._forward_hooks[key]


def first_output(outputs: Any) -> Any:
    """The first of several outputs in a tuple, list or dictionary; one output as it is."""
    if isinstance(outputs, dict):
        return next(iter(outputs.values()), None)
    return outputs[0] if isinstance(outputs, tuple | list) and outputs else outputs


def _first(_: nn.Module, __: Any, outputs: Any) -> Any:
    """A forward hook."""
    return first_output(outputs)


def _check_weights(network: nn.Module) -> None:
    """Refuse weights that are no numbers: training could only go wrong."""
    for name, weights in network.named_parameters():
        if not bool(torch.isfinite(weights).all()):
            raise NetworkError(f"{name} of the network holds NaN or infinite values: start from other weights")


@torch.no_grad()
def _evaluated(network: nn.Module, example: Tensor) -> Any:
    """What the network says in evaluation mode.

    Raises:
        NetworkError: it cannot take the example.
    """
    try:
        with torch.random.fork_rng(devices=[]), evaluating(network):
            return network(example)
    except Exception as error:  # whatever the network's own code raises
        raise NetworkError(
            f"the network cannot take inputs of shape {tuple(example.shape[1:])}: {_said(error)}"
        ) from error


@torch.no_grad()
def _trained(network: nn.Module, example: Tensor) -> Any:
    """What a copy says in training mode.

    Raises:
        NetworkError: it fails.
    """
    copy = copied(network)
    try:
        with torch.random.fork_rng(devices=[]):
            train_mode(copy)
            return copy(example)
    except Exception as error:  # whatever the network's own code raises
        raise NetworkError(
            f"the network takes inputs of shape {tuple(example.shape[1:])} in evaluation mode and fails on them in "
            f"training mode ({_said(error)}): give a network that trains on them, or drop what runs in training only"
        ) from error


def _check_logits(outputs: Any, example: Tensor, data: Data, when: str) -> None:
    """Refuse outputs that are no logits of the data's classes."""
    if not isinstance(outputs, Tensor) or outputs.dim() != 2 or outputs.shape[1] < data.classes:
        shape = list(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        raise NetworkError(
            f"the network's outputs{when} for a batch of {len(example)} are {shape}; logits [{len(example)}, "
            f"{data.classes}] are needed for the {data.classes} classes of {data.name}: let forward return them alone"
        )


def _check_single(network: nn.Module, example: Tensor) -> None:
    """Refuse a network that needs several examples at once in evaluation mode, too."""
    try:
        _evaluated(network, example[:1])
    except NetworkError as error:
        batched = [
            name
            for name, m in network.named_modules()
            if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.running_mean is None
        ]
        cure = f": give {', '.join(map(repr, batched))} track_running_stats=True" if batched else ""
        raise NetworkError(
            f"the network takes {len(example)} examples at once but not one, which measuring it needs "
            f"({_said(error.__cause__ or error)}){cure}"
        ) from error


@torch.no_grad()
def _check_last_batch(network: nn.Module, example: Tensor, data: Data, settings: RunSettings) -> None:
    """Refuse a last batch of one example where batch normalisation needs more."""
    if not _leaves_one(data, settings.batch_size):
        return
    copy = copied(network)
    train_mode(copy)
    try:
        with torch.random.fork_rng(devices=[]):
            copy(example[:1])
    except ValueError as error:
        if isinstance(data.train, LoaderSplit):
            raise SettingError(
                f"the last batch of the training loader has one of {len(data.train):,} examples, which batch "
                f"normalisation cannot train on: give the loader drop_last=True or another batch_size ({_said(error)})"
            ) from error
        raise SettingError(
            f"batch_size {settings.batch_size} leaves one of {len(data.train):,} examples to the last batch, "
            f"which batch normalisation cannot train on: choose another batch size ({_said(error)})"
        ) from error


def _leaves_one(data: Data, batch_size: int) -> bool:
    """Whether a batch of training has one example."""
    last = last_batch(data.train, batch_size)
    if last is not None or not isinstance(data.train, LoaderSplit):
        return last == 1
    with torch.random.fork_rng(devices=[]):
        return any(len(indices) == 1 for indices in data.train.loader.batch_sampler or ())


def _warn_of_probabilities(network: nn.Module, data: Data) -> None:
    """Warn of outputs that are probabilities: training and measuring take logits."""
    outputs = _evaluated(network, next(iter(data.test.batches(SEEN)))[0][:SEEN]).float()
    if bool((outputs >= 0).all()) and torch.allclose(outputs.sum(1), torch.ones(len(outputs)), atol=1e-4):
        warnings.warn(
            "the network's outputs are probabilities, and logits are expected: leave the last softmax out of it",
            PruningWarning,
            stacklevel=2,
        )


def _said(error: BaseException) -> str:
    """What an error says, on one line."""
    return " ".join(str(error).split())
