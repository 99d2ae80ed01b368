"""One run: one method, network, data set and seed, from initial weights to the evaluated result."""

import hashlib
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bayesprune import __version__
from bayesprune.data import Data, TensorSplit
from bayesprune.errors import NetworkError, SettingError
from bayesprune.evaluation.evaluate import evaluate
from bayesprune.run.method import Method
from bayesprune.run.networks import NetworkSpec
from bayesprune.run.pruned import Pruned, identity_of
from bayesprune.run.settings import RunSettings
from bayesprune.run.shares import is_table
from bayesprune.run.uncompiled import uncompiled
from bayesprune.store.identity import canonical_json
from bayesprune.store.runs import RunFolder, RunRecord
from bayesprune.structure import Structure, evaluating, find, reestimate_batchnorm
from bayesprune.structure.selected_inputs import with_input_gates
from bayesprune.training import Checkpointer, Progress, TrainState, train
from bayesprune.training.masks import attach_masks, attached_masks


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
        )
        if state.step:
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
    can = ", ".join(f"{name}=..." for name in sorted(method.takes - {"estimator", "shares"})) or "no size"
    for name in sorted(given - method.takes):
        raise SettingError(f"method {method.name!r} cannot use {name}={getattr(settings, name)!r}: it takes {can}")
    if method.needs and not given & method.needs:
        wanted = " or ".join(f"{name}=..." for name in sorted(method.needs))
        raise SettingError(f"method {method.name!r} needs a size: give {wanted}")
    for name in sorted(given & {"density", "budget"}):
        if is_table(getattr(settings, name)) and "shares" not in method.takes:
            one = {"density": "density=0.1", "budget": "budget='macs=10%'"}[name]
            raise SettingError(
                f"method {method.name!r} takes one {name} for the whole network, such as {one}, and no share for each "
                f"layer: {getattr(settings, name)!r}"
            )
    if settings.epochs == 0 and "estimator" in method.takes:
        raise SettingError(
            f"method {method.name!r} learns its gates in training, and epochs=0 leaves none: give epochs=1 or more, or "
            "a method that prunes without training, such as l1-units"
        )


def initial_state(network: nn.Module, data: Data, settings: RunSettings) -> TrainState:
    """A fresh state for a copy of the network.

    Masks of an earlier pruning that the network still keeps to hold on, and its selected inputs stay selected.
    A network whose channels cannot be removed gets a state without groups: methods that need none can train and mask
    it, without noise. `TrainState.need_structure` says why.

    Raises:
        NetworkError: the network cannot take the data's inputs or gives another number of outputs.
        SettingError: `keep` names no layer, or noise is asked for and the network's channels cannot be removed.
    """
    copy = uncompiled(deepcopy(network))
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
    structure, refusal = _structure(copy, example, settings)
    masks = {name: mask.to(copy.get_parameter(name)) for name, mask in attached_masks(copy).items()}
    attach_masks(copy, {})  # the state has them from here on, and cuts them along
    return TrainState(copy, structure, example, masks=masks, refusal=refusal)


def _structure(network: nn.Module, example: Tensor, settings: RunSettings) -> tuple[Structure, NetworkError | None]:
    """The groups of a network; where it cannot be taken apart none, and why: many methods need no groups.

    Raises:
        SettingError: noise is asked for, which acts on the channels of groups.
    """
    try:
        found = find(
            network,
            example,
            keep=settings.keep,
            inputs=settings.inputs,  # type: ignore[arg-type]  # RunSettings allows these three names only
            flatten_inputs=settings.flatten_inputs,
        )
    except NetworkError as refusal:
        for name in ("noise", "consistency"):
            if asked := getattr(settings, name):
                raise SettingError(
                    f"{name}={asked:g} is noise on channels that can be removed, and this network has none: leave out "
                    f"{name}, or follow this: {refusal}"
                ) from refusal
        return Structure((), (), ()), refusal
    return with_input_gates(network, found, example, settings.keep, settings.inputs), None


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
    """Fill a network with the weights in a safetensors file, and with the masks that a run left beside it."""
    from safetensors.torch import load_file

    wanted = "name a safetensors file with the state_dict of this network"
    if not file.is_file():
        raise SettingError(f"weights {file} is not a file: {wanted}")
    try:
        network.load_state_dict(load_file(file))
    except Exception as error:  # safetensors raises a class of its own that is not exported
        raise SettingError(f"weights {file} cannot be used ({error}): {wanted}") from error
    if file == RunFolder(file.parent).network_file and RunFolder(file.parent).finished:
        attach_masks(network, RunRecord.read(file.parent).masks)


def _identity(network: nn.Module, settings: RunSettings, data: Data, spec: NetworkSpec | None) -> dict[str, Any]:
    """All that decides a run's numbers, each as JSON: settings, data, version and initial weights."""
    digest = hashlib.sha256()
    masks = {f"mask of {name}": mask for name, mask in attached_masks(network).items()}
    for name, value in (dict(network.state_dict()) | masks).items():
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
