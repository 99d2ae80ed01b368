"""Published networks for CIFAR-10 that ours stand beside, with how their accuracy was measured.

Nothing in this file was measured here, and no source was read again: the figures are those of the project's list.
"""

from collections.abc import Sequence
from dataclasses import dataclass

BEST_TEST, LAST = "best test epoch", "last epoch"
"""Which epoch's test accuracy is printed."""


@dataclass(frozen=True)
class Cut:
    """A published network.

    Attributes:
        method: its name.
        source: where it was printed.
        error: test error in percent; None where only its change is printed.
        cut: percent of the dense network's FLOPs that are gone; None where only parameters are told.
        protocol: which epoch is printed, and what else matters.
        change: of accuracy against the dense network, in points; None where an error is printed.
        compression: parameters of the dense network over those left; None where FLOPs are told.
    """

    method: str
    source: str
    error: float | None
    cut: float | None
    protocol: str
    change: float | None = None
    compression: float | None = None


_CORING, _CHIP = "Pham et al., CORING", "Sui et al., arXiv 2110.13981"
_DEPGRAPH, _RANK = "Fang et al., arXiv 2301.12900", "public code of HRank (Lin et al., arXiv 2002.10179)"
_CKA, _BC = "Pons et al., layer pruning by CKA", "Louizos et al., arXiv 1705.08665, and its public code"

VGG16: Sequence[Cut] = (
    Cut("CORING", _CORING, 5.58, 58.1, BEST_TEST),
    Cut("CORING", _CORING, 5.80, 66.6, BEST_TEST),
    Cut("CORING", _CORING, 6.17, 78.6, BEST_TEST),
    Cut("CHIP", _CHIP, 6.14, 58.1, BEST_TEST),
    Cut("CHIP", _CHIP, 6.28, 66.6, BEST_TEST),
    Cut("CHIP", _CHIP, 6.82, 78.6, BEST_TEST),
    Cut("HRankPlus", _RANK, 6.27, 58.1, BEST_TEST),
    Cut("HRankPlus", _RANK, 6.44, 66.6, BEST_TEST),
    Cut("HRankPlus", _RANK, 6.90, 78.6, BEST_TEST),
    Cut("BC-GNJ", _BC, 8.6, None, "parameters stored, no FLOPs", compression=14.0),
    Cut("BC-GHS", _BC, 9.0, None, "parameters stored, no FLOPs", compression=18.0),
)
RESNET56: Sequence[Cut] = (
    Cut("DepGraph", _DEPGRAPH, 6.17, 52.8, f"{LAST}; 2.12 times fewer FLOPs; its code also keeps the {BEST_TEST}"),
    Cut("DepGraph", _DEPGRAPH, 6.44, 61.7, f"{LAST}; 2.61 times fewer FLOPs; its code also keeps the {BEST_TEST}"),
    Cut("CORING", _CORING, 5.78, 47.4, BEST_TEST),
    Cut("CORING", _CORING, 7.16, 72.3, BEST_TEST),
    Cut("CHIP", _CHIP, 5.84, 47.4, BEST_TEST),
    Cut("CHIP", _CHIP, 7.57, 74.1, BEST_TEST),
    Cut("whole layers by CKA", _CKA, None, 78.8, "as printed", change=-0.66),
)
PUBLISHED: dict[str, Sequence[Cut]] = {"vgg16": VGG16, "resnet20": (), "resnet56": RESNET56}

NOTES = (
    "Published figures are taken from the project's list of comparisons; no source was read again for them.",
    "The public code of HRank (and HRankPlus), CHIP, CORING, DepGraph and VIBNet keeps the epoch with the best "
    "accuracy on the test images. Ours is always the last epoch, and 5,000 of the 50,000 training images only "
    "validate.",
    "Published networks start from a trained dense one and are trained on for 100 to 400 epochs. MACs of published "
    "rows are our dense network's less the share that is printed; what each paper counts differs by some percent, and "
    "HRank's own FLOPs leave out what the next layer saves.",
    "Bayesian compression (BC) counts weights that are stored, not multiply-accumulates.",
)
