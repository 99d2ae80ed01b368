"""The house stands: no floor looks upwards, no imports in circles, no forgotten package, no long file."""

import ast
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import networkx
import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
FOLDERS = {
    "bayesprune": "bayesprune",
    "bayesprune.models": "models",
    "bayesprune.inference": "inference",
    "bayesprune.experiments": "experiments",
}
FLOORS = {name: number for number, name in enumerate(FOLDERS, start=1)}
TOP = max(FLOORS.values())
LOOK_UPWARDS = {"bayesprune", "bayesprune.__main__"}  # the lazy facade and the console script
IMPORTERS = {"import_module", "__import__"}
MOST_LINES = 400
UNSAFE_MODULES = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}


@dataclass(frozen=True)
class Import:
    """One import: of what, in which line, and whether it happens when the importing module is loaded."""

    target: str
    line: int
    at_load: bool


def sources() -> dict[str, Path]:
    """Every module of the four floors by its installed name."""
    found = {}
    for package, folder in FOLDERS.items():
        for path in sorted((REPOSITORY / folder).rglob("*.py")):
            parts = path.relative_to(REPOSITORY / folder).with_suffix("").parts
            found[".".join([package, *(part for part in parts if part != "__init__")])] = path
    return found


MODULES = sources()


@cache
def trees() -> dict[str, ast.Module]:
    """Every module's source, read by the first test that asks for it and not whenever tests are collected."""
    return {name: ast.parse(path.read_text("utf-8"), str(path)) for name, path in MODULES.items()}


def python_files() -> list[Path]:
    """Every Python file of the project, its tests and benchmarks included."""
    folders = [*FOLDERS.values(), "tests", "benchmarks", "docs"]
    return sorted(path for folder in folders for path in (REPOSITORY / folder).rglob("*.py"))


def is_type_checking(node: ast.AST) -> bool:
    """Whether this is the block that only a type checker reads."""
    return isinstance(node, ast.If) and ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}


def with_place(node: ast.AST, at_load: bool = True) -> Iterator[tuple[ast.AST, bool]]:
    """Every node below this one, and whether it runs when the module is loaded."""
    for child in ast.iter_child_nodes(node):
        deferred = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) or is_type_checking(child)
        yield child, at_load and not deferred
        yield from with_place(child, at_load and not deferred)


