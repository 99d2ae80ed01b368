"""Code of the user's: importing the module of a factory as its file is now, and a hash of what it says."""

import importlib
import inspect
import re
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from importlib.util import find_spec
from modulefinder import ModuleFinder
from pathlib import Path
from types import ModuleType

from torch import nn

_OURS = ("torch", "bayesprune")
_STANDARD = sysconfig.get_path("stdlib")
_PLAIN = (bool, int, float, str)
_ADDRESS = re.compile(r"0x[0-9a-f]+")
_imported: dict[str, str | None] = {}
"""The hash of the sources of each module of the user's when it was imported here."""


def import_current(name: str) -> ModuleType:
    """Import a module of the user's; anew when its file, or one beside it that it imports, has changed since.

    Objects made by the former code stay what they are. No bytecode is written: a file that is changed twice in a
    second to the same size would be taken for unchanged.
    """
    before, now = _imported.get(name), source_digest(name)
    if before is not None and now != before:
        for stale in _sources(name):
            sys.modules.pop(stale, None)
    importlib.invalidate_caches()
    with _no_bytecode():
        module = importlib.import_module(name)
    _imported[name] = now or source_digest(name)
    return module


def source_digest(name: str) -> str | None:
    """A hash of the source of a module, and of the modules beside it that it imports; None where there is none."""
    files = _sources(name)
    if not files:
        return None
    digest = blake2b(digest_size=8)
    for module, file in sorted(files.items()):
        digest.update(f"{module}\0".encode() + file.read_bytes())
    return digest.hexdigest()


def code_digest(network: nn.Module) -> str:
    """A hash of what a network computes apart from its tensors: its modules, their settings, the user's classes."""
    digest = blake2b(digest_size=8)
    classes: dict[type[nn.Module], None] = {}
    for name, module in network.named_modules():
        kind = type(module)
        plain = {key: value for key, value in vars(module).items() if isinstance(value, _PLAIN)}
        about = f"{name} {kind.__module__}.{kind.__qualname__}({module.extra_repr()}) {sorted(plain.items())}"
        digest.update(_ADDRESS.sub("", about).encode())
        classes[kind] = None
    frozen = [name for name, parameter in network.named_parameters() if not parameter.requires_grad]
    digest.update(" ".join(frozen).encode())
    for kind in classes:
        if kind.__module__.partition(".")[0] not in _OURS:
            digest.update(_source_of(kind).encode())
    return digest.hexdigest()


def _source_of(kind: type[nn.Module]) -> str:
    """The text of a class, or the bytecode of its forward where there is no text."""
    try:
        return inspect.getsource(kind)
    except (OSError, TypeError):
        code = getattr(kind.forward, "__code__", None)
        return "" if code is None else f"{code.co_code.hex()} {code.co_names} {code.co_consts!r}"


def _sources(name: str) -> dict[str, Path]:
    """The files of a module and, where it is no installed package, of those in its own folder that it imports."""
    if name.partition(".")[0] in _OURS:
        return {}
    try:
        with _no_bytecode():
            spec = find_spec(name)
    except (Exception, SystemExit):  # the package around the module is the user's and may raise anything
        return {}
    if spec is None or spec.origin is None or not Path(spec.origin).is_file():
        return {}
    file = Path(spec.origin).resolve()
    if file.suffix != ".py" or "site-packages" in file.parts or file.is_relative_to(_STANDARD):
        return {name: file}
    root = file.parents[name.count(".") + (file.name == "__init__.py")]
    finder = ModuleFinder(path=[str(root)])
    try:
        finder.import_hook(name)
    except (ImportError, SyntaxError, ValueError):
        return {name: file}
    files = {found: getattr(module, "__file__", None) for found, module in finder.modules.items()}
    return {found: Path(place) for found, place in files.items() if place}


@contextmanager
def _no_bytecode() -> Iterator[None]:
    before = sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    try:
        yield
    finally:
        sys.dont_write_bytecode = before
