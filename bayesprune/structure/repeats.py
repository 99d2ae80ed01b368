"""Gates in passes that are run again in the backward pass, as `torch.utils.checkpoint` does to save memory."""

import sys
from typing import Generic, TypeVar

import torch

from bayesprune.errors import UnsupportedLayerError

Gates = TypeVar("Gates")

_CURE = "switch checkpointing off in this network while it is pruned"


class Repeats(Generic[Gates]):
    """Remembers the gates of the last pass that has gradients, for when parts of it run again in the backward pass.

    There they act no longer by themselves: without them gradients would be those of another function. A pass without
    gates lets them go, and with them what they were computed from.
    """

    def __init__(self) -> None:
        self._last: Gates | None = None
        self._several = self._is_over = False
        self._is_new = True

    def acting(self, layer: str, gates: Gates | None, *, by_weight: bool = False) -> Gates | None:
        """The gates that act on a layer that runs now.

        Args:
            layer: its name.
            gates: that act by themselves.
            by_weight: whether its weights are gated, which are exchanged for whole passes only.

        Raises:
            UnsupportedLayerError: it runs again in the backward pass, and which gates acted on it is not known or they
                cannot act again.
        """
        if not in_backward():
            if torch.is_grad_enabled():
                self._remember(gates)
            elif gates is None:
                self.forget()
            return gates
        if self._last is None and gates is None and not self._is_over:
            return None
        again = f"layer {layer!r} runs again in the backward pass (torch.utils.checkpoint), where gates do not reach it"
        if by_weight:
            raise UnsupportedLayerError(f"{again} for its weights are gated, and gradients would be wrong: {_CURE}")
        if _is_reentrant():
            raise UnsupportedLayerError(f"{again} and gradients would be wrong: checkpoint with use_reentrant=False")
        if gates is None and self._is_over:
            raise UnsupportedLayerError(
                f"{again} because a pass without gates came before it: run the backward pass first, or {_CURE}"
            )
        if gates is None and self._several:
            raise UnsupportedLayerError(
                f"{again} because passes under several gates came before it: run the backward pass after each of them, "
                f"or {_CURE}"
            )
        self._is_new = True
        return self._last if gates is None else gates

    def _remember(self, gates: Gates | None) -> None:
        self._several = gates is not None and not self._is_new and (self._several or gates is not self._last)
        self._last, self._is_new, self._is_over = gates, gates is None, False

    def forget(self) -> None:
        """Let go of the gates: parts that would need them again are refused."""
        self._is_over = self._is_over or self._last is not None
        self._last = None


def in_backward() -> bool:
    """Whether a backward pass is under way."""
    return bool(torch._C._current_graph_task_id() != -1)


def _is_reentrant() -> bool:
    """Whether a pass runs again by the way that computes gradients inside of it, which loses those of gates."""
    frame = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        if code.co_name == "backward" and code.co_filename == torch.utils.checkpoint.__file__:
            return True
        frame = frame.f_back  # type: ignore[assignment]  # None at the outermost call
    return False
