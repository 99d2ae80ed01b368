"""A compact network of a record, built anew: the dense one, its groups sliced, its weights filled in."""

from typing import Any

import torch
from torch import Tensor, nn

from bayesprune.errors import BayespruneError, StoreError
from bayesprune.layers.collapse import replay
from bayesprune.run.draw_average import DrawAverage
from bayesprune.run.ensemble import Ensemble
from bayesprune.run.environment import environment
from bayesprune.run.network_arguments import split_arguments
from bayesprune.run.networks import Factory, NetworkSpec
from bayesprune.run.reading_records import inputs_of, task_of
from bayesprune.run.writing_records import AVERAGES
from bayesprune.sections.find import find_sections, with_sections
from bayesprune.sections.value import SUFFIX
from bayesprune.store.runs import RunRecord
from bayesprune.structure import Structure, compact, find
from bayesprune.structure.copying import copied
from bayesprune.structure.find import find_again
from bayesprune.structure.selected_inputs import with_input_gates

_SPREAD = ".spread.index"
"""Ends the name of the places to which a spread layer hands its channels."""


@environment()
def rebuild(
    record: RunRecord, state_dict: dict[str, Tensor], factory: Factory | None = None
) -> tuple[nn.Module, Structure]:
    """Build the compact network of a record: the dense one, its groups sliced, its weights filled in.

    Nothing in the files is executed: the factory is looked up by its registered name, or given by the caller.

    Returns:
        The network, and its groups as they are left.

    Raises:
        StoreError: the record names no factory and none was given, or its parts do not fit together.
    """
    spec = _spec_of(record, factory)
    try:
        network = spec.build(factory)
        replay(network, record.collapsed)
        structure = _structure(network, record, state_dict) if record.groups else Structure((), (), ())
        sizes = {group.name: group.size for group in structure.groups}
        if record.result.keys() & AVERAGES:
            network = _averaging(network, record)
        if sizes != {group["name"]: group["size"] for group in record.groups}:
            raise ValueError(f"its groups are {sizes}")
        kept = {group["name"]: group["kept"] for group in record.groups}
        structure = compact(network, structure, structure.open_from_kept(kept))
        if record.settings.get("precision") == "float64":
            network.double()
        network.load_state_dict(state_dict)
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError, BayespruneError) as error:
        made_by, reason = spec.factory or "the given factory", " ".join(str(error).split())
        raise StoreError(
            f"structure and weights do not fit the network of {made_by}: {reason}; was the run changed?"
        ) from error
    return network.eval(), structure


def _averaging(network: nn.Module, record: RunRecord) -> nn.Module:
    """The network that averages several predictions of such dense networks; its weights are still to be filled in."""
    task, output, result = task_of(record), str(record.settings.get("output", "")), record.result
    if "members" in result:
        return Ensemble([network, *(copied(network) for _ in range(result["members"] - 1))], task, output)
    structure = _structure(network, record)
    return DrawAverage(network, structure, torch.zeros(result["draws"], structure.gate_count), task, output)


def _structure(network: nn.Module, record: RunRecord, state_dict: dict[str, Tensor] | None = None) -> Structure:
    """The groups of a record's network before anything was removed.

    Of layers that are spread the state holds where their channels go.
    """
    example, settings = inputs_of(record).zeros(), record.settings
    keep, inputs = settings["keep"], settings["inputs"]
    flatten = settings["flatten_inputs"]
    if not record.groups:  # an average of draws tells its gates and no groups
        found = find(network, example, keep=keep, inputs=inputs, flatten_inputs=flatten)
        return with_input_gates(network, found, example, keep, inputs)
    names = [group["name"] for group in record.groups]
    sections = [name for name in names if name.endswith(SUFFIX)]
    units = Structure((), (), ())
    if len(sections) < len(names):
        groups = {one["name"]: one.get("counted", ()) for one in record.groups if one["name"] not in sections}
        spread = {name.removesuffix(_SPREAD) for name in state_dict or () if name.endswith(_SPREAD)}
        found = find_again(
            network, example, keep=keep, inputs=inputs, flatten_inputs=flatten, groups=groups, spread=spread
        )
        units = with_input_gates(network, found, example, keep, inputs)
    if not sections:
        return units
    known = {one.name: one for one in find_sections(network, example, check=False).sections}
    missing = [name for name in sections if name not in known]
    if missing:
        raise ValueError(f"it has no sections {missing}")
    return with_sections(units, [known[name] for name in sections])


def _spec_of(record: RunRecord, factory: Factory | None) -> NetworkSpec:
    """How to build the dense network of a record."""
    described = record.settings.get("factory")
    if described is None:
        if factory is None:
            raise StoreError("this network was made by a class of yours: load it with factory=...")
        arguments: dict[str, Any] = {"input_shape": inputs_of(record).plain_shape, "classes": record.classes}
        widths = record.settings.get("widths")
        return NetworkSpec("", arguments if widths is None else arguments | {"widths": widths})
    if not isinstance(described, dict) or not isinstance(described.get("name"), str):
        raise StoreError(f"key 'factory' is {described!r}, which describes no network; the file was changed")
    if factory is None and ":" in split_arguments(described["name"])[0]:
        raise StoreError(f"{described['name']} is code outside this library: load it with factory=...")
    return NetworkSpec(described["name"], described.get("arguments", {}))
