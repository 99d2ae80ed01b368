"""Lines of the user's code: where an operator runs, or where an error comes from."""

import os
import sys
from pathlib import Path

import torch

_TORCH, _OWN = f"{Path(torch.__file__).parent}{os.sep}", f"{Path(__file__).parent.parent}{os.sep}"
_CALL = str(Path(__file__).parent.parent.parent / "batches.py")

RUNNING = "_followed"
"""The function that runs the network; what called it is no code of the network's."""


def running_line() -> str:
    """The line of the user's code that runs now, as "file.py:12"; "" where only torch's modules run."""
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith(_OWN) and frame.f_code.co_name == RUNNING:
            return ""
        if _is_users(name):
            return f"{Path(name).name}:{frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]  # None at the outermost call
    return ""


def failing_line(error: BaseException) -> str:
    """The innermost line of the user's code that an error went through, as "at file.py:12", or what it says."""
    trace, found = error.__traceback__, ""
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if _is_users(name):
            found = f"at {Path(name).name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return found or f"({type(error).__name__}: {' '.join(str(error).split())[:120]})"


def _is_users(name: str) -> bool:
    return not name.startswith((_TORCH, _OWN, _CALL, "<"))
