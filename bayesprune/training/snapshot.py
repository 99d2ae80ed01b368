"""What a run holds in its present shape, as a tree: kept in memory or in a checkpoint, and put back."""

from typing import Any

from torch import Tensor

from bayesprune.structure.compact import replace_data
from bayesprune.training.state import GateShaped, TrainState, WeightShaped


def take(state: TrainState) -> dict[str, Any]:
    """The network's shape and weights, modules, masks and optimizers; the tensors are copies."""
    tree: dict[str, Any] = _copied(
        {
            "collapsed": state.collapsed,
            "kept": state.structure.kept(),
            "network": dict(state.network.state_dict()),
            "modules": {name: dict(module.state_dict()) for name, module in state.modules.items()},
            "masks": state.masks,
            "optimizers": {name: optimizer.state_dict() for name, optimizer in state.optimizers.items()},
        }
    )
    return tree


def put_back(state: TrainState, saved: dict[str, Any]) -> None:
    """Give a state the shape, weights, modules and masks of a snapshot, and fresh optimizers with its moments.

    The state must know its initial network where the snapshot is larger than the present one
    (`TrainState.remember_initial`).

    Raises:
        SettingError: the groups of the snapshot are not those of the state.
    """
    saved = _copied(saved)
    state.without_layers(saved.get("collapsed", [])[len(state.collapsed) :], again=True)
    state.reshape(saved["kept"])
    state.network.load_state_dict(saved["network"])
    for name, module in state.modules.items():
        for own, parameter in module.named_parameters() if isinstance(module, (GateShaped, WeightShaped)) else ():
            replace_data(parameter, saved["modules"][name][own].to(parameter))
        module.load_state_dict(saved["modules"][name])
    state.masks = {name: mask.to(state.place.device) for name, mask in saved["masks"].items()}
    if state.make_optimizers is not None:
        state.make_optimizers()
        for name, optimizer in state.optimizers.items():
            optimizer.load_state_dict(saved["optimizers"][name])


def _copied(value: Any) -> Any:
    """A tree of dicts, lists and tuples with copies of its tensors."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, dict):
        return {key: _copied(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_copied(part) for part in value)
    return value