def named_targets(node: ast.AST, module: str, is_package: bool) -> Iterator[str]:
    """The full dotted names that an import statement, or a call of import_module, asks for."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        here = module.split(".")
        above = here[: len(here) - node.level + is_package] if node.level else []
        base = ".".join([*above, *([node.module] if node.module else [])])
        yield from (f"{base}.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in IMPORTERS:
        argument = node.args[0] if node.args else None
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
            yield argument.value


def imports_of(module: str, tree: ast.Module, known: dict[str, Path]) -> list[Import]:
    """What a module imports of ours: modules by name, and names of the facade as `bayesprune.name`."""
    found = []
    is_package = module not in known or known[module].name == "__init__.py"
    for node, at_load in with_place(tree):
        for name in named_targets(node, module, is_package):
            if name.split(".")[0] == "bayesprune":
                found.append(Import(nearest_module(name, known), getattr(node, "lineno", 0), at_load))
    return found


def nearest_module(name: str, known: dict[str, Path]) -> str:
    """The module a dotted name lies in; a name taken from the facade itself stays as it is."""
    parts = name.split(".")
    while len(parts) > 2 and ".".join(parts) not in known:
        parts.pop()
    return ".".join(parts)


def floor_of(name: str, known: dict[str, Path]) -> int:
    """The floor a name stands on; the facade offers names of every floor, so it counts as the top one."""
    if name == "bayesprune.__version__":
        return FLOORS["bayesprune"]
    if name not in known or name in LOOK_UPWARDS:
        return TOP
    return max(number for package, number in FLOORS.items() if f"{name}.".startswith(f"{package}."))


def upward_imports(trees: dict[str, ast.Module], known: dict[str, Path]) -> list[str]:
    """One line for each import of a higher floor, deferred imports and those for type checkers included."""
    return [
        f"{module}, line {found.line}: floor {floor_of(module, known)} imports {found.target}"
        for module, tree in trees.items()
        if module not in LOOK_UPWARDS
        for found in imports_of(module, tree, known)
        if floor_of(found.target, known) > floor_of(module, known)
    ]


def import_cycles(trees: dict[str, ast.Module], known: dict[str, Path]) -> list[list[str]]:
    """Modules that need each other to load: loading a module loads the packages around it, too."""
    graph: networkx.DiGraph[str] = networkx.DiGraph()
    for module, tree in trees.items():
        for target in (found.target for found in imports_of(module, tree, known) if found.at_load):
            parts = target.split(".")
            loaded = {".".join(parts[:length]) for length in range(2, len(parts) + 1)} & known.keys()
            around = {name for name in loaded - {target} if f"{module}.".startswith(f"{name}.")}
            graph.add_edges_from((module, name) for name in loaded - around)
    alone = [[module] for module in networkx.nodes_with_selfloops(graph)]
    groups = networkx.strongly_connected_components(graph)
    return alone + [sorted(group) for group in groups if len(group) > 1]


def test_no_floor_imports_upwards() -> None:
    assert upward_imports(trees(), MODULES) == []


def test_no_modules_import_in_circles() -> None:
    assert import_cycles(trees(), MODULES) == []


@pytest.mark.parametrize(
    "source",
    [
        "import bayesprune.models",
        "import bayesprune",
        "from bayesprune import models",
        "from bayesprune import prune",
        "from bayesprune.models import LeNet5",
        "from bayesprune.models.priors import anything",
        "def late():\n    from bayesprune.inference import anything",
        "import importlib\nimportlib.import_module('bayesprune.experiments')",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from bayesprune.models import LeNet5",
        "from . import models",
        "from .models import LeNet5",
    ],
)
def test_an_upward_import_is_seen(source: str) -> None:
    assert len(upward_imports({"bayesprune.errors": ast.parse(source)}, MODULES)) == 1


@pytest.mark.parametrize(
    "source",
    ["import torch", "from bayesprune import __version__", "from bayesprune.errors import DataError"],
)
def test_an_import_of_the_same_floor_is_not_upward(source: str) -> None:
    assert upward_imports({"bayesprune.errors": ast.parse(source)}, MODULES) == []


def test_a_circle_is_seen_through_a_package() -> None:
    known = {name: Path(f"{name}/__init__.py") for name in ("bayesprune.a", "bayesprune.b")}
    known |= {name: Path(f"{name}.py") for name in ("bayesprune.a.x", "bayesprune.b.y")}
    trees = {
        "bayesprune.a": ast.parse("from bayesprune.a.x import thing"),
        "bayesprune.a.x": ast.parse("from bayesprune.b.y import other"),
        "bayesprune.b": ast.parse(""),
        "bayesprune.b.y": ast.parse("def late():\n    from bayesprune.a import thing"),
    }
    assert import_cycles(trees, known) == []
    trees["bayesprune.b"] = ast.parse("from bayesprune.a import thing")
    assert import_cycles(trees, known) == [["bayesprune.a", "bayesprune.a.x", "bayesprune.b"]]


def test_every_package_is_declared() -> None:
    folders = {name for name, path in MODULES.items() if path.name == "__init__.py"}
    setuptools = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
    assert sorted(setuptools["packages"]) == sorted(folders)
    assert setuptools["package-dir"] == FOLDERS


def test_every_folder_with_modules_is_a_package() -> None:
    folders = {path.parent for path in MODULES.values()}
    assert [str(folder) for folder in sorted(folders) if not (folder / "__init__.py").is_file()] == []


def test_no_test_folder_is_a_package() -> None:
    # As a package, tests/models would be imported as a top-level `models`, tests/bayesprune as the library.
    assert sorted((REPOSITORY / "tests").rglob("__init__.py")) == []


def test_files_stay_short() -> None:
    lines = {path: len(path.read_text("utf-8").splitlines()) for path in python_files()}
    assert {str(path): count for path, count in lines.items() if count > MOST_LINES} == {}


def test_torchvision_is_imported_in_one_module() -> None:
    importers = {
        str(path.relative_to(REPOSITORY))
        for path in python_files()
        if "torchvision" in (text := path.read_text("utf-8"))
        for node in ast.walk(ast.parse(text))
        for name in named_targets(node, "", True)
        if name.split(".")[0] == "torchvision"
    }
    assert {path for path in importers if Path(path).name != "torchvision_guard.py"} == set()
    assert len(importers) <= 1


def test_nothing_read_from_disk_is_executed() -> None:
    unsafe = []
    for module, tree in trees().items():
        for node in ast.walk(tree):
            text = ast.unparse(node) if isinstance(node, ast.Attribute | ast.keyword) else ""
            modules = {name.split(".")[0] for name in named_targets(node, module, True)}
            if text in {"torch.load", "allow_pickle=True", "weights_only=False"} or modules & UNSAFE_MODULES:
                unsafe.append(f"{module}, line {getattr(node, 'lineno', 0)}: {ast.unparse(node)}")
    assert unsafe == []
