"""The data value: three splits, what their inputs look like, and how they were normalised."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from bayesprune.data.examples import Examples
from bayesprune.data.normalisation import Normalisation
from bayesprune.data.splits import Split

_SAMPLED = 64


@dataclass(frozen=True, eq=False)
class Data:
    """A data set ready for training.

    Attributes:
        name: what to call it in tables.
        train: the split to learn from.
        validation: the split to choose by.
        test: the split to report.
        input_shape: shape of one input, e.g. (1, 28, 28).
        classes: number of classes; labels are 0 .. classes - 1.
        normalisation: what was applied to the inputs in memory (identity for loaders, which do it
            themselves).
        fingerprint: short hash of kind, sizes, split seed and sampled content: equal for equal data on every
            machine.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    input_shape: tuple[int, ...]
    classes: int
    normalisation: Normalisation
    fingerprint: str

    @property
    def split_sizes(self) -> dict[str, int]:
        """Examples in "train", "validation" and "test"."""
        return {"train": len(self.train), "validation": len(self.validation), "test": len(self.test)}


def take_fingerprint(name: str, splits: Mapping[str, Examples], classes: int, seed: int | None) -> str:
    """Hash of what identifies data: 16 hexadecimal digits.

    All labels count, and up to 64 inputs of every split. Of a name like "npz:FILE" only the kind counts, so
    that a moved file is the same data.
    """
    shapes = {split: [list(examples.inputs.shape), str(examples.inputs.dtype)] for split, examples in splits.items()}
    head = {"kind": name.partition(":")[0], "splits": shapes, "classes": classes, "seed": seed}
    digest = hashlib.sha256(json.dumps(head, sort_keys=True).encode())
    for examples in splits.values():
        spread = torch.linspace(0, len(examples) - 1, min(_SAMPLED, len(examples))).long()
        digest.update(examples.labels.contiguous().numpy().tobytes())
        digest.update(examples.inputs.index_select(0, spread).contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
