"""The one table of papers that can be studied."""

from bayesprune.errors import UnknownNameError
from bayesprune.experiments.papers.cifar.study import PAPER as CIFAR
from bayesprune.experiments.papers.hidden_structures.study import PAPER as HIDDEN_STRUCTURES
from bayesprune.experiments.papers.layer_sparsity.study import PAPER as LAYER_SPARSITY
from bayesprune.experiments.papers.paper import Paper
from bayesprune.experiments.papers.parsimonious.study import PAPER as PARSIMONIOUS
from bayesprune.experiments.papers.spike_slab.study import PAPER as SPIKE_SLAB
from bayesprune.experiments.papers.tangent_transfer.study import PAPER as TANGENT_TRANSFER
from bayesprune.experiments.papers.teachers.study import PAPER as TEACHERS
from bayesprune.experiments.papers.uncertainty.study import PAPER as UNCERTAINTY

_ALL = (
    PARSIMONIOUS, HIDDEN_STRUCTURES, TANGENT_TRANSFER, SPIKE_SLAB, TEACHERS, UNCERTAINTY, LAYER_SPARSITY, CIFAR,
)  # fmt: skip

PAPERS: dict[str, Paper] = {one.name: one for one in _ALL}


def paper(name: str) -> Paper:
    """A paper by name.

    Raises:
        UnknownNameError: there is none; the nearest name is offered.
    """
    if name not in PAPERS:
        raise UnknownNameError("paper", name, PAPERS)
    return PAPERS[name]
