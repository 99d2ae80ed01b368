"""The page of settings is that of the docstrings, and every setting has a meaning there."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest

import bayesprune
from bayesprune.experiments.methods import METHODS
from bayesprune.experiments.settings_page import meanings_of, settings_page
from bayesprune.run.settings import RunSettings

KINDS: list[type[Any]] = [RunSettings, *(method.options for method in METHODS.values())]
CLASSES = {kind.__name__: kind for kind in KINDS}


def test_the_page_is_up_to_date(repository: Path) -> None:
    command = "python -m bayesprune.experiments.settings_page > docs/settings.md"
    assert (repository / "docs" / "settings.md").read_text("utf-8") == settings_page(), f"make it anew: {command}"


@pytest.mark.parametrize("name", CLASSES)
def test_every_class_of_settings_is_public_and_every_field_has_a_row(name: str) -> None:
    assert getattr(bayesprune, name) is CLASSES[name] and name in dir(bayesprune)
    rows = [line for line in settings_page().splitlines() if line.startswith("| `")]
    for field in fields(CLASSES[name]):
        assert any(row.startswith(f"| `{field.name}` |") for row in rows)


def test_meanings_are_read_from_the_docstring() -> None:
    @dataclass
    class Some:
        """Settings.

        Attributes:
            one: of this | that,
                and more: of it.
            two, three: both.
        """

        one: Any
        two: Any
        three: Any

    assert meanings_of(Some) == {"one": r"of this \| that, and more: of it.", "two": "both.", "three": "both."}
