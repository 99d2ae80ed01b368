"""From raw examples, tensors or loaders to a `Data` value: checks, splits, normalisation, fingerprint."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bayesprune.data.examples import Examples, RawData, check_alike, named_columns, to_examples
from bayesprune.data.inputs import AnyNormalisation, InputSpec, fitted_normalisation
from bayesprune.data.normalisation import Normalisation
from bayesprune.data.partition import split_off
from bayesprune.data.splits import TensorSplit
from bayesprune.data.value import Data, take_fingerprint, whole
from bayesprune.errors import DataError, SettingError, a_kind
from bayesprune.tasks import TASKS, Task, suggested, task_for
from bayesprune.tasks.weights import class_weights_of

_TEST_SHARE, _VALIDATION_SHARE = 0.2, 0.1
_LONG = {"train": "the training split", "validation": "the validation split", "test": "the test split"}


def from_tensors(
    inputs: Any,
    labels: Any,
    *,
    validation: tuple[Any, Any] | int | None = None,
    test: tuple[Any, Any] | int | None = None,
    classes: int | None = None,
    task: Task | str | None = None,
    class_weights: Sequence[float] | Mapping[int, float] | str | None = None,
    example_weights: Any = None,
    name: str = "tensors",
    seed: int = 0,
    normalisation: AnyNormalisation | None = None,
) -> Data:
    """Data from tensors or numpy arrays in memory.

    Args:
        inputs: [N, ...] training inputs, pictures as [N, C, H, W]; or a tuple or dict of such for a network with
            several inputs. uint8 is scaled to [0, 1], other whole numbers are tokens (or indices) and stay what they
            are, and floats are normalised.
        labels: targets of the training inputs: classes [N], numbers [N] or [N, K], tags [N, K] of 0 and 1, or a class
            for each position [N, ...].
        validation: (inputs, labels), or how many examples to split off the training ones; None for 10 % of
            those given.
        test: likewise; None for 20 %.
        classes: number of classes; None for the largest training label + 1.
        task: "classification", "binary", "multi-label", "regression", "counts", "segmentation", or a task of your own
            (`bayesprune.OwnTask`); None for the one that the targets suggest.
        class_weights: what an error in each class counts in training, or "balanced" for the inverse of how frequent
            classes are; scaled so that the mean over the training examples is 1.
        example_weights: [N], what each training example counts (or [N, K], each target); scaled likewise.
        name: what tables call the data.
        seed: decides which examples are split off, stratified over classes.
        normalisation: None for mean and deviation of the training split.

    Raises:
        DataError: shapes or lengths that do not fit, values that are not finite, targets that do not fit the task, one
            class only.
        SettingError: class weights that do not fit.
    """
    check_names(name, classes)
    given, counts = {}, {}
    for key, split in (("validation", validation), ("test", test)):
        given[key], counts[key] = _pair_or_count(key, split)
    features, inputs = named_columns(inputs)
    train = to_examples(inputs, labels, _LONG["train"], example_weights)
    raw = RawData(name, train, given["validation"], given["test"], classes=classes, task=task, features=features)
    return assemble(raw, **counts, seed=seed, normalisation=normalisation, class_weights=class_weights)


def _pair_or_count(key: str, split: Any) -> tuple[Examples | None, int | None]:
    """Examples of a split that is given, or how many to split off.

    Raises:
        SettingError: it is neither.
    """
    if isinstance(split, tuple | list) and len(split) == 2:
        return to_examples(split[0], split[1], _LONG[key]), None
    if split is None or (isinstance(split, int | np.integer) and not isinstance(split, bool)):
        return None, None if split is None else int(split)
    shown = repr(split) if isinstance(split, bool | float | str) else a_kind(split)
    raise SettingError(
        f"{key} is {shown}: give a pair (inputs, labels), or the number of training examples to split off"
    )


def assemble(
    raw: RawData,
    *,
    validation: int | None,
    test: int | None = None,
    seed: int,
    normalisation: AnyNormalisation | None = None,
    class_weights: Sequence[float] | Mapping[int, float] | str | None = None,
) -> Data:
    """Check raw data, split off what is missing, normalise, and take the fingerprint.

    Args:
        raw: what a source read.
        validation: examples to split off for validation where the source has no such split; None for a share.
        test: likewise for the test split.
        seed: decides which examples are split off.
        normalisation: None for mean and deviation of the training split.
        class_weights: see `from_tensors`.

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
    spec = InputSpec.of(splits["train"].inputs)
    for key, examples in splits.items():
        check_alike(examples, splits["train"], _LONG[key])
    task = _task(raw, splits["train"], spec)
    targets = {key: task.targets(examples.labels.numpy(), _LONG[key]) for key, examples in splits.items()}
    drawn = seed if raw.validation is None or raw.test is None else None
    weights = class_weights_of(class_weights, task, targets["train"], splits["train"].weights)
    contents = {key: whole(replace(examples, weights=None)) for key, examples in splits.items()}
    if weights is not None:
        contents["train"] = whole(replace(splits["train"], weights=weights))
    fingerprint = take_fingerprint(raw.name, contents, task, drawn, normalisation)
    chosen = _completed(normalisation, splits["train"])
    ready = {key: TensorSplit(chosen.apply(examples.inputs), targets[key]) for key, examples in splits.items()}
    ready["train"].weights = weights
    return Data(
        raw.name,
        ready["train"],
        ready["validation"],
        ready["test"],
        InputSpec.of(ready["train"].inputs),
        task,
        chosen,
        fingerprint,
        raw.features,
        raw.class_names,
    )


