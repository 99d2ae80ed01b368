"""Modules that moved can still be imported under their old names."""

from importlib import import_module

import pytest

from bayesprune.moved import MOVED


@pytest.mark.parametrize("old", MOVED)
def test_an_old_name_gives_the_module_itself(old: str) -> None:
    module = import_module(old)
    assert module is import_module(MOVED[old])
    assert module.__spec__ is not None and module.__name__ == module.__spec__.name == MOVED[old]
