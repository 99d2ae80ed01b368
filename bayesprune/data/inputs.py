"""What inputs look like, and what is done to raw ones before a network gets them, for one tensor or several."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from bayesprune.batches import Batch, each, named_parts
from bayesprune.data.normalisation import IDENTITY, Normalisation, fit_normalisation
from bayesprune.errors import DataError

_ALONE, _FORMS = "", ("tensor", "tuple", "dict")


def form_of(batch: Any) -> str:
    """Whether a batch is a "tensor", a "tuple" or a "dict" of tensors."""
    return "tensor" if isinstance(batch, Tensor) else "dict" if isinstance(batch, Mapping) else "tuple"


def formed(form: str, named: Mapping[str, Tensor]) -> Batch:
    """Tensors by name as a batch of a form."""
    if form == "tensor":
        return named[_ALONE]
    return dict(named) if form == "dict" else tuple(named.values())


@dataclass(frozen=True)
class InputSpec:
    """The form of a network's inputs.

    Attributes:
        form: "tensor", "tuple" or "dict".
        shapes: of one example, by the tensor's name ("" for one alone, "0", "1", ... in a tuple).
        dtypes: as the network gets them, such as "float32" or "int64", by name.
    """

    form: str
    shapes: Mapping[str, tuple[int, ...]]
    dtypes: Mapping[str, str]

    @classmethod
    def of(cls, batch: Any) -> "InputSpec":
        """That of a batch."""
        named = named_parts(batch)
        shapes = {name: tuple(part.shape[1:]) for name, part in named.items()}
        return cls(form_of(batch), shapes, {name: _name(part.dtype) for name, part in named.items()})

    @property
    def shape(self) -> Any:
        """The shape of one example: a tuple of sizes; for several tensors a tuple or dict of such."""
        if self.form == "tensor":
            return self.shapes[_ALONE]
        return dict(self.shapes) if self.form == "dict" else tuple(self.shapes.values())

    @property
    def plain_shape(self) -> Any:
        """`shape` with lists in place of tuples, as JSON has them."""
        shapes = {name: list(shape) for name, shape in self.shapes.items()}
        if self.form == "tensor":
            return shapes[_ALONE]
        return shapes if self.form == "dict" else list(shapes.values())

    def zeros(self, count: int = 1) -> Batch:
        """So many examples of nothing but 0."""
        named = {
            name: torch.zeros(count, *shape, dtype=getattr(torch, self.dtypes[name]))
            for name, shape in self.shapes.items()
        }
        return formed(self.form, named)

    def random(self, count: int = 8) -> Batch:
        """So many examples of normal numbers (tokens: 0), the same ones each time."""
        generator = torch.Generator().manual_seed(0)

        def fill(part: Tensor) -> Tensor:
            drawn = torch.randn(part.shape, generator=generator)
            return drawn.to(part.dtype) if part.is_floating_point() else part

        filled: Batch = each(fill, self.zeros(count))
        return filled

    def to_json(self) -> dict[str, Any]:
        """As in run.json."""
        return {
            "form": self.form,
            "parts": [[name, list(shape), self.dtypes[name]] for name, shape in self.shapes.items()],
        }

    @classmethod
    def from_json(cls, document: Any) -> "InputSpec":
        """What `to_json` wrote.

        Raises:
            ValueError: it is damaged.
        """
        try:
            rows = [
                (str(name), tuple(int(size) for size in shape), str(dtype)) for name, shape, dtype in document["parts"]
            ]
            spec = cls(str(document["form"]), {n: s for n, s, _ in rows}, {n: d for n, _, d in rows})
        except (LookupError, TypeError, ValueError) as error:
            raise ValueError("inputs") from error
        known = all(dtype in _DTYPES for dtype in spec.dtypes.values())
        sized = all(0 < size < 2**31 for shape in spec.shapes.values() for size in shape)
        if (
            spec.form not in _FORMS
            or not rows
            or not known
            or not sized
            or (spec.form == "tensor") != (_ALONE in spec.shapes)
        ):
            raise ValueError("inputs")
        return spec


_DTYPES = ("float16", "bfloat16", "float32", "float64", "int64", "uint8")


@dataclass(frozen=True)
class Normalisations:
    """A normalisation for each of several input tensors; tokens have the identity.

    Attributes:
        form: "tuple" or "dict".
        by_name: by the tensor's name.
    """

    form: str
    by_name: Mapping[str, Normalisation]

    def apply(self, inputs: Batch) -> Batch:
        """Raw inputs as the network takes them; see `Normalisation.apply`."""
        return self._changed(inputs, "apply")

    def in_float64(self, inputs: Batch) -> Batch:
        """See `Normalisation.in_float64`."""
        return self._changed(inputs, "in_float64")

    def undo(self, inputs: Batch) -> Batch:
        """What `apply` was given; see `Normalisation.undo`."""
        return self._changed(inputs, "undo")

    def _changed(self, inputs: Batch, how: str) -> Batch:
        named = named_parts(inputs)
        if named.keys() != self.by_name.keys():
            raise DataError(f"inputs {list(named)} do not fit data with the inputs {list(self.by_name)}")
        return formed(self.form, {name: getattr(self.by_name[name], how)(part) for name, part in named.items()})

    def to_json(self) -> dict[str, Any]:
        """As in run.json."""
        return {"form": self.form, "each": [[name, one.to_json()] for name, one in self.by_name.items()]}


AnyNormalisation: TypeAlias = Any
"""A `Normalisation`, or `Normalisations` where there are several inputs."""


def fitted_normalisation(inputs: Batch) -> AnyNormalisation:
    """Mean and deviation of every tensor of the training inputs; whole numbers are tokens and stay what they are."""
    named = {name: _fitted(part) for name, part in named_parts(inputs).items()}
    return named[_ALONE] if isinstance(inputs, Tensor) else Normalisations(form_of(inputs), named)


def identity_for(inputs: Batch) -> AnyNormalisation:
    """What leaves inputs as they are."""
    named = {name: Normalisation((0.0,), (1.0,), _name(part.dtype)) for name, part in named_parts(inputs).items()}
    return named[_ALONE] if isinstance(inputs, Tensor) else Normalisations(form_of(inputs), named)


def normalisation_from_json(document: Any) -> AnyNormalisation | None:
    """What `to_json` of either kind wrote; None for anything else."""
    if not (isinstance(document, Mapping) and "each" in document):
        return Normalisation.from_json(document)
    try:
        named = {str(name): Normalisation.from_json(one) for name, one in document["each"]}
    except (TypeError, ValueError):
        return None
    found = {name: one for name, one in named.items() if one is not None}
    form = str(document.get("form"))
    return Normalisations(form, found) if found and len(found) == len(named) and form in _FORMS[1:] else None


def _fitted(part: Tensor) -> Normalisation:
    if part.is_floating_point() or part.dtype == torch.uint8:
        return fit_normalisation(part)
    return Normalisation(IDENTITY.mean, IDENTITY.std, _name(part.dtype))


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
