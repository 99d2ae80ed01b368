"""Scores of weights from derivatives: SNIP, logit-SNIP, Taylor, GraSP, SynFlow and optimal brain damage."""

from bayesprune.pruners.saliency.diagonal import exact_diagonal, hutchinson_diagonal
from bayesprune.pruners.saliency.first_order import logit_snip, snip, taylor
from bayesprune.pruners.saliency.gradients import balanced
from bayesprune.pruners.saliency.grasp import grasp
from bayesprune.pruners.saliency.obd import Diagonal, obd
from bayesprune.pruners.saliency.synflow import synflow

__all__ = [
    "Diagonal",
    "balanced",
    "exact_diagonal",
    "grasp",
    "hutchinson_diagonal",
    "logit_snip",
    "obd",
    "snip",
    "synflow",
    "taylor",
]
