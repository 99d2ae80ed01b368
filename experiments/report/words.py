"""Text from outside made fit for a page, and the sentence on seeds."""

import re
from collections.abc import Sequence

from bayesprune.experiments.configurations import Configuration
from bayesprune.experiments.words import counted, listed

_NOT_IN_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_LONGEST = 60


def clean(text: str) -> str:
    """Text with what neither XML nor UTF-8 can hold (control characters, halves of pairs) replaced."""
    return _NOT_IN_XML.sub("\ufffd", text)


def short(text: str) -> str:
    """A cleaned name that fits into a legend."""
    text = clean(text)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def seeds_sentence(found: Sequence[Configuration]) -> str:
    """How many seeds each method was run with."""
    seeds = {one.label: sorted({int(run.result["seed"]) for run in one.records}) for one in found}
    different = list(seeds.values())
    if len(found) == len(different[0]) == 1:
        return f"There is one run, with seed {different[0][0]}."
    if all(same == different[0] for same in different):
        each = "Every method was run" if len(found) > 1 else "It was run"
        return f"{each} with {counted(len(different[0]), 'seed')} ({listed(different[0])})."
    parts = [f"{label} with {counted(len(mine), 'seed')} ({listed(mine)})" for label, mine in seeds.items()]
    return f"The methods were run with different seeds: {listed(parts)}."
