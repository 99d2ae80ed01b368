"""Raw inputs of a user's, prepared as the training inputs of a run were."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from bayesprune.batches import Batch, named_parts
from bayesprune.data.examples import to_examples
from bayesprune.data.inputs import AnyNormalisation, InputSpec, form_of
from bayesprune.errors import DataError, StoreError

NO_NORMALISATION = (
    "this run was made by version 0.1.0, which did not keep what was done to the inputs: call network(prepared inputs)"
)


def prepared_inputs(raw: Any, spec: InputSpec, normalisation: AnyNormalisation | None) -> Batch:
    """Raw inputs [N, ...] as the network takes them.

    Raises:
        DataError: they are no numbers, not finite, or of another form than the training inputs.
        StoreError: what was done to the training inputs is not known.
    """
    if normalisation is None:
        raise StoreError(NO_NORMALISATION)
    where = "this call"
    rows = _rows(raw)
    checked = to_examples(raw, torch.zeros(rows, dtype=torch.int64), where).inputs
    if form_of(checked) != spec.form or named_parts(checked).keys() != spec.shapes.keys():
        raise DataError(
            f"the inputs of {where} are a {form_of(checked)}, and those of the run a {spec.form} of {spec.shape}"
        )
    for name, part in named_parts(checked).items():
        if tuple(part.shape[1:]) != spec.shapes[name]:
            raise DataError(
                f"the inputs{name and f' {name!r}'} of {where} have shape {list(part.shape[1:])}, those of the run "
                f"{list(spec.shapes[name])}"
            )
        if not part.is_floating_point() and part.dtype == torch.int64 and spec.dtypes[name] != "int64":
            raise DataError(
                f"the inputs{name and f' {name!r}'} are whole numbers, those of the run floats: give floats"
            )
        if part.is_floating_point() and spec.dtypes[name] == "int64":
            raise DataError(
                f"the inputs{name and f' {name!r}'} are floats, those of the run whole numbers: give integers"
            )
    return normalisation.apply(checked)


@contextmanager
def clear_refusal() -> Iterator[None]:
    """Say in one line what a network does not take.

    Raises:
        DataError: such as tokens beyond its vocabulary.
    """
    try:
        yield
    except (IndexError, RuntimeError) as error:
        said = " ".join(str(error).split())[:200]
        raise DataError(
            f"the network cannot take these inputs ({type(error).__name__}: {said}): give inputs like those that it "
            "was trained on; tokens must lie below the size of its vocabulary"
        ) from error


def _rows(raw: Any) -> int:
    """Examples in raw inputs of any form."""
    first = next(iter(raw.values())) if isinstance(raw, dict) else raw[0] if isinstance(raw, tuple) and raw else raw
    try:
        return len(first)
    except TypeError:
        return 0
