"""One run: one method, network, data set and seed, from initial weights to the evaluated result."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bayesprune import __version__
from bayesprune.data import Data
from bayesprune.errors import SettingError
from bayesprune.evaluation.evaluate import evaluate
from bayesprune.run.checks import check_network, say_all, train_on_first_output
from bayesprune.run.method import Method
from bayesprune.run.networks import NetworkSpec
from bayesprune.run.prepare import prepared
from bayesprune.run.pruned import Pruned, identity_of
from bayesprune.run.settings import RunSettings
from bayesprune.store.identity import canonical_json
from bayesprune.structure import find, reestimate_batchnorm
from bayesprune.training import Checkpointer, Progress, TrainState, train


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
    plan = method.plan(state, data, settings)
    state.identity = _identity(state.network, settings, data, spec)
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
        )
        say_all(state.network)
        _recalibrate(state, data, settings)
        with torch.random.fork_rng(devices=[]):  # a network may draw in evaluation mode, too
            torch.default_generator.manual_seed(settings.seed)
            evaluation = evaluate(state.network.eval(), data)
    finally:
        torch.set_num_threads(threads)
    posterior = plan.posterior(state) if plan.posterior is not None else None
    return Pruned.of(state, settings, data, evaluation, posterior, spec)


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
    example = next(iter(data.test.batches(2)))[0]
    copy = prepared(network, example, settings.seed)
    check_network(copy, example, data, settings)
    structure = find(
        copy,
        example,
        keep=settings.keep,
        inputs=settings.inputs,  # type: ignore[arg-type]  # RunSettings allows these three names only
        flatten_inputs=settings.flatten_inputs,
    )
    train_on_first_output(copy, example)
    return TrainState(copy, structure, example)


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
