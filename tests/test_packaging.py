"""The package works from the repository's root, from the folder around it and from elsewhere, however installed."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

import bayesprune

REPOSITORY = Path(__file__).resolve().parent.parent
FLOORS = ("models", "inference", "experiments")
HEAVY = {"torch", "numpy", "matplotlib", "pyro", "scipy", "pandas", "xarray", "torchvision", "networkx"}
# "strict" is an editable install by a tree of links, which static tools can read.
INSTALLS = {"plain": [], "editable": ["-e"], "strict": ["--config-settings", "editable_mode=strict", "-e"]}

LINKS = (f"__editable__.bayesprune-{bayesprune.__version__}-py3-none-any", "bayesprune")
HELP = "import sys; sys.argv = ['bayesprune', '--help']; from bayesprune.__main__ import main; main()"
WHERE = """
import bayesprune.models, bayesprune.inference, bayesprune.experiments
assert bayesprune.prune.__module__ == "bayesprune.experiments.facade"
for floor in ("models", "inference", "experiments"):
    print(getattr(bayesprune, floor).__file__)
"""
TRIVIAL_TEST = """
import bayesprune.models


def test_the_second_floor_is_found():
    assert bayesprune.models.__name__ == "bayesprune.models"
"""


def run(*command: str | Path, cwd: Path, expect: int = 0, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Run a command as a person would, without the settings that make this test run's own imports work."""
    hidden = {"PYTHONPATH", "PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER", "VIRTUAL_ENV"}
    environment = {key: value for key, value in os.environ.items() if key not in hidden} | variables
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == expect, f"{command}\n{done.stdout}\n{done.stderr}"
    return done


def loaded_after(code: str) -> set[str]:
    """The heavy libraries that a fresh interpreter has loaded once it has run this code."""
    report = f"try:\n    exec({code!r})\nfinally:\n    import sys\n    print('LOADED', *sys.modules)"
    last_line = run(sys.executable, "-c", report, cwd=REPOSITORY).stdout.splitlines()[-1]
    assert last_line.startswith("LOADED")
    return HEAVY & set(last_line.split())


def test_importing_the_library_loads_nothing_heavy() -> None:
    assert loaded_after("import bayesprune; dir(bayesprune)") == set()
    assert loaded_after("import numpy") == {"numpy"}  # the check itself can fail


def test_help_loads_nothing_heavy() -> None:
    assert loaded_after(HELP) == set()


@pytest.mark.parametrize("name", bayesprune.__all__)
def test_every_name_of_the_facade_is_there(name: str) -> None:
    assert getattr(bayesprune, name) is not None
    assert name in dir(bayesprune)


def test_a_name_the_facade_lacks_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'prunes'"):
        getattr(bayesprune, "prunes")  # noqa: B009 - the attribute is one that mypy knows to be missing


@dataclass(frozen=True)
class Installation:
    """A copy of the repository, and a virtual environment into which it was installed."""

    kind: str
    root: Path
    environment: Path
    elsewhere: Path

    @property
    def parent(self) -> Path:
        """The folder that contains the clone, which is named like the package: Python sees it as a namespace there."""
        return self.root.parent

    @property
    def python(self) -> Path:
        """The environment's interpreter."""
        return self.environment / "bin" / "python"

    @property
    def site_packages(self) -> Path:
        """Where the environment keeps what is installed."""
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        return self.environment / "lib" / version / "site-packages"


