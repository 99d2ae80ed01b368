"""The examples of a property test hang on the test alone."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

NUMBERS = "numbers = [{}]\n".format(", ".join(str(10**6 + 7 * n) for n in range(200)))


def examples() -> list[int]:
    """All that a test of integers is given."""
    seen: list[int] = []

    @given(some.lists(some.integers(0, 10**9)))
    def test(numbers: list[int]) -> None:
        seen.extend(numbers)

    test()
    return seen


def test_modules_that_are_loaded_change_no_examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = examples()
    folder = tmp_path.parent / "some_numbers"  # a folder whose name begins with "test" would not be read
    folder.mkdir()
    (folder / "some_numbers.py").write_text(NUMBERS)
    monkeypatch.syspath_prepend(folder)
    __import__("some_numbers")
    assert examples() == before and len(before) > 100
