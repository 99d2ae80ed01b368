"""Progress from Python: shown where somebody looks, silent elsewhere, and the user's function before all."""

import io
import logging
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import bayesprune as bp
from bayesprune.data import Data
from bayesprune.errors import SettingError
from bayesprune.experiments.showing import in_notebook, shown
from bayesprune.training import Progress

STEP = Progress("fixed", 10, 10, 0.25)
QUICK: dict[str, Any] = {"epochs": 1, "batch_size": 50}


class Terminal(io.StringIO):
    """Standard error that is a terminal."""

    def isatty(self) -> bool:
        return True


def in_a_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Make standard error a terminal that can draw; in the test itself, since pytest puts its own back before."""
    written = Terminal()
    monkeypatch.setattr(sys, "stderr", written)
    monkeypatch.setenv("TERM", "xterm")
    return written


def in_a_notebook(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """Make this look like a cell of a notebook, whose standard error is no terminal."""
    shell = type("ZMQInteractiveShell", (), {})()
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    return written


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch, small_data: Data) -> None:
    terminal = in_a_terminal(monkeypatch)
    bp.prune("mlp", small_data, "dense", **QUICK)
    assert "dense seed 0: fixed, loss" in terminal.getvalue() and "5 of 5 steps" in terminal.getvalue()


@pytest.mark.parametrize("progress", [False, lambda now: None])
def test_it_can_be_turned_off_and_taken_over(monkeypatch: pytest.MonkeyPatch, progress: Any, small_data: Data) -> None:
    terminal = in_a_terminal(monkeypatch)
    bp.prune("mlp", small_data, "dense", progress=progress, **QUICK)
    assert terminal.getvalue() == ""


def test_a_notebook_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    written = in_a_notebook(monkeypatch)
    assert in_notebook()
    with shown(None, "dense seed 0") as tell:
        assert tell is not None
        tell(Progress("fixed", 3, 10, 0.5))  # too soon after the start
        tell(STEP)
    assert written.getvalue() == "dense seed 0: fixed, 10 of 10 steps, loss 0.25\n"


def test_nobody_looks_at_a_file(monkeypatch: pytest.MonkeyPatch, small_data: Data) -> None:
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    assert not in_notebook()
    with shown(None, "dense") as tell:
        assert tell is None
    bp.prune("mlp", small_data, "dense", **QUICK)
    assert written.getvalue() == ""
    with shown(True, "dense") as tell:  # asked for
        assert tell is not None
        tell(STEP)
    assert written.getvalue() == "dense: fixed, 10 of 10 steps, loss 0.25\n"


def test_a_comparison_shows_its_runs(monkeypatch: pytest.MonkeyPatch, small_npz: str, tmp_path: Path) -> None:
    terminal = in_a_terminal(monkeypatch)
    settings: dict[str, Any] = {"seeds": 1, "methods": ["dense"], "workers": 1, **QUICK}
    bp.compare("mlp", small_npz, out=tmp_path / "quiet", progress=False, **settings)
    assert terminal.getvalue() == ""
    bp.compare("mlp", small_npz, out=tmp_path / "shown", **settings)
    assert "1/1 runs" in terminal.getvalue()


def test_what_is_no_progress_is_refused() -> None:
    with pytest.raises(SettingError, match="progress must be True, False or a function"), shown(3, "x"):  # type: ignore[arg-type]  # wrong on purpose
        pass


def test_a_logger_tells_of_runs_and_shrinks(caplog: pytest.LogCaptureFixture, small_data: Data) -> None:
    with caplog.at_level(logging.DEBUG, "bayesprune"):
        bp.prune("mlp", small_data, "l1-units", budget="macs=50%", **QUICK)
    told = [
        (record.levelname, record.getMessage()) for record in caplog.records if record.name.startswith("bayesprune")
    ]
    assert told[0][0] == "INFO" and "l1-units, mlp on small, seed 0 begins: 1 epochs, 136 gates" in told[0][1]
    assert told[-1][0] == "INFO" and "is done: accuracy" in told[-1][1]
    assert any(level == "DEBUG" and "of 136 gates left" in text for level, text in told)


def test_the_logger_says_nothing_by_itself() -> None:
    handlers = logging.getLogger("bayesprune").handlers
    assert any(isinstance(handler, logging.NullHandler) for handler in handlers)
