"""What decides the result of a function of the user's, as text: its code, and all that the code holds on to."""

import inspect
import re
from functools import partial
from hashlib import blake2b
from types import ModuleType
from typing import Any

import numpy as np
from torch import Tensor, nn

_ADDRESS = re.compile(r"0x[0-9a-f]+")
_DEEPEST = 6
"""Of functions that call functions, and objects that hold objects."""

_LIBRARIES = ("torch", "pyro", "numpy", "builtins", "bayesprune", "functools", "math")


def said_by(value: Any, depth: int = 0) -> str:
    """The text of a function with its defaults, closure and globals; of an object with what it holds."""
    if value is None or isinstance(value, bool | int | float | str | bytes) or depth > _DEEPEST:
        return repr(value)[:1000] if depth <= _DEEPEST else ""
    if isinstance(value, Tensor | np.ndarray):
        array = value.detach().cpu().numpy() if isinstance(value, Tensor) else value
        return (
            f"{array.dtype} {array.shape} {blake2b(np.ascontiguousarray(array).tobytes(), digest_size=8).hexdigest()}"
        )
    if isinstance(value, list | tuple | set | frozenset):
        return " ".join(said_by(part, depth + 1) for part in value)
    if isinstance(value, dict):
        return " ".join(f"{key!r}={said_by(part, depth + 1)}" for key, part in value.items())
    if isinstance(value, partial):
        return said_by([value.func, list(value.args), value.keywords], depth + 1)
    if isinstance(value, ModuleType):
        return value.__name__
    if inspect.ismethod(value):
        return said_by([value.__func__, value.__self__], depth + 1)
    if inspect.isfunction(value):
        return _function(value, depth)
    return _object(value, depth)


def _function(function: Any, depth: int) -> str:
    name = f"{function.__module__}.{function.__qualname__}"
    if str(function.__module__).partition(".")[0] in _LIBRARIES:
        return name
    code = function.__code__
    cells = [cell.cell_contents for cell in function.__closure__ or () if _filled(cell)]
    used = {name: function.__globals__[name] for name in sorted(_names(code)) if name in function.__globals__}
    held = [list(function.__defaults__ or ()), dict(function.__kwdefaults__ or {}), cells, used]
    return f"{_text(function) or code.co_code.hex()} {_constants(code)} {said_by(held, depth + 1)}"


def _object(value: Any, depth: int) -> str:
    kind = value if inspect.isclass(value) else type(value)
    name = f"{kind.__module__}.{kind.__qualname__}"
    own = not is_ours(kind)
    text = " ".join(_class_text(base) for base in kind.__mro__ if not is_ours(base)) if own else ""
    if isinstance(value, nn.Module):
        plain = {key: one for key, one in vars(value).items() if isinstance(one, bool | int | float | str)}
        return f"{name} {text} {said_by(plain, depth + 1)} {said_by(dict(value.state_dict()), depth + 1)}"
    held = {} if inspect.isclass(value) else getattr(value, "__dict__", {})
    return f"{name} {text} {said_by(dict(held), depth + 1)}" if held or text else _ADDRESS.sub("", repr(value))[:1000]


def is_ours(kind: type[Any]) -> bool:
    """Whether a class is one of this package or of a library."""
    return str(kind.__module__).partition(".")[0] in _LIBRARIES


def _class_text(kind: Any) -> str:
    """The source of a class, or the code of its functions where there is none."""
    text = _text(kind)
    if text:
        return text
    codes = {name: one.__code__ for name, one in vars(kind).items() if inspect.isfunction(one)}
    return " ".join(f"{name} {code.co_code.hex()} {code.co_names} {_constants(code)}" for name, code in codes.items())


def _filled(cell: Any) -> bool:
    try:
        _ = cell.cell_contents
    except ValueError:
        return False
    return True


def _names(code: Any) -> set[str]:
    """The names that code and the functions inside it use."""
    inner = [constant for constant in code.co_consts if inspect.iscode(constant)]
    return set(code.co_names).union(*map(_names, inner))


def _constants(code: Any) -> str:
    return repr([constant for constant in code.co_consts if not inspect.iscode(constant)])


def _text(thing: Any) -> str:
    """Its source; "" where there is none."""
    try:
        return inspect.getsource(thing)
    except (OSError, TypeError):
        return ""
