"""From raw examples, tensors or loaders to a `Data` value: checks, splits, normalisation, fingerprint."""

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor
from torch.utils.data import DataLoader

from bayesprune.data.examples import Examples, RawData, check_alike, check_labels, to_examples
from bayesprune.data.loaders import LoaderSplit
from bayesprune.data.normalisation import IDENTITY, Normalisation, fit_normalisation
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
    _check_names(name, classes)
    given, counts = {}, {}
    for key, split in (("validation", validation), ("test", test)):
        given[key], counts[key] = _pair_or_count(key, split)
    raw = RawData(name, to_examples(inputs, labels, _LONG["train"]), **given, classes=classes)
    return assemble(raw, **counts, seed=seed, normalisation=normalisation)


def _pair_or_count(key: str, split: Any) -> tuple[Examples | None, int | None]:
    """Examples of a split that is given, or how many to split off.

    Raises:
        SettingError: it is neither.
    """
    if isinstance(split, tuple | list) and len(split) == 2:
        return to_examples(split[0], split[1], _LONG[key]), None
    if split is None or (isinstance(split, int | np.integer) and not isinstance(split, bool)):
        return None, None if split is None else int(split)
    shown = repr(split) if isinstance(split, bool | float | str) else f"a {type(split).__name__}"
    raise SettingError(
        f"{key} is {shown}: give a pair (inputs, labels), or the number of training examples to split off"
    )


def from_loaders(
    train: "DataLoader[Any]",
    validation: "DataLoader[Any]",
    test: "DataLoader[Any]",
    *,
    classes: int,
    name: str = "loaders",
    normalisation: Normalisation | None = None,
) -> Data:
    """Data from a user's own loaders, whose batch sizes and transforms stay theirs.

    Every loader is read once here, for shapes, checks and the fingerprint: the hash of what one pass gives.

    Args:
        train: gives pairs (inputs [B, ...], labels [B]).
        validation: likewise.
        test: likewise.
        classes: number of classes; labels are 0 .. classes - 1.
        name: what tables call the data.
        normalisation: applied in float64 to what the loaders give; None where their transforms normalise.

    Raises:
        DataError: a loader without length or examples, batches that are no pairs of tensors, labels out of
            range, inputs whose differences float32 cannot hold.
    """
    _check_names(name, classes)
    normalisation = normalisation or IDENTITY
    loaders = {"train": train, "validation": validation, "test": test}
    splits = {
        key: LoaderSplit(loader, classes=classes, name=f"the {key} loader", normalisation=normalisation)
        for key, loader in loaders.items()
    }
    first = {key: Examples(*next(split.batches(1))) for key, split in splits.items()}
    for key, examples in first.items():
        check_alike(examples, first["train"], splits[key].name)
    passes = {key: split.batches(1) for key, split in splits.items()}
    fingerprint = take_fingerprint(name, passes, classes, None)
    shape = tuple(first["train"].inputs.shape[1:])
    return Data(name, splits["train"], splits["validation"], splits["test"], shape, classes, normalisation, fingerprint)


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
    normalisation = replace(normalisation, dtype=str(splits["train"].inputs.dtype).removeprefix("torch."))
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
    return TensorSplit(normalisation.apply(examples.inputs), examples.labels)


def _check_names(name: Any, classes: Any) -> None:
    """Refuse an empty name, and a number of classes that is none.

    Raises:
        DataError: naming it.
    """
    if not (isinstance(name, str) and name):
        raise DataError(f"the data's name is {name!r}: give some text")
    whole = isinstance(classes, int | np.integer) and not isinstance(classes, bool)
    if classes is not None and not (whole and classes >= 2):
        raise DataError(f"{classes!r} classes: give a whole number; at least 2 are needed to classify")