def copy_of_repository(root: Path) -> Path:
    """The project's files without what builds and tools leave behind, so that a build finds a fresh clone."""
    files = ("__init__.py", "pyproject.toml", "LICENSE", "README.md")
    root.mkdir(parents=True)
    for name in files:
        if (REPOSITORY / name).exists():
            shutil.copy(REPOSITORY / name, root / name)
    for folder in ("bayesprune", *FLOORS):
        shutil.copytree(REPOSITORY / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (root / "tests").mkdir()
    (root / "tests" / "test_trivial.py").write_text(TRIVIAL_TEST)
    return root


def environment_beside_this_one(folder: Path) -> Path:
    """A virtual environment that sees the libraries of this one, but not this one's own bayesprune."""
    venv.create(folder, with_pip=False, symlinks=True)
    site_packages = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    libraries = [path for path in sys.path if path.endswith("site-packages")]
    (site_packages / "libraries.pth").write_text("\n".join(libraries) + "\n")
    return folder


@pytest.fixture(scope="module", params=list(INSTALLS))
def installation(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """The package installed in each of the ways that pip knows."""
    base = tmp_path_factory.mktemp(request.param)
    elsewhere = base / "elsewhere"
    elsewhere.mkdir()
    root = copy_of_repository(base / "around" / "bayesprune")
    made = Installation(request.param, root, environment_beside_this_one(base / "venv"), elsewhere)
    offline = ("--no-deps", "--no-build-isolation", "--no-index", "--quiet")
    run(made.python, "-m", "pip", "install", *offline, *INSTALLS[request.param], root, cwd=elsewhere)
    return made


@pytest.fixture(scope="module", params=["root", "parent", "elsewhere"])
def cwd(request: pytest.FixtureRequest, installation: Installation) -> Path:
    """Where a person stands: in the repository's root, in the folder that contains it, or elsewhere."""
    return Path(getattr(installation, request.param))


def test_a_clone_named_like_the_package_is_the_package(tmp_path: Path) -> None:
    """In the folder that contains it; the clone itself is what Python finds there, whatever else is installed."""
    clone = copy_of_repository(tmp_path / "bayesprune")
    code = "import bayesprune, bayesprune.models as m; print(bayesprune.__file__, m.__file__, bayesprune.__version__)"
    *found, version = run(sys.executable, "-c", code, cwd=tmp_path).stdout.split()
    assert found == [str(clone / floor / "__init__.py") for floor in ("bayesprune", "models")]
    assert version == bayesprune.__version__
    assert run(sys.executable, "-m", "bayesprune", "--version", cwd=tmp_path).stdout.strip().endswith(version)


@pytest.mark.long
def test_python_finds_every_floor_in_one_place(installation: Installation, cwd: Path) -> None:
    found = [Path(line) for line in run(installation.python, "-c", WHERE, cwd=cwd).stdout.split()]
    if cwd != installation.elsewhere or installation.kind == "editable":
        assert found == [installation.root / floor / "__init__.py" for floor in FLOORS]
    elif installation.kind == "plain":
        package = installation.site_packages / "bayesprune"
        assert found == [package / floor / "__init__.py" for floor in FLOORS]
    else:
        assert [path.parts[-4:] for path in found] == [(*LINKS, floor, "__init__.py") for floor in FLOORS]
        assert all(path.samefile(installation.root / path.parent.name / path.name) for path in found)


@pytest.mark.long
@pytest.mark.parametrize("command", [["bin/bayesprune"], ["bin/python", "-m", "bayesprune"]], ids=["script", "module"])
def test_the_command_starts(installation: Installation, cwd: Path, command: list[str]) -> None:
    program, *arguments = command
    assert "compare" in run(installation.environment / program, *arguments, "--help", cwd=cwd).stdout


@pytest.mark.long
@pytest.mark.parametrize("starter", ["script", "module"])
def test_pytest_finds_the_floors(installation: Installation, cwd: Path, starter: str) -> None:
    # A script does not put the working folder on Python's path, `-m` does.
    script = installation.elsewhere / "start_pytest.py"
    script.write_text("import sys\n\nimport pytest\n\nsys.exit(pytest.main())\n")
    command = {"script": [str(script)], "module": ["-m", "pytest"]}[starter]
    configuration = ("-c", installation.root / "pyproject.toml", "-p", "no:cacheprovider")
    test = installation.root / "tests" / "test_trivial.py"
    assert "1 passed" in run(installation.python, *command, *configuration, test, cwd=cwd).stdout


@pytest.mark.long
def test_torchrun_finds_the_floors(installation: Installation, cwd: Path) -> None:
    script = installation.elsewhere / "rank.py"
    script.write_text(f"import os\n{WHERE}\nprint('rank', os.environ['RANK'])\n")
    launch = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "1")
    assert "rank 0" in run(installation.python, *launch, script, cwd=cwd, OMP_NUM_THREADS="1").stdout


@pytest.mark.long
def test_site_packages_get_one_name(installation: Installation) -> None:
    names = {path.name for path in installation.site_packages.iterdir()}
    modules = {name for name in names if not name.endswith((".pth", ".dist-info")) and name[:2] != "__"}
    assert modules == ({"bayesprune"} if installation.kind == "plain" else set())


def wheel_of(project: Path, folder: Path) -> set[str]:
    """The files of the wheel that pip builds from a folder or an archive, its metadata left out."""
    offline = ("--no-deps", "--no-build-isolation", "--no-index", "--quiet")
    run(sys.executable, "-m", "pip", "wheel", *offline, "--wheel-dir", folder, project, cwd=folder)
    (wheel,) = folder.glob("bayesprune-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


@pytest.mark.long
def test_a_wheel_holds_every_file_of_the_floors_and_nothing_else(tmp_path: Path) -> None:
    root = copy_of_repository(tmp_path / "clone")
    floors = {root / "bayesprune": "bayesprune"} | {root / name: f"bayesprune/{name}" for name in FLOORS}
    expected = {
        f"{name}/{path.relative_to(folder).as_posix()}"
        for folder, name in floors.items()
        for path in folder.rglob("*")
        if path.is_file()
    }
    (tmp_path / "wheel").mkdir()
    assert wheel_of(root, tmp_path / "wheel") == expected

    build = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"
    run(sys.executable, "-c", build, tmp_path, cwd=root)
    (source,) = tmp_path.glob("bayesprune-*.tar.gz")
    (tmp_path / "from_source").mkdir()
    assert wheel_of(source, tmp_path / "from_source") == expected
