"""One run: one method, network, data set and seed, from initial weights to the evaluated result."""

import logging
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bayesprune import __version__
from bayesprune.batches import Batch, call
from bayesprune.data import Data
from bayesprune.data.augment import augmented
from bayesprune.data.placing import placed
from bayesprune.devices import CPU, PRECISIONS, Place, device_of, place_of, random_apart
from bayesprune.errors import NetworkError, PruningWarning, SettingError
from bayesprune.evaluation.constant import best_constant, is_no_better
from bayesprune.evaluation.evaluate import Evaluation, evaluate
from bayesprune.run.checks import check_network, listen
from bayesprune.run.environment import computing_at, environment
from bayesprune.run.identity import identity_of, tensors_digest
from bayesprune.run.method import Method, Plan
from bayesprune.run.networks import Factory, NetworkSpec
from bayesprune.run.normal import normal_settings
from bayesprune.run.prepare import on_cpu, prepared
from bayesprune.run.pruned import Pruned
from bayesprune.run.settings import RunSettings
from bayesprune.run.shares import is_table
from bayesprune.run.user_code import code_digest
from bayesprune.store.identity import canonical_json, deciding
from bayesprune.store.runs import RunFolder, RunRecord
from bayesprune.structure import Structure, evaluating, find, fixed_masks, idle_layers, reestimate_batchnorm
from bayesprune.structure.selected_inputs import with_input_gates
from bayesprune.training import Checkpointer, Objective, Progress, TrainState, train
from bayesprune.training.dense import dense_step
from bayesprune.training.fixed import FixedTraining
from bayesprune.training.heads import Heads
from bayesprune.training.masks import attach_masks, attached_masks

_LOG = logging.getLogger(__name__)

Fresh = Callable[[int], nn.Module]
"""Makes a network with the initial weights of a seed."""

FAR_WORSE = 5.0
"""A test NLL so many times that of a uniform guess tells of a training that went astray."""


