"""The tables of graph priors, on few vertices and seeds."""

from pathlib import Path

import pytest

from bayesprune.errors import SettingError
from bayesprune.experiments import graph_priors
from bayesprune.experiments.graph_priors import Told, main, of_graphs, table


def test_a_row_by_hand() -> None:
    row = Told("erdos-renyi", {"probability": 0.5}, 3, (0.5, 0.7), (0.25, 0.25))
    assert table([row], "graphs").splitlines()[-1] == "| erdos-renyi probability=0.5 | 3 | 0.60 ± 0.14 | 0.25 ± 0.00 |"


def test_more_graphs_say_more() -> None:
    rows = of_graphs(range(2), (1, 8))
    assert [row.of for row in rows] == [1, 8] * 3
    assert all(min(after.setting) > min(before.setting) for before, after in zip(rows[2::2], rows[3::2], strict=True))


def test_the_command_prints_and_draws(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph_priors, "COUNTS", (1, 2))
    monkeypatch.setattr(graph_priors, "VERTICES_OF_NETWORK", 4)
    monkeypatch.setitem(graph_priors.NEIGHBOURS, 4, 2)
    assert main(["2", str(tmp_path / "told.png")]) == 0
    said = capsys.readouterr().out
    assert said.count("| barabasi-albert edges=2 |") == 3 and "| examples |" in said
    assert (tmp_path / "told.png").read_bytes().startswith(b"\x89PNG")
    for wrong in (["x"], ["2", "a.png", "b"], ["1"]):
        with pytest.raises(SettingError, match="seeds"):
            main(wrong)
