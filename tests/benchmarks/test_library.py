"""torchvision's classification and segmentation networks: exact or refused by name, nothing left out in silence.

It stands here, because another rounding tells nothing about which channels go together, and takes long to do so.
"""

import pytest

from benchmarks._zoo.judge import judge
from benchmarks._zoo.library import HUGE, library

LIBRARY = library()

REFUSED: dict[str, str] = {}
"""Networks of which `find` says by name that it cannot take them, and what it says."""


@pytest.mark.long
@pytest.mark.parametrize("name", LIBRARY)
def test_library(name: str) -> None:
    verdict = judge(LIBRARY[name].build, limit=600.0)
    if name in REFUSED:
        assert REFUSED[name] in verdict.refused
        return
    assert not verdict.refused
    assert verdict.exact and not verdict.silent
    assert verdict.share >= 0.5


def test_no_network_is_left_out_but_the_huge() -> None:
    assert len(LIBRARY) >= 70 and not HUGE & set(LIBRARY)
