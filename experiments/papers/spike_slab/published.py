"""Published rows of spike-and-slab nodes and of Bayesian model reduction; nothing in this file was measured here.

Parameters and MACs are those of the printed widths as plain dense networks (biases in parameters only), not printed
ones; a test counts them again. Where only a share of the parameters is known, parameters are that share of the dense
network's.
"""

from collections.abc import Mapping, Sequence

from bayesprune.experiments.papers.parsimonious.published import LENET5, MLP
from bayesprune.experiments.papers.published import Published

_LOGS = "logs beside the code of arXiv 2108.11000"
_GROUP_LOGS = "logs beside the code of arXiv 2308.09104"
_BMRS = "arXiv 2406.01345"
_BEST = "best ever {:.2f}"

NOTES = (
    "Sources: Jantre, Bhattacharya and Maiti, arXiv 2108.11000 (SS-IG) and arXiv 2308.09104 (SS-GL, SS-GHS): logs that "
    "were committed with the public code, one seed each, last of 1,200 epochs; printed tables may differ. Wright, Igel "
    "and Selvan, BMRS, arXiv 2406.01345, mean ± spread of its seeds. Rows of LeNet-300-100 and of LeNet-5 as in the "
    "study of parsimonious networks.",
    "SS-IG trains with sigmoid linear units, batches of 1,024 and, on Fashion-MNIST, horizontal flips; our networks "
    "have rectifiers and no flips. Edge networks keep single weights, so that their widths do not tell their cost.",
    "BMRS resizes images to 32x32; ours stay at 28x28, where the dense LeNet-5 6-16-120-84 has 44,426 parameters "
    "instead of 61,706, and its perceptron has tangents as activations. Limits in parameters are theirs, in full.",
)

TRAJECTORY: Mapping[int, tuple[float, float]] = {
    10: (98.0, 97.5), 50: (50.0, 97.8), 100: (10.4, 96.9), 200: (7.8, 96.2), 500: (9.7, 96.5), 1199: (11.8, 96.9),
}  # fmt: skip
"""SS-IG's 784-400-400 on MNIST by epoch: FLOPs in percent of the dense network's, test accuracy in percent (logs)."""

_MNIST_MLP = (
    Published("SS-IG", "784-68-40", 3.14, 56_550, 56_432, _LOGS, note=_BEST.format(1.71)),
    Published("SS-GHS", "784-25-15", 2.70, 20_175, 20_125, _GROUP_LOGS),
    Published("edges (SV-BNN)", "784-61-36", 3.82, None, None, _LOGS, note="0.157 % of the weights; best ever 1.85"),
    Published("dense Bayesian", "784-400-400", 2.12, 478_410, 477_600, _LOGS, note=_BEST.format(1.41)),
)
_FASHION_MLP = (
    Published("SS-IG", "784-42-33", 15.48, 34_729, 34_644, _LOGS, note=_BEST.format(11.57)),
    Published("edges (SV-BNN)", "784-54-61", 15.23, None, None, _LOGS, note="0.173 % of the weights"),
    Published("dense Bayesian", "784-400-400", 12.45, 478_410, 477_600, _LOGS, note=_BEST.format(9.66)),
)
_MNIST_LENET = (
    Published("SS-IG", "17-6-96-18-16", 1.40, 5_218, 410_176, _LOGS, note=_BEST.format(0.89)),
    Published("SS-GL", "9-11-176-13-16", 1.16, 5_415, 290_656, _GROUP_LOGS),
    Published("SS-GHS", "14-7-112-13-15", 1.02, 4_660, 360_201, _GROUP_LOGS),
    Published("dense Bayesian", "20-50-800-800-500", 0.96, 1_071_880, 2_933_000, _LOGS, note=_BEST.format(0.63)),
)
_FASHION_LENET = (
    Published("SS-IG", "18-5-80-42-32", 12.46, 7_831, 408_224, _LOGS, note=_BEST.format(9.99)),
    Published("dense Bayesian", "20-50-800-800-500", 9.52, 1_071_880, 2_933_000, _LOGS, note=_BEST.format(8.40)),
)
_BMRS_LENET5 = (
    Published("BMRS_N", "-", 4.41, 8_083, None, _BMRS, note="± 0.94, 86.9 % of 61,706 parameters removed"),
    Published("BMRS_U-4", "-", 3.34, 7_652, None, _BMRS, note="± 0.59, 87.6 % removed"),
    Published("dense", "6-16-400-120-84", 0.93, 61_706, 416_520, _BMRS, note="± 0.09"),
)
_BMRS_MLP = (Published("BMRS", "-", 3.05, None, None, _BMRS, note="48.9 % of the parameters removed"),)

PUBLISHED: Mapping[str, Sequence[Published]] = {
    "mnist-mlp": _MNIST_MLP,
    "fashion-mlp": _FASHION_MLP,
    "mnist-lenet": _MNIST_LENET,
    "fashion-lenet": _FASHION_LENET,
    "bmrs-lenet5": _BMRS_LENET5,
    "bmrs-mlp": _BMRS_MLP,
    "lenet300": MLP,
    "lenet5": LENET5,
}
"""By the parts of the study."""