@environment()
def run(
    method: Method,
    network: nn.Module,
    data: Data,
    settings: RunSettings,
    *,
    spec: NetworkSpec | None = None,
    given: bool = True,
    fresh: Fresh | None = None,
    checkpointer: Checkpointer | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Pruned:
    """Train and prune a copy of a network; torch's global settings are as `environment` says, and then put back.

    It runs where `settings.device` says; the result's network lies on the CPU, in float32, or in float64 where that was
    the precision.

    Args:
        method: of the table of methods.
        network: with the weights to start from; it is not changed.
        data: what to learn from and to be measured on.
        settings: of the run.
        spec: how the network was built, so that the result can be loaded without code of the user's.
        given: whether the network was handed over with its weights; else they are those of the settings' seed or file.
        fresh: makes the network with the initial weights of another seed; None where only its user could.
        checkpointer: where to save the state and resume from.
        progress: called after every step.

    Raises:
        SettingError: the method cannot do what is asked, or the device is not there or lacks the precision.
        NetworkError: the network cannot take the data, or has layers that cannot be gated.
        DivergenceError: the loss is not finite.
        StoreError: a checkpoint is damaged, belongs to another run, or cannot be written.
    """
    check_request(method, settings)
    torch.set_num_threads(settings.threads)
    place = place_of(settings.device, settings.precision)
    settings = replace(settings, device=str(place.device))
    with computing_at(place):
        return _run(method, network, data, settings, place, spec, fresh, checkpointer, progress, given=given)


def _run(
    method: Method,
    network: nn.Module,
    given_data: Data,
    settings: RunSettings,
    place: Place,
    spec: NetworkSpec | None,
    fresh: Fresh | None,
    checkpointer: Checkpointer | None,
    progress: Callable[[Progress], None] | None,
    *,
    given: bool,
) -> Pruned:
    """See `run`: at a place that is there. The structure is found on the CPU, and all else done at the place."""
    settings = normal_settings(method, settings, given_data, lambda: on_cpu(network))
    state = initial_state(network, given_data, settings)
    _warn_of_idle_layers(state)
    if fresh is not None:
        state.fresh = partial(_prepared_anew, fresh, state.example, PRECISIONS[settings.precision])
    state.move(place)
    state.tell = progress
    data = augmented(placed(given_data, place), settings.augment)
    plan = method.plan(state, data, settings)
    state.move(place)
    notes = (*plan.notes, *_without_training(plan, settings))
    identity = identity_of(settings, spec, data.fingerprint, network if given else None, method)
    state.identity = _identity(state.network, identity)
    name = f"{settings.method}, {settings.network} on {data.name}, seed {settings.seed}"
    _LOG.info("run %s begins: %d epochs, %d gates", name, settings.epochs, state.structure.gate_count)
    _warn(notes)
    train(
        state,
        plan.phases,
        data,
        batch_size=settings.batch_size,
        seed=settings.seed,
        checkpointer=checkpointer,
        progress=progress,
        describe=plan.describe,
        dense=dense_step(state, plan.dense or _usual_objective(state, data, settings), _targets(data)),
    )
    if plan.finish is not None:
        plan.finish(state)
    if state.step:
        _recalibrate(state, data, settings)
    _refit(state, data)
    with random_apart(place.device, settings.seed):  # a network may draw in evaluation mode, too
        evaluation = evaluate(state.network.eval(), data, data.task, state.likelihood)
    Heads.remove(state.network)
    state.move(Place(precision=place.precision))
    score = evaluation.metrics[data.task.metric.key]
    _LOG.info("run %s is done: %s %s, %d MACs", name, data.task.metric.label, score, evaluation.macs)
    posterior = plan.posterior(state) if plan.posterior is not None else None
    astray = _diverged(evaluation, data) or (_knows_nothing(evaluation, data, settings) if state.step else [])
    found = (*astray, *(plan.review(state) if plan.review is not None else ()))
    _warn(found)
    return Pruned.of(state, settings, given_data, evaluation, posterior, spec, identity, (*notes, *found))


def _prepared_anew(fresh: Fresh, example: Batch, dtype: torch.dtype, seed: int) -> nn.Module:
    """The network with the weights of a seed, made ready as the first one was."""
    return prepared(fresh(seed), example, seed, dtype)


def _without_training(plan: Plan, settings: RunSettings) -> list[str]:
    """A line where pruning is the last thing that is done."""
    last = plan.phases[-1]
    if settings.epochs == 0 or last.start is None or last.steps > 0 or plan.ends_pruned:
        return []
    return ["no epoch is left to train in after pruning: give more epochs, 2 at least"]


def _diverged(evaluation: Evaluation, data: Data) -> list[str]:
    """A line where the network is far worse than a guess, though all its numbers are finite."""
    guess, found = data.task.guess(), evaluation.metrics["nll"]
    if guess is None or found is None or found - guess <= (FAR_WORSE - 1) * data.task.scale_of_guess():
        return []
    return [
        f"the test NLL is {found:.3g}, and always guessing gives {guess:.2f}: training went astray; give a "
        "smaller learning_rate"
    ]


def _knows_nothing(evaluation: Evaluation, data: Data, settings: RunSettings) -> list[str]:
    """A line where the network is no better than the best answer that does not look at its inputs."""
    with random_apart(torch.device(CPU), settings.seed):  # a loader of the user's may draw
        constant = best_constant(data.task, data.task.likelihood(), data.train)
        found = None if constant is None else is_no_better(evaluation.metrics, constant, data.test, data.task)
    if found is None:
        return []
    metric, (score, nll) = data.task.metric, found
    own = evaluation.metrics[metric.key]
    beside = "" if metric.key == "nll" else f", NLL {evaluation.metrics['nll']:.3g} against {nll:.3g}"
    return [
        f"the network ended at a guess: its test {metric.label} is {metric.show(own)}, and that of the best constant "
        f"answer {metric.show(score)}{beside}: it uses nothing of what it reads; give more epochs, another "
        "learning_rate, or ask for less pruning"
    ]


def _targets(data: Data) -> Any:
    """Targets of some training examples."""
    return next(iter(data.train.batches(2)))[1]


def _warn(lines: Sequence[str]) -> None:
    """Say each as a warning, and in the log."""
    for line in lines:
        _LOG.warning("%s", line)
        warnings.warn(line, PruningWarning, stacklevel=4)


def _usual_objective(state: TrainState, data: Data, settings: RunSettings) -> Objective:
    """What dense training minimises by default."""
    assert settings.epochs is not None  # with_defaults
    return FixedTraining.of(
        settings, state.network, data.train, epochs=settings.epochs, slab=1.0, likelihood=state.likelihood
    ).objective


def check_request(method: Method, settings: RunSettings) -> None:
    """Refuse a size that the method cannot use, a missing one that it needs, and a device that is not there.

    Raises:
        SettingError: saying what the method can do, or which devices there are.
    """
    place_of(settings.device, settings.precision)
    given = {name for name in ("density", "budget", "price") if getattr(settings, name) is not None}
    can = ", ".join(f"{name}=..." for name in sorted(method.takes - {"estimator", "shares"}))
    can = can or getattr(method, "no_size", "no size")
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
    """A fresh state for a copy of the network, on the CPU and in the precision of the settings.

    Masks of an earlier pruning that the network still keeps to hold on, and its selected inputs stay selected.
    A network whose channels cannot be removed gets a state without groups: methods that need none can train and mask
    it, without noise. `TrainState.need_structure` says why.

    Raises:
        NetworkError: the network cannot take the data's inputs or gives another number of outputs.
        SettingError: `keep` names no layer, noise is asked for and the network's channels cannot be removed, or
            augmentation of data that are no pictures in memory.
    """
    data = augmented(placed(data, Place(precision=settings.precision)), settings.augment)
    example = next(iter(data.test.batches(2)))[0]
    copy = prepared(network, example, settings.seed, PRECISIONS[settings.precision])
    check_network(copy, example, data, settings)
    structure, refusal = _structure(copy, example, settings)
    heads = listen(copy, example, settings)
    masks = fixed_masks(copy)
    masks |= {name: mask & masks[name] if name in masks else mask for name, mask in attached_masks(copy).items()}
    masks = {name: mask.to(copy.get_parameter(name)) for name, mask in masks.items()}
    attach_masks(copy, {})  # the state has them from here on, and cuts them along
    state = TrainState(copy, structure, example, data.task, masks=masks, refusal=refusal)
    state.heads = heads
    state.find_structure = lambda found: _structure(found, example, settings)[0]
    return state


def _structure(network: nn.Module, example: Batch, settings: RunSettings) -> tuple[Structure, NetworkError | None]:
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


def _warn_of_idle_layers(state: TrainState) -> None:
    """Name the layers that count as parameters and in nothing else."""
    idle = idle_layers(state.network, state.layers())
    if idle:
        names = ", ".join(map(repr, idle))
        warnings.warn(
            f"layers that never run when the network is evaluated: {names}; their {sum(idle.values()):,} parameters "
            "are stored and count in params, not in density: take them out if nothing needs them",
            PruningWarning,
            stacklevel=3,
        )


def initial_network(
    spec: NetworkSpec, seed: int, weights: Path | None = None, factory: Factory | None = None
) -> nn.Module:
    """Build a network with the random weights of a seed, or with trained ones from a safetensors file.

    Args:
        spec: how to build it.
        seed: of its weights.
        weights: the file.
        factory: overrules the name in `spec`.

    Raises:
        SettingError: the file does not hold this network's weights.
    """
    with environment():
        torch.manual_seed(seed)
        network = spec.build(factory)
    if weights is not None:
        load_weights(network, weights)
    return network


def load_weights(network: nn.Module, file: Path) -> None:
    """Fill a network with the weights in a safetensors file, and with the masks that a run left beside it.

    Raises:
        SettingError: the file does not hold this network's weights.
    """
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


def _identity(network: nn.Module, identity: dict[str, Any]) -> dict[str, Any]:
    """All that decides a run's numbers, each as JSON: settings, data, version, code, initial weights and masks."""
    parts = deciding(identity) | {"version": __version__}
    masks = {f"mask of {name}": mask for name, mask in attached_masks(network).items()}
    tensors = {name: _as_float32(value) for name, value in network.state_dict().items()}
    weights = tensors_digest(tensors | masks)
    digests = {"initial weights": weights, "code of the network": code_digest(network)}
    return {name: canonical_json(part) for name, part in parts.items()} | digests


@torch.no_grad()
def _refit(state: TrainState, data: Data) -> None:
    """Learn the noise of the targets anew where it is learnt: training saw noisy outputs."""
    if not any(True for _ in state.likelihood.parameters()):
        return
    with random_apart(device_of(state.network)), evaluating(state.network):
        batches = data.train.batches(1000)
        state.likelihood.refit((call(state.network, inputs), targets) for inputs, targets in batches)


def _as_float32(value: Any) -> Any:
    """Weights in any precision have one digest, so that a run can go on in another one."""
    return value.float() if isinstance(value, Tensor) and value.dtype == torch.float64 else value


def _recalibrate(state: TrainState, data: Data, settings: RunSettings) -> None:
    """Estimate batch normalisation anew without noise: it saw noisy activations in training."""
    if any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in state.network.modules()):
        batches = data.train.batches(settings.batch_size)
        reestimate_batchnorm(state.network, (inputs for inputs, _ in batches))