def _completed(normalisation: AnyNormalisation | None, train: Examples) -> AnyNormalisation:
    """The normalisation that is chosen, which remembers the type of raw inputs, or the usual one."""
    if normalisation is None:
        return fitted_normalisation(train.inputs)
    if isinstance(normalisation, Normalisation) and isinstance(train.inputs, Tensor):
        return replace(normalisation, dtype=str(train.inputs.dtype).removeprefix("torch."))
    return normalisation


def _task(raw: RawData, train: Examples, spec: InputSpec) -> Task:
    """The task that the training targets pose; classes are counted before any example is split off."""
    whole_split = f"the training split of {raw.name}"
    labels = raw.train.labels.numpy()
    task = task_for(raw.task, labels, spec.shape, whole_split, raw.classes)
    if raw.class_names and not task.has_classes:
        raise DataError(
            f"the targets of {raw.name} are classes ({', '.join(raw.class_names[:5])}), and the task is {task.name!r}: "
            "leave the task out, or name a target of numbers"
        )
    if task.has_classes:
        type(task).fitted(train.labels.numpy(), whole_split, task.outputs)  # at least two classes are left
        return task
    return task.refitted(train.labels.numpy(), whole_split)


def _complete(raw: RawData, validation: int | None, test: int | None, seed: int) -> dict[str, Examples]:
    """All three splits; shares are of the training examples handed in."""
    train, given = raw.train, len(raw.train)
    by_class = _has_classes(raw)
    if raw.test is None:
        train, tested = _cut(train, round(_TEST_SHARE * given) if test is None else test, seed, "test", by_class)
    else:
        tested = raw.test
    if raw.validation is None:
        count = round(_VALIDATION_SHARE * given) if validation is None else validation
        train, chosen = _cut(train, count, seed, "validation", by_class)
    else:
        chosen = raw.validation
    return {"train": train, "validation": chosen, "test": tested}


def _has_classes(raw: RawData) -> bool:
    """Whether every example has one class, so that splits can be stratified."""
    labels = raw.train.labels
    if labels.dtype != torch.int64 or labels.numel() != len(labels):
        return False
    name = raw.task or suggested(labels.numpy(), None)
    return name.has_classes if isinstance(name, Task) else name in TASKS and TASKS[name].has_classes


def _cut(examples: Examples, count: int, seed: int, what: str, by_class: bool) -> tuple[Examples, Examples]:
    labels = examples.labels.flatten().numpy() if by_class else np.zeros(len(examples), dtype=np.int64)
    stays, taken = split_off(labels, count, seed, what)
    return examples.take(stays), examples.take(taken)


def check_names(name: Any, classes: Any) -> None:
    """Refuse an empty name, and a number of classes that is none.

    Raises:
        DataError: naming it.
    """
    if not (isinstance(name, str) and name):
        raise DataError(f"the data's name is {name!r}: give some text")
    number = isinstance(classes, int | np.integer) and not isinstance(classes, bool)
    if classes is not None and not (number and classes >= 2):
        raise DataError(f"{classes!r} classes: give a whole number; at least 2 are needed to classify")
