"""A path over the strength: one network trained at one strength after the other, each from where the last one ended."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import nn

from bayesprune.data import Data, steps_per_epoch
from bayesprune.errors import SettingError
from bayesprune.evaluation.evaluate import predict
from bayesprune.layers.find import find_layers
from bayesprune.layers.method import LayerStages, fit_phase
from bayesprune.layers.options import LayerOptions
from bayesprune.layers.signs import active_layers, negative_norms
from bayesprune.layers.stationarity import least_strengths
from bayesprune.run.environment import environment
from bayesprune.run.running import initial_state
from bayesprune.run.settings import RunSettings, check_integer, check_number
from bayesprune.training import TrainState, train


@dataclass(frozen=True)
class PathPoint:
    """What a network was after training at one strength.

    Attributes:
        strength: r.
        active: names of the layers whose activation acts.
        negative: norm of each candidate's negative part.
        least: of each candidate that is inactive the smallest r_j that keeps it so (`least_strengths`), over
            sqrt(weights of layer j): the strength to compare r with.
        validation: the task's first metric on the validation split; None without one.
    """

    strength: float
    active: tuple[str, ...]
    negative: dict[str, float]
    least: dict[str, float]
    validation: float | None


@environment()
def strength_path(
    network: nn.Module,
    data: Data,
    strengths: Sequence[float],
    options: LayerOptions | None = None,
    *,
    epochs: int = 5,
    learning_rate: float = LayerStages.usual_rate,
    batch_size: int = 100,
    seed: int = 0,
) -> list[PathPoint]:
    """Train a copy of a network along strengths with warm starts; nothing is collapsed.

    Args:
        network: with the weights to start from.
        data: training and validation splits.
        strengths: in the order in which they are tried, mostly rising.
        options: l1 penalty, weight decay, tolerance; strength, warm-up and refit are not used.
        epochs: at each strength.
        learning_rate: at the start of each; it falls to 0 along half a cosine.
        batch_size: examples a step.
        seed: of order.

    Raises:
        SettingError: there is no strength, or a number cannot be used.
        UnsupportedLayerError: the network cannot be traced.
    """
    if not strengths:
        raise SettingError("a path needs strengths: give one or more, such as [1e-4, 1e-3]")
    for strength in strengths:
        check_number("strength", strength, 0.0, low_allowed=True)
    check_integer("epochs", epochs, 1)
    own = replace(options or LayerOptions(), warm_up=LayerOptions.warm_up)
    settings = RunSettings("layer-sparsity", epochs=epochs, batch_size=batch_size, seed=seed, noise=0.0)
    state = initial_state(network, data, settings)
    layers = find_layers(state.network, state.example)
    steps = epochs * steps_per_epoch(data.train, batch_size)
    points: list[PathPoint] = []
    for number, strength in enumerate(strengths):
        at = replace(own, strength=strength)
        name = f"r = {strength:g}"
        phase = fit_phase(state, layers, at, learning_rate, steps, 0.0, len(data.train), name=name, warm_up=0.0)
        fresh = TrainState(state.network, state.structure, state.example, data.task)
        fresh.likelihood.load_state_dict(state.likelihood.state_dict())
        state = train(fresh, [phase], data, batch_size=batch_size, seed=seed + number, validate=False)
        points.append(_point(state, data, at))
    return points


def _point(state: TrainState, data: Data, own: LayerOptions) -> PathPoint:
    """What is to be said of a state."""
    layers = find_layers(state.network, state.example)
    active = active_layers(state.network, layers, own.tol)
    least = least_strengths(state.network, layers, data.train.batches(1000), state.loss, lam=own.lam)
    sizes = {name: state.network.get_submodule(name).get_parameter("weight").numel() ** 0.5 for name in least}
    score = None
    if len(data.validation):
        score = predict(state.network, data.validation, state.task, state.likelihood)[state.task.metric.key]
    return PathPoint(
        own.strength, active, negative_norms(state.network, layers),
        {name: value / sizes[name] for name, value in least.items() if name not in active}, score,
    )  # fmt: skip
