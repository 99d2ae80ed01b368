"""The table of papers, and parts of a study."""

import pytest

from bayesprune.errors import UnknownNameError
from bayesprune.experiments.papers import PAPERS, paper


def test_papers_go_by_their_names() -> None:
    assert all(paper(name).name == name for name in PAPERS)
    assert "parsimonious" in PAPERS
    with pytest.raises(UnknownNameError, match="did you mean 'parsimonious'"):
        paper("parsimonous")


def test_parts_are_networks() -> None:
    study = paper("parsimonious")
    parts = [study.rows(part) for part in study.parts]
    assert [{row.network for row in rows} for rows in parts] == [{"lenet300"}, {"lenet5"}]
    assert [row for rows in parts for row in rows] == study.rows("all")
    with pytest.raises(UnknownNameError, match="unknown part of parsimonious 'lenet'.*all, lenet300, lenet5"):
        study.rows("lenet")


def test_data_are_the_study_s_or_those_asked_for() -> None:
    study = paper("parsimonious")
    for quick, data, expected in (
        (False, None, "mnist"), (True, None, "mnist5k"), (False, "fashion-mnist", "fashion-mnist"),
        (True, "mnist", "mnist"),
    ):  # fmt: skip
        assert {row.settings.data for row in study.rows(quick=quick, data=data)} == {expected}
