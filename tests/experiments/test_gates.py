"""What happened to the gates, counted by hand, and the warnings of runs."""

from collections.abc import Callable
from typing import Any

import pytest

from bayesprune.experiments.gates import GateCounts, counts_together, gate_counts, warning_lines, warnings_of
from bayesprune.store.runs import RunRecord

MakeRun = Callable[..., RunRecord]


def test_every_gate_is_counted_once_in_its_group(make_run: MakeRun) -> None:
    run = make_run("parsimonious", sizes={"inputs": 5, "fc1": 3}, ends=[0, 1, 1, 2, 3, 0, 0, 3])
    counts = gate_counts(run)
    assert counts == {"inputs": GateCounts(1, 2, 1, 1), "fc1": GateCounts(2, 0, 0, 1)}
    assert counts_together(list(counts.values())) == GateCounts(3, 2, 1, 2)
    assert counts["inputs"].gates == 5


def test_runs_that_do_not_say_have_no_counts(make_run: MakeRun) -> None:
    assert gate_counts(make_run("dense")) is None
    assert gate_counts(make_run("parsimonious")) is None  # of an older version


def test_warnings_are_told_with_the_seeds_of_their_runs(make_run: MakeRun) -> None:
    quiet, loud = make_run("dense"), make_run("parsimonious", 3, warnings=["it\nlost 9 points", "few steps"])
    other, another = make_run("parsimonious", 1, warnings=["few steps"]), make_run("random", 3, warnings=["few steps"])
    assert warning_lines([quiet, loud, loud, other, another]) == [
        "parsimonious, seed 3: it lost 9 points",
        "parsimonious, seeds 1 and 3: few steps",
        "random, seed 3: few steps",
    ]


@pytest.mark.parametrize("written", [None, [], "text", 3, {"a": 1}])
def test_what_is_no_list_of_warnings_warns_of_nothing(make_run: MakeRun, written: Any) -> None:
    assert warnings_of(make_run("parsimonious", warnings=written)) == []
