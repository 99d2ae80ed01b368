"""No run destroys a network: twenty cases with seeds that no default was chosen with."""

from __future__ import annotations

import pytest

from benchmarks.collapses import CASES, Case, cases, judged


@pytest.mark.long
@pytest.mark.parametrize("case", list(cases(len(CASES))), ids=lambda case: f"{case.network}-{case.epochs}-{case.seed}")
def test_a_run_never_destroys_a_network(case: Case) -> None:
    found = judged(case)
    assert not found.collapsed, f"{found.accuracy:.1f} % of {found.dense:.1f} %: {found.why}"


def test_a_network_that_was_destroyed_would_be_found() -> None:
    """The judge itself: a price that leaves one unit a layer is no collapse, since larger networks cost more."""
    found = judged(Case("residual", 1, {"price": 1e6}, seed=1))
    assert not found.collapsed
