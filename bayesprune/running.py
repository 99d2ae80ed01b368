"""One run: one method, network, data set and seed, from initial weights to the evaluated result."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import torch
from torch import nn

from bayesprune.data import Data
from bayesprune.errors import NetworkError, SettingError
from bayesprune.evaluation.evaluate import evaluate
from bayesprune.method import Method
from bayesprune.networks import NetworkSpec
from bayesprune.pruned import Pruned
from bayesprune.settings import RunSettings
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
    """
    check_request(method, settings)
    settings = settings.with_defaults(data.train)
    state = initial_state(network, data, settings)
    plan = method.plan(state, data, settings)
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
        _recalibrate(state, data, settings)
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
    copy = deepcopy(network)
    example = next(iter(data.test.batches(2)))[0]
    was_training = copy.training
    try:
        with torch.no_grad():
            outputs = copy.eval()(example)
    except (RuntimeError, ValueError, IndexError) as error:
        raise NetworkError(f"the network cannot take inputs of shape {data.input_shape}: {error}") from error
    copy.train(was_training)
    if outputs.dim() != 2 or outputs.shape[1] < data.classes:
        shape = tuple(outputs.shape[1:])
        raise NetworkError(f"the network's outputs have shape {shape}; {data.name} has {data.classes} classes")
    structure = find(
        copy, example, keep=settings.keep, inputs=settings.inputs, flatten_inputs=settings.flatten_inputs  # type: ignore[arg-type]  # checked
    )  # fmt: skip
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
        from safetensors.torch import load_file

        try:
            network.load_state_dict(load_file(weights))
        except Exception as error:  # safetensors raises a class of its own that is not exported
            raise SettingError(f"weights {weights}: {error}") from error
    return network


def _recalibrate(state: TrainState, data: Data, settings: RunSettings) -> None:
    """Estimate batch normalisation anew without noise: it saw noisy activations in training."""
    if any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in state.network.modules()):
        batches = data.train.batches(settings.batch_size)
        reestimate_batchnorm(state.network, (inputs for inputs, _ in batches))
