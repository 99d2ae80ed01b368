"""The one table of papers that can be studied."""

from bayesprune.errors import UnknownNameError
from bayesprune.experiments.papers.paper import Paper
from bayesprune.experiments.papers.parsimonious.study import PAPER as PARSIMONIOUS

PAPERS: dict[str, Paper] = {one.name: one for one in (PARSIMONIOUS,)}


def paper(name: str) -> Paper:
    """A paper by name.

    Raises:
        UnknownNameError: there is none; the nearest name is offered.
    """
    if name not in PAPERS:
        raise UnknownNameError("paper", name, PAPERS)
    return PAPERS[name]
