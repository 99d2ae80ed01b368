"""`bayesprune inspect`: every layer of a network, what can go, tied with what, left whole and why."""

from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from bayesprune.experiments.commands.flags import JSON, SIZE, SUBJECT, _integers, _one, _several

if TYPE_CHECKING:
    from bayesprune.data import Data

_CLASSES = 10


def inspect(
    network: str,
    /,
    *,
    data: Annotated[str, _one(SUBJECT)] = "mnist5k",
    shape: Annotated[tuple[int, ...], _several(SUBJECT), Parameter(converter=_integers)] = (),
    classes: Annotated[int, Parameter(group=SUBJECT, converter=_integers)] = _CLASSES,
    widths: Annotated[tuple[int, ...], _several(SUBJECT), Parameter(converter=_integers)] = (),
    weights: Annotated[str | None, _one(SUBJECT)] = None,
    keep: Annotated[tuple[str, ...], _several(SIZE)] = (),
    inputs: Annotated[str, _one(SIZE)] = "auto",
    flatten_inputs: Annotated[bool, Parameter(group=SIZE, negative=(), show_default=False)] = False,
    json: JSON = False,
) -> None:
    """Say of every layer what can be removed, tied with what, or why it stays whole, and what it costs.

    Args:
        network: A name such as lenet5, or package.module:callable for your own.
        data: Whose inputs the network takes.
        shape: Of one input, instead of data: 3 32 32.
        classes: Beside a shape, how many outputs the network has.
        widths: Of the network's layers, where it takes them: 100 50.
        weights: A safetensors file with trained weights.
        keep: Layers whose outputs stay whole.
        inputs: Gates on input features: auto, all or none.
        flatten_inputs: Gates on flattened features as well.
        json: Print one JSON object.
    """
    from bayesprune.experiments.commands.output import answer, answer_object
    from bayesprune.experiments.jobs import build
    from bayesprune.inspection import inspect as look
    from bayesprune.run.prepare import prepared
    from bayesprune.run.settings import RunSettings

    settings = RunSettings(
        "dense", network, data, widths=widths or None, weights=weights, keep=keep, inputs=inputs,
        flatten_inputs=flatten_inputs,
    )  # fmt: skip
    found = _given(shape, classes) if shape else _loaded(data)
    example: Any = next(iter(found.test.batches(2)))[0]
    made = prepared(build(settings, found), example, settings.seed)
    report = look(made, example, keep=settings.keep, inputs=inputs, flatten_inputs=flatten_inputs, name=network)
    if json:
        answer_object({"schema": 1, "data": "" if shape else data} | report.to_json())
    else:
        answer(str(report))


def _loaded(name: str) -> "Data":
    """The data of a name, fetched where they are missing."""
    from bayesprune.experiments.commands.fetching import load_with_bar

    return load_with_bar(name, None)


def _given(shape: tuple[int, ...], classes: int) -> "Data":
    """Noise of a shape, with so many classes.

    Raises:
        SettingError: a number is not above 0.
    """
    import torch

    from bayesprune.data import from_tensors
    from bayesprune.run.settings import check_integer

    for size in shape:
        check_integer("shape", size, 1)
    check_integer("classes", classes, 2)
    inputs = torch.randn(4 * classes, *shape, generator=torch.Generator().manual_seed(0))
    return from_tensors(inputs, torch.arange(4 * classes) % classes)
