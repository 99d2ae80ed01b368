"""Published rows that pruned LeNets are compared with; nothing in this file was measured here.

Parameters and MACs are those of the printed architectures as plain dense networks (biases in parameters only), not
printed ones; a test counts them again.
"""

from collections.abc import Sequence

from bayesprune.experiments.papers.published import REMEMBERED, Published

_EVCI, _LOUIZOS, _TANG = "Evci et al.", "Louizos et al.", "Tang et al."
NOTES = (
    "Sources: Evci et al., Rigging the lottery, arXiv 1911.11134, Table 2; Louizos et al., the paper on L0 "
    "regularisation, Table 1; Tang et al., FLOPs as a direct optimization objective, the LeNet-5-Caffe table.",
    "The public code of SBP, L0 and VIB reports the best test error seen in training (so Evci et al., arXiv "
    "1911.11134); ours are those of the last epoch.",
    "Parameters and MACs of published rows are counted from their printed architectures as plain dense networks; "
    "FLOPs that Tang et al. print stand in the source column. RigL's networks are unstructured, so that their "
    "architecture does not tell their cost.",
    f"What is marked “{REMEMBERED}” was quoted from memory: check it against the source before use.",
)

MLP: Sequence[Published] = (
    Published("SBP", "245-160-55", 1.6, 48_775, 48_550, _EVCI, note=f"started from 784-500-300 ({REMEMBERED})"),
    Published("L0", "266-88-33", 1.6, 26_773, 26_642, _EVCI, note=f"1.8 in Louizos et al. ({REMEMBERED})"),
    Published("VIB", "97-71-33", 1.6, 9_674, 9_560, _EVCI),
    Published("RigL", "408-100-69", 1.44, None, None, _EVCI, note="87.0 % unstructured; last epoch 1.48"),
    Published("RigL+", "375-62-51", 1.57, None, None, _EVCI, note="88.6 % unstructured; last epoch 1.69"),
    Published("BC-GNJ", "278-98-13", 1.8, 28_769, 28_648, _LOUIZOS, remembered=True),
    Published("BC-GHS", "311-86-14", 1.8, 28_200, 28_090, _LOUIZOS, remembered=True),
    Published("L0, one lambda", "219-214-100", 1.4, 69_590, 69_266, _LOUIZOS, remembered=True),
    Published("Sparse VD", "512-114-72", 1.8, 67_492, 67_296, _LOUIZOS, remembered=True),
)
LENET5: Sequence[Published] = (
    Published("GD", "7-13-208-16", 1.1, 5_984, 249_888, _TANG, note=f"254K printed; label {REMEMBERED}"),
    Published("SBP", "3-18-284-283", 0.9, 84_941, 212_802, _TANG, note="217K printed"),
    Published("BC-GNJ", "8-13-88-13", 1.0, 4_118, 282_874, _TANG, note="290K printed"),
    Published("BC-GHS", "5-10-76-16", 1.0, 2_792, 153_376, _TANG, note="158K printed"),
    Published("L0", "20-25-45-462", 0.9, 38_927, 1_113_410, _TANG, note="1.3M printed, unlike our count"),
    Published("L0, separate lambdas", "9-18-65-25", 1.0, 6_212, 390_675, _TANG, note="403K printed"),
)
PUBLISHED = {"lenet300": MLP, "lenet5": LENET5}
