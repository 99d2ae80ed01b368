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
from bayesprune.tasks import Regression
from bayesprune.tasks.likelihood import rows
from bayesprune.training.heads import Heads, named_outputs, picked

SEEN = 64
"""Examples whose outputs are looked at for probabilities where logits are needed, and for the unit of numbers."""

FITS = 0.5
"""Mean squared error, in variances of the targets, below which a network has learnt them."""

_RESHAPING = (
    "View",
    "UnsafeView",
    "Squeeze",
    "Unsqueeze",
    "Reshape",
    "Alias",
    "Clone",
    "ToCopy",
    "Transpose",
    "Permute",
)


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
    several = not isinstance(said, Tensor)
    said = picked(said, settings.output) if settings.output else said
    data.task.check_outputs(said, count(example), targets, "", data.name)
    _check_single(network, example)
    pair = _pair(example)
    trained = _trained(network, pair)
    if settings.output and isinstance(said, Tensor) and isinstance(trained, Tensor) and not several:
        raise NetworkError(
            f"output={settings.output!r} names one of several outputs, and the network says one: leave it out"
        )
    data.task.check_outputs(picked(trained, settings.output), count(pair), targets, " in training mode", data.name)
    _check_aux(named_outputs(trained), settings.aux, data, pair, targets)
    _check_last_batch(network, example, data, settings)
    _warn_of_probabilities(network, data, settings)
    _warn_of_raw_units(network, data, settings)


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
            f"the network cannot take inputs of shape {shape_of(example)}: {_said(error)}{_cure(network, example)}"
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


def _cure(network: nn.Module, example: Batch) -> str:
    """What helps where whole numbers are taken for features, or floats for tokens."""
    if all(part.is_floating_point() for part in parts(example)):
        if not any(isinstance(module, nn.Embedding | nn.EmbeddingBag) for module in network.modules()):
            return ""
        return "; floats are taken for features: give whole numbers, inputs.astype(int), where they are tokens"
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
    if data.task.meaning_of_outputs != "logits":
        return
    inputs = head(next(iter(data.test.batches(SEEN)))[0], SEEN)
    with torch.enable_grad(), torch.random.fork_rng(devices=[]), evaluating(network):
        outputs = picked(call(network, inputs), settings.output).float()
    last = _last_function(outputs)
    several = outputs.dim() > 1 and outputs.shape[1] > 1 and bool((outputs >= 0).all())
    if several and torch.allclose(outputs.sum(1), torch.ones((), dtype=outputs.dtype), atol=1e-4):
        last = "softmax"
    if last in ("softmax", "sigmoid"):
        warnings.warn(
            f"the network's outputs are probabilities, and logits are expected: leave the last {last} out of it",
            PruningWarning,
            stacklevel=2,
        )


def _last_function(outputs: Tensor) -> str:
    """What made the outputs, such as "sigmoid"; what only brings them into another shape does not count."""
    node: Any = outputs.grad_fn
    while node is not None and node.name().startswith(_RESHAPING):
        node = node.next_functions[0][0]
    return "" if node is None else node.name().removesuffix("Backward0").lower()


def _warn_of_raw_units(network: nn.Module, data: Data, settings: RunSettings) -> None:
    """Warn of a network that was trained on targets in their unit: it is taken for one of standardised targets."""
    task = data.task
    if not isinstance(task, Regression):
        return
    inputs, targets = next(iter(data.test.batches(SEEN)))
    inputs, targets = head(inputs, SEEN), head(targets, SEEN)
    outputs = rows(picked(_evaluated(network, inputs), settings.output)).double()
    mean, std = torch.tensor(task.mean).double(), torch.tensor(task.std).double()
    standardised = float((outputs - targets).square().mean())
    raw = float(((outputs - mean) / std - targets).square().mean())
    if raw < FITS < standardised:
        warnings.warn(
            "the network's outputs fit the targets in their own unit, and training takes targets in standard "
            "deviations from their mean: put its last layer into that scale (weight / std, (bias - mean) / std with "
            f"mean {_shown(task.mean)} and std {_shown(task.std)}), or give "
            f"task=bayesprune.tasks.Regression({task.outputs}, mean={(0.0,) * task.outputs}, "
            f"std={(1.0,) * task.outputs})",
            PruningWarning,
            stacklevel=2,
        )


def _shown(values: tuple[float, ...]) -> str:
    """Numbers for a message."""
    return ", ".join(f"{value:.4g}" for value in values)


def _said(error: BaseException) -> str:
    """What an error says, on one line."""
    return " ".join(str(error).split())
