"""Calling parts of the user's while a run is under way: their errors as ours, with the part and the step."""

from collections.abc import Callable
from typing import Any

from bayesprune.errors import BayespruneError, SettingError
from bayesprune.training import TrainState


def asked(slot: str, part: object, state: TrainState, function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function of a part says.

    Args:
        slot: what the part is for, such as "removal.observe".
        part: the object, or the function itself.
        state: of the run.
        function: of the part.
        arguments: of the function.

    Raises:
        SettingError: it failed: names slot, part and step, and what it raised, which is the cause.
    """
    try:
        return function(*arguments)
    except BayespruneError:
        raise
    except Exception as error:  # the part is the user's and may raise anything
        name = getattr(part, "__qualname__", None) or type(part).__qualname__
        said = " ".join(str(error).split())[:200]
        raise SettingError(
            f"{slot} of {name} failed at step {state.step} ({type(error).__name__}{f': {said}' if said else ''}): mend "
            "it, or take another part"
        ) from error
