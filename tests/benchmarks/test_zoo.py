"""The table of the zoo."""

from typing import Any

import pytest
import torch

from benchmarks import zoo
from benchmarks._zoo import SHAPES
from benchmarks._zoo.judge import Verdict, judge


def test_a_row_for_each_network_and_how_many_work(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(zoo, "_apart", lambda build, limit: (judge(build, limit), 2.5))
    rows = zoo.main(["--only", "Chain", "Residual"])
    assert [(name, verdict.gates, verdict.exact) for name, verdict, _ in rows] == [
        ("Chain", 19, True), ("Residual", 22, True),
    ]  # fmt: skip
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[:4] == ["Chain", "19", "86%", "yes"] and lines[1].split()[5] == "2.5"
    assert lines[-1] == "2 of 2 work without any keep (100 %)"


def test_what_does_not_work_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    refused = Verdict(seconds=1.0, refused="NetworkError: no")
    wrong = Verdict(3, 0.5, 0.1, 1.0, ("fc",))
    given = iter([(refused, float("nan")), (wrong, float("nan"))])
    monkeypatch.setattr(zoo, "_apart", lambda build, limit: next(given))
    zoo.main(["--only", "Chain", "Residual"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[1:4] == ["-", "-", "-"] and lines[1].endswith("NetworkError: no")
    assert lines[2].split() == ["Residual", "3", "50%", "NO", "1.00", "-", "fc"]
    assert lines[-1] == "0 of 2 work without any keep (0 %)"


def test_a_fault_of_the_library_is_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[Any] = []

    class Queue:
        put = answers.append

    def fail(*_: Any) -> Verdict:
        raise ZeroDivisionError("of ours")

    monkeypatch.setattr(zoo, "judge", fail)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
    zoo._work(SHAPES["Chain"].build, 1.0, Queue())
    assert answers[0][0].refused == "FAULT ZeroDivisionError: of ours"
