"""Giving a run's state gates for its sections."""

from collections.abc import Collection

from bayesprune.errors import NetworkError
from bayesprune.sections.find import find_sections, with_sections
from bayesprune.training import TrainState

CURE = "give a residual network, or bypasses: bayesprune.with_bypasses(network, example)"


def add_sections(state: TrainState, keep: Collection[str], *, needed: bool) -> None:
    """Find the sections of a state's network and give each a gate; a network cut before keeps its other groups.

    Args:
        state: before its first step.
        keep: layers, or modules that hold some, whose sections stay.
        needed: whether a network without a section is refused.

    Raises:
        NetworkError: it has none; the message says what looked like one, and why it is none.
    """
    found = find_sections(state.network, state.example, keep=keep)
    if needed and not found.sections:
        near = "; ".join(f"{name}: {reason}" for name, reason in list(found.left.items())[:3])
        kept = " outside of `keep`" if keep else ""
        raise NetworkError(
            f"the network has no section x -> skip(x) + F(x){kept} whose branch could be deleted"
            f"{f' ({near})' if near else ''}: {CURE}"
        )
    state.structure = with_sections(state.structure, found.sections)
    if found.sections:
        state.refusal = None  # sections can go, whatever is true of channels
