"""The theory page names tests, files and commands: that they exist, and that every claim has its test."""

import ast
import importlib.util
import re
from pathlib import Path

import pytest

from bayesprune.experiments.study import read_study
from bayesprune.inference.estimators import ESTIMATORS
from bayesprune.inference.removal import REMOVALS

TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
COMMAND = re.compile(r"`((?:python -m|bayesprune) [^`]+)`")
FILE = re.compile(r"`((?:tests|benchmarks|examples|inference|models|bayesprune|experiments)/[\w/]+\.\w+)`")
LINK = re.compile(r"\]\((?!http)([^)#]+)")


def functions(path: Path) -> set[str]:
    """Names of the test functions of a file."""
    return {node.name for node in ast.parse(path.read_text("utf-8")).body if isinstance(node, ast.FunctionDef)}


def missing(text: str, repository: Path) -> list[str]:
    """What the text names and the repository has not."""
    lost = []
    for file, name in TEST.findall(text):
        if not (repository / file).is_file() or name not in functions(repository / file):
            lost.append(f"{file}::{name}")
    lost += [file for file in FILE.findall(text) if not (repository / file).is_file()]
    lost += [link for link in LINK.findall(text) if not (repository / "docs" / link).exists()]
    return lost + [command for command in COMMAND.findall(text) if not runs(command, repository)]


def runs(command: str, repository: Path) -> bool:
    """Whether a command's module, subcommand and file exist."""
    program, *arguments = command.removeprefix("python -m ").split()
    if program != "bayesprune":
        return (repository / f"{program.replace('.', '/')}.py").is_file()
    if importlib.util.find_spec(f"bayesprune.experiments.commands.{arguments[0]}") is None:
        return False
    return arguments[0] != "study" or len(read_study(repository / arguments[1]).jobs) > 0


def claims(text: str) -> list[str]:
    """Paragraphs and list entries that begin in bold."""
    blocks = re.split(r"\n\s*\n|\n(?=- \*\*)", text)
    return [block for block in blocks if block.lstrip("- ").startswith("**")]


@pytest.fixture(scope="module")
def page(repository: Path) -> str:
    return (repository / "docs" / "theory.md").read_text("utf-8")


def test_what_the_page_names_exists(page: str, repository: Path) -> None:
    assert len(TEST.findall(page)) > 30
    assert len(COMMAND.findall(page)) >= 2
    assert missing(page, repository) == []


def test_every_claim_names_a_test(page: str) -> None:
    """Where display mathematics splits a claim, the test may stand in the paragraph after it."""
    joined = re.sub(r"\n\n(\$\$.*?\$\$)\n\n", r"\n\1\n", page, flags=re.DOTALL)
    assert len(claims(joined)) > 25
    assert [claim for claim in claims(joined) if not TEST.search(claim)] == []


def test_every_estimator_and_rule_is_on_the_page(page: str) -> None:
    assert [name for name in (*ESTIMATORS, *REMOVALS) if f"`{name}`" not in page] == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("`tests/test_theory.py::test_every_claim_names_a_test`", []),
        ("`tests/test_theory.py::test_nothing`", ["tests/test_theory.py::test_nothing"]),
        ("`tests/nowhere.py::test_nothing`", ["tests/nowhere.py::test_nothing"]),
        ("`examples/nothing.toml` [here](nothing.png)", ["examples/nothing.toml", "nothing.png"]),
        ("`python -m benchmarks.nothing`", ["python -m benchmarks.nothing"]),
        ("`python -m benchmarks.estimators --quick`", []),
        ("`bayesprune nothing`", ["bayesprune nothing"]),
        ("`bayesprune study examples/prices.toml`", []),
    ],
)
def test_the_check_finds_what_is_not_there(text: str, expected: list[str], repository: Path) -> None:
    assert missing(text, repository) == expected


def test_claims_without_a_test_are_found() -> None:
    text = "**One.** Checked by `tests/a.py::test_b`.\n\n**Two.** Nothing.\n\nPlain.\n\n- **three**\n- **four**: x"
    assert [bool(TEST.search(claim)) for claim in claims(text)] == [True, False, False, False]
