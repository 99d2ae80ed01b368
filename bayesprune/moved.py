"""Modules that moved since 0.1.0: their old names still import the same modules."""

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType

MOVED = {
    "bayesprune.budget": "bayesprune.run.budget",
    "bayesprune.fixed": "bayesprune.training.fixed",
    "bayesprune.inference.posterior": "bayesprune.run.datatree",
    "bayesprune.initial": "bayesprune.training.initial",
    "bayesprune.method": "bayesprune.run.method",
    "bayesprune.networks": "bayesprune.run.networks",
    "bayesprune.pruned": "bayesprune.run.pruned",
    "bayesprune.running": "bayesprune.run.running",
    "bayesprune.settings": "bayesprune.run.settings",
    "bayesprune.torchvision_guard": "bayesprune.data.torchvision_guard",
}
"""The old name of each module, and its name now."""


class MovedModules:
    """Finds a module under its old name."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """A spec for an old name, None for all other names."""
        return ModuleSpec(name, self) if name in MOVED else None  # type: ignore[arg-type]  # it is its own loader

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """The module under its present name."""
        module = import_module(MOVED[spec.name])
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """It has run already; only the spec that the import machinery has just replaced is put back."""
        assert module.__spec__ is not None
        module.__spec__ = module.__spec__.loader_state


def find_moved_modules() -> None:
    """Let old names be imported."""
    if not any(isinstance(finder, MovedModules) for finder in sys.meta_path):
        sys.meta_path.append(MovedModules())
