"""Saving the one state atomically, and resuming from it to the same numbers."""

from collections.abc import Sequence
from pathlib import Path
from time import monotonic
from typing import Any

import torch
from torch import nn

from bayesprune.devices import put_random_states, random_states
from bayesprune.errors import BayespruneError, SettingError, StoreError
from bayesprune.store.tree import load_tree, save_tree
from bayesprune.training import memory
from bayesprune.training.phase import Phase, make_optimizers
from bayesprune.training.snapshot import put_back, take
from bayesprune.training.state import TrainState

_COUNTERS = (
    "phase", "phase_step", "phase_started", "step", "epoch", "epoch_step", "seconds", "macs", "dense_macs",
    "epoch_loss", "epoch_seconds", "epoch_macs", "epoch_dense_macs",
)  # fmt: skip
_CONTAINERS = ("history",)


SHARE_OF_TIME = 0.02
"""Saving takes no more than this share of the time."""


class Checkpointer:
    """Writes the state to one file: every `seconds`, or every `steps` when given.

    Where a save takes long, the next one comes later, so that saving stays a small share of the time.

    Args:
        path: the file (safetensors, never pickle).
        seconds: least time between two saves.
        steps: save at every multiple of this number of steps instead.
        resume: start from the file when it is there.
    """

    def __init__(self, path: Path, *, seconds: float = 15.0, steps: int | None = None, resume: bool = True) -> None:
        if steps is not None and steps < 1:
            raise SettingError(f"a checkpoint every {steps} steps: it must be at least 1")
        self.path, self.seconds, self.steps, self.resume = Path(path), seconds, steps, resume
        self.last_saved: Path | None = None
        self._time, self._cost = monotonic(), 0.0

    def is_due(self, state: TrainState) -> bool:
        """Whether the state should be saved now."""
        if self.steps is not None:
            return state.step % self.steps == 0
        return monotonic() - self._time >= max(self.seconds, self._cost / SHARE_OF_TIME)

    def save(self, state: TrainState) -> None:
        """Save the state; one whose weights are not finite is not saved, so that the last good one stays.

        Raises:
            StoreError: the file cannot be written; the one saved last is still there.
        """
        begun = monotonic()
        if are_finite(state.network, *state.modules.values()):
            save_tree(self.path, _describe(state))
            self.last_saved = self.path
        self._time = monotonic()
        self._cost = self._time - begun

    def restore(self, state: TrainState, phases: Sequence[Phase]) -> bool:
        """Put a fresh state where the file stands; False when there is no file.

        Raises:
            StoreError: the file is damaged or belongs to another run.
        """
        if not (self.resume and self.path.exists()):
            return False
        saved = load_tree(self.path)
        try:
            _check_identity(saved["identity"], state.identity)
            _restore(state, saved, phases)
        except (LookupError, TypeError, ValueError, AttributeError, RuntimeError, BayespruneError) as error:
            reason = " ".join(str(error).split())
            raise StoreError(f"{self.path} is not a state of this run ({reason}); delete it to start anew") from error
        self.last_saved = self.path
        return True

    def remove(self) -> None:
        """Delete the file once the run is finished."""
        self.path.unlink(missing_ok=True)


def are_finite(*modules: nn.Module) -> bool:
    """Whether no parameter is NaN or infinite; buffers may be (a mask of attention holds -inf)."""
    found = [torch.isfinite(p).all() for module in modules for p in module.parameters()]
    return not found or bool(torch.stack(found).all())


def _check_identity(saved: dict[str, Any], own: dict[str, Any]) -> None:
    """Refuse the state of a run with other settings, data or initial weights.

    Raises:
        ValueError: naming what differs.
    """
    for name in sorted({*saved, *own}):
        if saved.get(name) != own.get(name):
            raise ValueError(f"its {name} is {saved.get(name)!r}, this run's is {own.get(name)!r}")


def _describe(state: TrainState) -> dict[str, Any]:
    """The state as a tree of plain values and tensors."""
    return {
        "identity": state.identity,
        "counters": {name: getattr(state, name) for name in _COUNTERS},
        **{name: getattr(state, name) for name in _CONTAINERS},
        **take(state),
        "memories": memory.to_tree(state.memories),
        "random": random_states(state.place.device),
    }


def _restore(state: TrainState, saved: dict[str, Any], phases: Sequence[Phase]) -> None:
    """Fill a fresh state: first the structure, then everything that has its shape."""
    values = {name: saved["counters"][name] for name in _COUNTERS} | {name: saved[name] for name in _CONTAINERS}
    for name, value in values.items():
        if type(value) is not type(getattr(state, name)):
            raise TypeError(f"its {name} is {value!r}")
        setattr(state, name, value)
    if not isinstance(saved["masks"], dict):
        raise TypeError(f"its masks are {saved['masks']!r}")
    state.memories = memory.from_tree(saved["memories"], state.place.device)
    if not 0 <= state.phase <= len(phases):
        raise ValueError(f"its phase is {state.phase} of {len(phases)}")
    if state.phase < len(phases):
        make_optimizers(state, phases[state.phase])
    put_back(state, saved)
    put_random_states(state.place.device, saved["random"], state.step)
