"""The data value: three splits, what their inputs look like, and how they were normalised."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from hashlib import blake2b

from torch import Tensor

from bayesprune.data.examples import Examples
from bayesprune.data.normalisation import Normalisation
from bayesprune.data.splits import Split


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
        fingerprint: short hash of kind, split seed, normalisation and all content: equal for equal data on every
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


def take_fingerprint(
    name: str,
    splits: Mapping[str, Iterable[tuple[Tensor, Tensor]]],
    classes: int,
    seed: int | None,
    normalisation: Normalisation | None = None,
) -> str:
    """Hash of all inputs and labels: 16 hexadecimal digits.

    Of a name like "npz:FILE" only the kind counts, so that a moved file is the same data.

    Args:
        name: of the data.
        splits: batches of (inputs, labels) by the name of the split; where a batch ends counts.
        classes: number of classes.
        seed: that split them, if one did.
        normalisation: where the user chose it; what follows from the training split need not be given.
    """
    chosen = None if normalisation is None else asdict(normalisation)
    head = {"kind": name.partition(":")[0], "classes": classes, "seed": seed, "normalisation": chosen}
    digest = blake2b(json.dumps(head, sort_keys=True).encode(), digest_size=8)
    for split, batches in splits.items():
        for inputs, labels in batches:
            digest.update(f"{split} {list(inputs.shape)} {inputs.dtype}".encode())
            for tensor in (inputs, labels):
                digest.update(tensor.contiguous().numpy().data)
    return digest.hexdigest()


def whole(examples: Examples) -> Iterable[tuple[Tensor, Tensor]]:
    """A split in memory as the one batch that `take_fingerprint` hashes."""
    return [(examples.inputs, examples.labels)]
