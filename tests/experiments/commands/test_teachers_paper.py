"""`bayesprune paper teachers` on one short run."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bayesprune.experiments.papers import PAPERS
from bayesprune.experiments.papers.teachers import runs, study
from bayesprune.experiments.papers.teachers.selected import Selection


@pytest.mark.long
def test_the_command_makes_the_study(command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gibbs draws are made in earnest, once; the baselines take no time."""
    monkeypatch.setattr(study, "baseline", lambda name, data, place: Selection((1, 4)))
    row = runs.plan(1)[0]
    short = replace(row, settings=replace(row.settings, epochs=2))
    monkeypatch.setitem(PAPERS, "teachers", replace(PAPERS["teachers"], plan=lambda draws: [short]))
    outcome = command("paper", "teachers", "--workers", 1, "--json")
    assert outcome.status == 0, outcome.err
    found = json.loads(outcome.out)
    assert [one["draw"] for one in found["selected"]["teacher200"]["parsimonious, gibbs"]] == [0]
    assert found["pictures"] == ["selection-teacher200.png"] and found["rows"][0]["runs"][0]["validation_error"] is None
    assert len(list(Path("paper-teachers/beside").glob("gibbs-*.json"))) == 1
