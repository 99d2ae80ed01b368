"""The data value: three splits, what their inputs and targets look like, and how they were normalised."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from hashlib import blake2b
from typing import Any

from torch import Tensor

from bayesprune.batches import parts
from bayesprune.data.examples import Examples
from bayesprune.data.inputs import AnyNormalisation, InputSpec
from bayesprune.data.normalisation import Normalisation
from bayesprune.data.splits import Split
from bayesprune.tasks import Classification, Task


@dataclass(frozen=True, eq=False)
class Data:
    """A data set ready for training.

    Attributes:
        name: what to call it in tables.
        train: the split to learn from.
        validation: the split to choose by.
        test: the split to report.
        inputs: what one input looks like.
        task: what is to be learnt.
        normalisation: what was applied to the inputs in memory (identity for loaders, which do it
            themselves).
        fingerprint: short hash of kind, split seed, normalisation and all content: equal for equal data on every
            machine.
        features: names of the input's features, where it has them.
        class_names: of the classes in their order, where they have any.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    inputs: InputSpec
    task: Task
    normalisation: AnyNormalisation
    fingerprint: str
    features: tuple[str, ...] = ()
    class_names: tuple[str, ...] = ()

    @property
    def input_shape(self) -> Any:
        """Shape of one input, e.g. (1, 28, 28); for several tensors a tuple or dict of shapes."""
        return self.inputs.shape

    @property
    def classes(self) -> int:
        """Number of classes; for other tasks of the outputs that a network must have."""
        return self.task.outputs

    @property
    def split_sizes(self) -> dict[str, int]:
        """Examples in "train", "validation" and "test"."""
        return {"train": len(self.train), "validation": len(self.validation), "test": len(self.test)}


def take_fingerprint(
    name: str,
    splits: Mapping[str, Iterable[tuple[Any, Any]]],
    task: Task,
    seed: int | None,
    normalisation: AnyNormalisation | None = None,
) -> str:
    """Hash of all inputs and targets: 16 hexadecimal digits.

    Of a name like "npz:FILE" only the kind counts, so that a moved file is the same data.

    Args:
        name: of the data.
        splits: batches of (inputs, targets) by the name of the split; where a batch ends counts.
        task: what is to be learnt.
        seed: that split them, if one did.
        normalisation: where the user chose it; what follows from the training split need not be given.
    """
    chosen = None if normalisation is None else _chosen(normalisation)
    head = {"kind": name.partition(":")[0], "classes": task.outputs, "seed": seed, "normalisation": chosen}
    if not isinstance(task, Classification):
        head["task"] = task.to_json()
    digest = blake2b(json.dumps(head, sort_keys=True).encode(), digest_size=8)
    for split, batches in splits.items():
        for inputs, labels in batches:
            for part in parts(inputs):
                digest.update(f"{split} {list(part.shape)} {part.dtype}".encode())
            for tensor in (*parts(inputs), *parts(labels)):
                digest.update(tensor.contiguous().numpy().data)
    return digest.hexdigest()


def _chosen(normalisation: AnyNormalisation) -> dict[str, Any]:
    return asdict(normalisation) if isinstance(normalisation, Normalisation) else normalisation.to_json()


def whole(examples: Examples) -> Iterable[tuple[Any, Any]]:
    """A split in memory as the one batch that `take_fingerprint` hashes."""
    weights: tuple[Tensor, ...] = () if examples.weights is None else (examples.weights,)
    return [(examples.inputs, (examples.labels, *weights))]
