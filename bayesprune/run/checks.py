"""Whether a network can be trained on the data at all; asked before a run starts."""

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from bayesprune.batches import Batch, call, count, head, parts, repeated, shape_of
from bayesprune.data import Data, last_batch
from bayesprune.data.loaders import LoaderSplit
from bayesprune.data.placing import as_given
from bayesprune.errors import NetworkError, PruningWarning, SettingError
from bayesprune.run.settings import RunSettings
from bayesprune.structure import evaluating
from bayesprune.structure.copying import copied
from bayesprune.structure.modes import train_mode
from bayesprune.training.heads import Heads, named_outputs, picked

SEEN = 64
"""Examples whose outputs are looked at for probabilities where logits are needed."""


def check_network(network: nn.Module, example: Batch, data: Data, settings: RunSettings) -> None:
    """Refuse a network that cannot be trained on the data; it is left as it is.

    Args:
        network: with the weights to start from.
        example: inputs [B, ...] of the data.
        data: what it is to learn from.
        settings: of the run.

    Raises:
        NetworkError: weights that are no numbers, inputs that it cannot take, or outputs that do not fit the task.
        SettingError: a last batch of one example where batch normalisation needs more.
    """
    _check_weights(network)
    targets = _first_targets(data)
    said = _evaluated(network, example)
    said = picked(said, settings.output) if settings.output else said
    data.task.check_outputs(said, count(example), targets, "", data.name)
    _check_single(network, example)
    pair = _pair(example)
    trained = _trained(network, pair)
    data.task.check_outputs(picked(trained, settings.output), count(pair), targets, " in training mode", data.name)
    _check_aux(named_outputs(trained), settings.aux, data, pair, targets)
    _check_last_batch(network, example, data, settings)
    _warn_of_probabilities(network, data, settings)


def listen(state_network: nn.Module, example: Batch, settings: RunSettings) -> Heads | None:
    """Let a network that says several things say the one that counts, until `Heads.remove` is called."""
    several = not isinstance(_trained(state_network, _pair(example)), Tensor)
    if not several and not settings.output:
        return None
    heads = Heads(state_network, settings.output, settings.aux)
    if several and not settings.aux and not settings.output:
        warnings.warn(
            "in training the network returns several outputs: it is trained on the first one, and what only the others "
            'need (auxiliary heads) is not trained; give aux={"1": 0.3}, say, to train them',
            PruningWarning,
            stacklevel=2,
        )
    return heads


def _pair(example: Batch) -> Batch:
    """Two examples at least: batch normalisation needs them."""
    return example if count(example) > 1 else repeated(example, 2)


def _first_targets(data: Data) -> tuple[int, ...]:
    """Shape of the targets of one example."""
    _, targets = next(iter(data.test.batches(1)))
    return tuple(parts(targets)[0].shape[1:])


def _check_aux(named: Mapping[str, Any], aux: Mapping[str, float], data: Data, example: Batch, targets: Any) -> None:
    """Refuse auxiliary outputs that are not there, or that do not fit the task."""
    for name in aux:
        if name not in named:
            raise NetworkError(
                f"aux names the output {name!r}, which the network does not say in training: it says "
                f"{', '.join(map(repr, named)) or 'one tensor'}"
            )
        data.task.check_outputs(named[name], count(example), targets, f" {name!r} in training mode", data.name)


def _check_weights(network: nn.Module) -> None:
    """Refuse weights that are no numbers: training could only go wrong."""
    for name, weights in network.named_parameters():
        if not bool(torch.isfinite(weights).all()):
            raise NetworkError(f"{name} of the network holds NaN or infinite values: start from other weights")


@torch.no_grad()
def _evaluated(network: nn.Module, example: Batch) -> Any:
    """What the network says in evaluation mode.

    Raises:
        NetworkError: it cannot take the example.
    """
    try:
        with torch.random.fork_rng(devices=[]), evaluating(network):
            return call(network, example)
    except Exception as error:  # whatever the network's own code raises
        raise NetworkError(
            f"the network cannot take inputs of shape {shape_of(example)}: {_said(error)}{_cure(example)}"
        ) from error


@torch.no_grad()
def _trained(network: nn.Module, example: Batch) -> Any:
    """What a copy says in training mode.

    Raises:
        NetworkError: it fails.
    """
    copy = copied(network)
    try:
        with torch.random.fork_rng(devices=[]):
            train_mode(copy)
            return call(copy, example)
    except Exception as error:  # whatever the network's own code raises
        raise NetworkError(
            f"the network takes inputs of shape {shape_of(example)} in evaluation mode and fails on them in "
            f"training mode ({_said(error)}): give a network that trains on them, or drop what runs in training only"
        ) from error


def _cure(example: Batch) -> str:
    """What helps where whole numbers are taken for features."""
    if all(part.is_floating_point() for part in parts(example)):
        return ""
    return "; whole numbers are taken for tokens or indices: give floats, inputs.astype(float), where they are features"


def _check_single(network: nn.Module, example: Batch) -> None:
    """Refuse a network that needs several examples at once in evaluation mode, too."""
    try:
        _evaluated(network, head(example, 1))
    except NetworkError as error:
        batched = [
            name
            for name, m in network.named_modules()
            if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.running_mean is None
        ]
        cure = f": give {', '.join(map(repr, batched))} track_running_stats=True" if batched else ""
        raise NetworkError(
            f"the network takes {count(example)} examples at once but not one, which measuring it needs "
            f"({_said(error.__cause__ or error)}){cure}"
        ) from error


@torch.no_grad()
def _check_last_batch(network: nn.Module, example: Batch, data: Data, settings: RunSettings) -> None:
    """Refuse a last batch of one example where batch normalisation needs more."""
    if not _leaves_one(data, settings.batch_size):
        return
    copy = copied(network)
    train_mode(copy)
    try:
        with torch.random.fork_rng(devices=[]):
            call(copy, head(example, 1))
    except ValueError as error:
        if isinstance(as_given(data.train), LoaderSplit):
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
    last, train = last_batch(data.train, batch_size), as_given(data.train)
    if last is not None or not isinstance(train, LoaderSplit):
        return last == 1
    with torch.random.fork_rng(devices=[]):
        return any(len(indices) == 1 for indices in train.loader.batch_sampler or ())


def _warn_of_probabilities(network: nn.Module, data: Data, settings: RunSettings) -> None:
    """Warn of outputs that are probabilities: training and measuring take logits."""
    if data.task.meaning_of_outputs != "logits" or data.task.outputs < 2:
        return
    outputs = picked(_evaluated(network, head(next(iter(data.test.batches(SEEN)))[0], SEEN)), settings.output).float()
    if bool((outputs >= 0).all()) and torch.allclose(outputs.sum(1), torch.ones((), dtype=outputs.dtype), atol=1e-4):
        warnings.warn(
            "the network's outputs are probabilities, and logits are expected: leave the last softmax out of it",
            PruningWarning,
            stacklevel=2,
        )


def _said(error: BaseException) -> str:
    """What an error says, on one line."""
    return " ".join(str(error).split())
