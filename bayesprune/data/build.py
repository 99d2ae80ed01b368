"""From raw examples, tensors or loaders to a `Data` value: checks, splits, normalisation, fingerprint."""

from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor
from torch.utils.data import DataLoader

from bayesprune.data.examples import Examples, RawData, check_alike, check_labels, to_examples
from bayesprune.data.loaders import LoaderSplit
from bayesprune.data.normalisation import IDENTITY, Normalisation, fit_normalisation, to_unit_scale
from bayesprune.data.partition import split_off
from bayesprune.data.splits import TensorSplit
from bayesprune.data.value import Data, take_fingerprint, whole
from bayesprune.errors import DataError, SettingError

Numbers = Tensor | npt.NDArray[np.generic]
_TEST_SHARE, _VALIDATION_SHARE = 0.2, 0.1
_LONG = {"train": "the training split", "validation": "the validation split", "test": "the test split"}


def from_tensors(
    inputs: Numbers,
    labels: Numbers,
    *,
    validation: tuple[Numbers, Numbers] | int | None = None,
    test: tuple[Numbers, Numbers] | int | None = None,
    classes: int | None = None,
    name: str = "tensors",
    seed: int = 0,
    normalisation: Normalisation | None = None,
) -> Data:
    """Data from tensors or numpy arrays in memory.

    Args:
        inputs: [N, ...] training inputs, pictures as [N, C, H, W]; uint8 is scaled to [0, 1].
        labels: [N] integers 0 .. classes - 1.
        validation: (inputs, labels), or how many examples to split off the training ones; None for 10 % of
            those given.
        test: likewise; None for 20 %.
        classes: number of classes; None for the largest training label + 1.
        name: what tables call the data.
        seed: decides which examples are split off, stratified over classes.
        normalisation: None for mean and deviation of the training split.

    Raises:
        DataError: shapes or lengths that do not fit, values that are not finite, labels out of range, one
            class only.
    """
    raw = RawData(
        name,
        to_examples(inputs, labels, _LONG["train"]),
        to_examples(*validation, _LONG["validation"]) if isinstance(validation, tuple) else None,
        to_examples(*test, _LONG["test"]) if isinstance(test, tuple) else None,
        classes,
    )
    counts = [None if isinstance(split, tuple) else split for split in (validation, test)]
    return assemble(raw, validation=counts[0], test=counts[1], seed=seed, normalisation=normalisation)


def from_loaders(
    train: "DataLoader[Any]",
    validation: "DataLoader[Any]",
    test: "DataLoader[Any]",
    *,
    classes: int,
    name: str = "loaders",
) -> Data:
    """Data from a user's own loaders, whose batch sizes and transforms stay theirs.

    Every loader is read once here, for shapes, checks and the fingerprint: the hash of what one pass gives.

    Raises:
        DataError: a loader without length or examples, batches that are no pairs of tensors, labels out of
            range.
    """
    if classes < 2:
        raise DataError(f"{classes} classes: at least 2 are needed to classify")
    loaders = {"train": train, "validation": validation, "test": test}
    splits = {key: LoaderSplit(loader, classes=classes, name=f"the {key} loader") for key, loader in loaders.items()}
    first = {key: Examples(*next(split.batches(1))) for key, split in splits.items()}
    for key, examples in first.items():
        check_alike(examples, first["train"], splits[key].name)
    passes = {key: split.batches(1) for key, split in splits.items()}
    fingerprint = take_fingerprint(name, passes, classes, None)
    shape = tuple(first["train"].inputs.shape[1:])
    return Data(name, splits["train"], splits["validation"], splits["test"], shape, classes, IDENTITY, fingerprint)


def assemble(
    raw: RawData,
    *,
    validation: int | None,
    test: int | None = None,
    seed: int,
    normalisation: Normalisation | None = None,
) -> Data:
    """Check raw data, split off what is missing, normalise, and take the fingerprint.

    Args:
        raw: what a source read.
        validation: examples to split off for validation where the source has no such split; None for a share.
        test: likewise for the test split.
        seed: decides which examples are split off.
        normalisation: None for mean and deviation of the training split.

    Raises:
        DataError: data that cannot be learned from.
        SettingError: a size asked for a split that the source comes with.
    """
    for wish, given, key in ((validation, raw.validation, "validation"), (test, raw.test, "test")):
        if wish is not None and given is not None and wish != len(given):
            raise SettingError(
                f"{raw.name} comes with a {key} split of {len(given):,}; {key}={wish} cannot be had: leave it out"
            )
    splits = _complete(raw, validation, test, seed)
    classes = _classes(raw)
    for key, examples in splits.items():
        check_alike(examples, splits["train"], _LONG[key])
        check_labels(examples, classes, _LONG[key])
    if len(splits["train"].labels.unique()) < 2:
        raise DataError(f"the training split of {raw.name} holds one class only; at least 2 are needed to classify")
    drawn = seed if raw.validation is None or raw.test is None else None
    contents = {key: whole(examples) for key, examples in splits.items()}
    fingerprint = take_fingerprint(raw.name, contents, classes, drawn, normalisation)
    normalisation = normalisation or fit_normalisation(splits["train"])
    ready = {key: _normalised(examples, normalisation) for key, examples in splits.items()}
    shape = tuple(splits["train"].inputs.shape[1:])
    return Data(
        raw.name,
        ready["train"],
        ready["validation"],
        ready["test"],
        shape,
        classes,
        normalisation,
        fingerprint,
    )


def _complete(raw: RawData, validation: int | None, test: int | None, seed: int) -> dict[str, Examples]:
    """All three splits; shares are of the training examples handed in."""
    train, given = raw.train, len(raw.train)
    if raw.test is None:
        train, tested = _cut(train, round(_TEST_SHARE * given) if test is None else test, seed, "test")
    else:
        tested = raw.test
    if raw.validation is None:
        train, chosen = _cut(
            train, round(_VALIDATION_SHARE * given) if validation is None else validation, seed, "validation"
        )
    else:
        chosen = raw.validation
    return {"train": train, "validation": chosen, "test": tested}


def _cut(examples: Examples, count: int, seed: int, what: str) -> tuple[Examples, Examples]:
    stays, taken = split_off(examples.labels.numpy(), count, seed, what)
    return examples.take(stays), examples.take(taken)


def _classes(raw: RawData) -> int:
    """The number of classes, refused where labels look like identifiers and not like classes."""
    largest = int(raw.train.labels.max())
    if raw.classes is None and largest >= len(raw.train):
        raise DataError(
            f"the largest label of {raw.name} is {largest} but there are only {len(raw.train):,} training "
            "examples; "
            "number the classes 0, 1, 2, ..."
        )
    return largest + 1 if raw.classes is None else raw.classes


def _normalised(examples: Examples, normalisation: Normalisation) -> TensorSplit:
    return TensorSplit(normalisation.apply(to_unit_scale(examples.inputs)), examples.labels)
