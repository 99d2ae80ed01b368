"""Data from a user's own loaders."""

from typing import Any

import numpy as np
from torch.utils.data import DataLoader

from bayesprune.data.build import check_names
from bayesprune.data.examples import Examples, check_alike
from bayesprune.data.inputs import AnyNormalisation, InputSpec, identity_for
from bayesprune.data.loaders import LoaderSplit, as_numbers
from bayesprune.data.normalisation import IDENTITY
from bayesprune.data.value import Data, take_fingerprint
from bayesprune.tasks import Classification, Task, task_for


def from_loaders(
    train: "DataLoader[Any]",
    validation: "DataLoader[Any]",
    test: "DataLoader[Any]",
    *,
    classes: int | None = None,
    task: Task | str | None = None,
    name: str = "loaders",
    normalisation: AnyNormalisation | None = None,
) -> Data:
    """Data from a user's own loaders, whose batch sizes and transforms stay theirs.

    Every loader is read once here, for shapes, checks and the fingerprint: the hash of what one pass gives. The
    training loader is read twice where its targets must tell what the task is.

    Args:
        train: gives pairs (inputs, targets [B, ...]); inputs are a tensor [B, ...], or a tuple or dict of such.
        validation: likewise.
        test: likewise.
        classes: number of classes; labels are 0 .. classes - 1. None to take it from the training targets.
        task: see `from_tensors`.
        name: what tables call the data.
        normalisation: applied in float64 to what the loaders give; None where their transforms normalise.

    Raises:
        DataError: a loader without length or examples, batches that are no pairs of tensors, targets that do not fit
            the task, inputs whose differences float32 cannot hold.
    """
    check_names(name, classes)
    loaders = {"train": train, "validation": validation, "test": test}
    kept = IDENTITY if normalisation is None else normalisation
    first_inputs, _ = next(_split(train, "train", None, kept).batches(1))
    chosen = identity_for(first_inputs) if normalisation is None else normalisation
    learnt = _task(task, classes, _split(train, "train", None, chosen), InputSpec.of(first_inputs), name)
    splits = {key: _split(loader, key, learnt, chosen) for key, loader in loaders.items()}
    first = {key: Examples(*next(split.batches(1))) for key, split in splits.items()}
    for key, examples in first.items():
        check_alike(examples, first["train"], splits[key].name)
    passes = {key: split.batches(1) for key, split in splits.items()}
    fingerprint = take_fingerprint(name, passes, learnt, None)
    spec = InputSpec.of(first["train"].inputs)
    return Data(name, splits["train"], splits["validation"], splits["test"], spec, learnt, chosen, fingerprint)


def _split(loader: "DataLoader[Any]", key: str, task: Task | None, normalisation: AnyNormalisation) -> LoaderSplit:
    return LoaderSplit(loader, task=task, name=f"the {key} loader", normalisation=normalisation)


def _task(wanted: Task | str | None, classes: int | None, train: LoaderSplit, spec: InputSpec, name: str) -> Task:
    """The task; the training targets are read where neither it nor the number of classes is known."""
    if classes is not None and wanted in (None, Classification.name):
        return Classification(classes)
    if isinstance(wanted, Task) and not wanted.unfitted:
        return wanted
    targets = np.concatenate([as_numbers(labels) for _, labels in train.batches(1)])
    where = f"the training split of {name}"
    return task_for(wanted, targets, spec.shape, where, classes).refitted(targets, where)
