"""One run: one method, network, data set and seed, from initial weights to the evaluated result."""

import hashlib
import warnings
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bayesprune import __version__
from bayesprune.data import Data, last_batch
from bayesprune.errors import NetworkError, SettingError
from bayesprune.evaluation.evaluate import evaluate
from bayesprune.run.method import Method
from bayesprune.run.networks import NetworkSpec
from bayesprune.run.pruned import Pruned, identity_of
from bayesprune.run.settings import RunSettings
from bayesprune.store.identity import canonical_json
from bayesprune.structure import evaluating, find, idle_layers, reestimate_batchnorm
from bayesprune.training import Checkpointer, Objective, Progress, TrainState, train
from bayesprune.training.dense import dense_step
from bayesprune.training.fixed import FixedTraining


def run(
    method: Method,
    network: nn.Module,
    data: Data,
    settings: RunSettings,
    *,
    spec: NetworkSpec | None = None,
    checkpointer: Checkpointer | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Pruned:
    """Train and prune a copy of a network.

    Args:
        method: of the table of methods.
        network: with the weights to start from; it is not changed.
        data: what to learn from and to be measured on.
        settings: of the run.
        spec: how the network was built, so that the result can be loaded without code of the user's.
        checkpointer: where to save the state and resume from.
        progress: called after every step.

    Raises:
        SettingError: the method cannot do what is asked.
        NetworkError: the network cannot take the data, or has layers that cannot be gated.
        DivergenceError: the loss is not finite.
        StoreError: a checkpoint is damaged, belongs to another run, or cannot be written.
    """
    check_request(method, settings)
    settings = settings.with_defaults(data.train)
    state = initial_state(network, data, settings)
    _warn_of_idle_layers(state)
    plan = method.plan(state, data, settings)
    state.identity = _identity(network, settings, data, spec)
    threads = torch.get_num_threads()
    torch.set_num_threads(settings.threads)
    try:
        train(
            state,
            plan.phases,
            data,
            batch_size=settings.batch_size,
            seed=settings.seed,
            checkpointer=checkpointer,
            progress=progress,
            describe=plan.describe,
            dense=dense_step(state, plan.dense or _usual_objective(state, data, settings)),
        )
        _recalibrate(state, data, settings)
        evaluation = evaluate(state.network.eval(), data)
    finally:
        torch.set_num_threads(threads)
    posterior = plan.posterior(state) if plan.posterior is not None else None
    return Pruned.of(state, settings, data, evaluation, posterior, spec)


def _usual_objective(state: TrainState, data: Data, settings: RunSettings) -> Objective:
    """What dense training minimises by default."""
    assert settings.epochs is not None  # with_defaults
    return FixedTraining.of(settings, state.network, data.train, epochs=settings.epochs, slab=1.0).objective


def check_request(method: Method, settings: RunSettings) -> None:
    """Refuse a size that the method cannot use, and a missing one that it needs.

    Raises:
        SettingError: saying what the method can do.
    """
    given = {name for name in ("density", "budget", "price") if getattr(settings, name) is not None}
    can = ", ".join(f"{name}=..." for name in sorted(method.takes - {"estimator"})) or "no size"
    for name in sorted(given - method.takes):
        raise SettingError(f"method {method.name!r} cannot use {name}={getattr(settings, name)!r}: it takes {can}")
    if method.needs and not given & method.needs:
        wanted = " or ".join(f"{name}=..." for name in sorted(method.needs))
        raise SettingError(f"method {method.name!r} needs a size: give {wanted}")


def initial_state(network: nn.Module, data: Data, settings: RunSettings) -> TrainState:
    """A fresh state for a copy of the network.

    Raises:
        NetworkError: the network cannot take the data's inputs or gives another number of outputs.
    """
    copy = deepcopy(network)
    _check_weights(copy)
    example = next(iter(data.test.batches(2)))[0]
    try:
        with torch.no_grad(), evaluating(copy):
            outputs = copy(example)
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        raise NetworkError(f"the network cannot take inputs of shape {data.input_shape}: {error}") from error
    if not isinstance(outputs, Tensor) or outputs.dim() != 2 or outputs.shape[1] < data.classes:
        shape = list(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        raise NetworkError(
            f"the network's outputs for a batch of {len(example)} are {shape}; logits [{len(example)}, "
            f"{data.classes}] are needed for the {data.classes} classes of {data.name}"
        )
    _check_last_batch(copy, example, data, settings)
    structure = find(
        copy,
        example,
        keep=settings.keep,
        inputs=settings.inputs,  # type: ignore[arg-type]  # RunSettings allows these three names only
        flatten_inputs=settings.flatten_inputs,
    )
    return TrainState(copy, structure, example)


def _warn_of_idle_layers(state: TrainState) -> None:
    """Name the layers that count as parameters and in nothing else."""
    idle = idle_layers(state.network, state.layers())
    if idle:
        names = ", ".join(map(repr, idle))
        warnings.warn(
            f"layers that never run when the network is evaluated: {names}; their {sum(idle.values()):,} parameters "
            "are stored and count in params, not in density: take them out if nothing needs them",
            stacklevel=3,
        )


def _check_weights(network: nn.Module) -> None:
    """Refuse weights that are no numbers: training could only go wrong."""
    for name, weights in network.named_parameters():
        if not bool(torch.isfinite(weights).all()):
            raise NetworkError(f"{name} of the network holds NaN or infinite values: start from other weights")


def _check_last_batch(network: nn.Module, example: Tensor, data: Data, settings: RunSettings) -> None:
    """Refuse a last batch of one example where batch normalisation needs more."""
    if last_batch(data.train, settings.batch_size) != 1:
        return
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            deepcopy(network).train()(example[:1])
    except ValueError as error:
        raise SettingError(
            f"batch_size {settings.batch_size} leaves one of {len(data.train):,} examples to the last batch, "
            "which batch normalisation cannot train on: choose another batch size, in a loader of your own there, or "
            f"drop_last=True ({error})"
        ) from error


def initial_network(spec: NetworkSpec, seed: int, weights: Path | None = None) -> nn.Module:
    """Build a network with the random weights of a seed, or with trained ones from a safetensors file.

    Raises:
        SettingError: the file does not hold this network's weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = spec.build()
    if weights is not None:
        _load_weights(network, weights)
    return network


def _load_weights(network: nn.Module, file: Path) -> None:
    """Fill a network with the weights in a safetensors file."""
    from safetensors.torch import load_file

    wanted = "name a safetensors file with the state_dict of this network"
    if not file.is_file():
        raise SettingError(f"weights {file} is not a file: {wanted}")
    try:
        network.load_state_dict(load_file(file))
    except Exception as error:  # safetensors raises a class of its own that is not exported
        raise SettingError(f"weights {file} cannot be used ({error}): {wanted}") from error


def _identity(network: nn.Module, settings: RunSettings, data: Data, spec: NetworkSpec | None) -> dict[str, Any]:
    """All that decides a run's numbers, each as JSON: settings, data, version and initial weights."""
    digest = hashlib.sha256()
    for name, value in network.state_dict().items():
        if isinstance(value, Tensor):
            digest.update(f"{name} {value.dtype} {list(value.shape)}".encode())
            digest.update(value.detach().cpu().reshape(-1).view(torch.uint8).numpy().data)
    parts = identity_of(settings, spec, data.fingerprint) | {"version": __version__}
    return {name: canonical_json(part) for name, part in parts.items()} | {"initial weights": digest.hexdigest()[:16]}


def _recalibrate(state: TrainState, data: Data, settings: RunSettings) -> None:
    """Estimate batch normalisation anew without noise: it saw noisy activations in training."""
    if any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in state.network.modules()):
        batches = data.train.batches(settings.batch_size)
        reestimate_batchnorm(state.network, (inputs for inputs, _ in batches))
