"""Settling which groups are exact: those that the network's code does not allow are spread, left whole or refused."""

from collections.abc import Mapping, Set
from dataclasses import dataclass, field

from torch import nn

from bayesprune.batches import Batch
from bayesprune.errors import UnknownNameError
from bayesprune.structure.blame import Blame
from bayesprune.structure.builder import StructureBuilder
from bayesprune.structure.counted import Counts
from bayesprune.structure.groups import Structure
from bayesprune.structure.labels.classes import Classes
from bayesprune.structure.passes import Passes
from bayesprune.structure.refusals import Refusal
from bayesprune.structure.verify import blamed, refused


@dataclass
class Plan:
    """Which groups are collected, and how.

    Attributes:
        keep: names that the user, or a refusal, leaves whole.
        classes: of the network's channels.
        reading: the layers that read the network's input: name, axis of the features and their number.
        flatten_inputs: whether flattened features get gates of their own.
        spread: groups whose writers go on handing out all their channels.
        whole: groups that are left whole after all, with the reason.
        counts: attributes of modules that follow the sizes of groups.
    """

    keep: tuple[str, ...]
    classes: Classes
    reading: list[tuple[str, int, int]]
    flatten_inputs: bool = False
    spread: set[str] = field(default_factory=set)
    whole: dict[str, str] = field(default_factory=dict)
    counts: Counts = field(default_factory=Counts)

    def restrict(self, network: nn.Module, groups: Mapping[str, tuple[str, ...]], spread: Set[str]) -> None:
        """Leave groups of other names whole, and spread those that such layers make.

        Args:
            network: a copy.
            groups: the attributes that follow the size of each, by name.
            spread: layers.
        """
        names = self.collected(network).found_names
        self.whole |= {found: "it is no group of the run" for name, found in names.items() if name not in groups}
        self.counts.of |= {found: groups[name] for name, found in names.items() if groups.get(name)}
        self.spread |= {found.name for found in self.classes.found if {*found.makers} & spread}

    def collected(self, network: nn.Module) -> StructureBuilder:
        """All groups but those that stay."""
        kept, builder = kept_layers(network, self.keep), StructureBuilder(self.classes)
        if "inputs" not in self.keep:
            for layer, feature_axis, features in self.reading:
                builder.add_selection("inputs", "inputs", layer, feature_axis, features)
        for found in self.classes.found:
            if found.whole is None and found.name not in self.whole and not self.classes.writers(found) & kept:
                counted = self.counts.of.get(found.name, ())
                builder.add_channels(found, spread=found.name in self.spread, counted=counted)
        if self.flatten_inputs:
            for layer, features in builder.flattened(network):
                if layer not in kept and f"{layer}.inputs" not in self.keep:
                    builder.add_selection(f"{layer}.inputs", "flatten", layer, -1, features)
        return builder


def settled(
    plan: Plan, network: nn.Module, example: Batch, passes: Passes, refusals: list[Refusal], *, check: bool
) -> Structure:
    """The groups that are exact.

    Args:
        plan: gets what is spread and what stays.
        network: a copy.
        example: inputs [B, ...].
        passes: how to run it.
        refusals: gets why some groups cannot be removed.
        check: whether to compare gated and compact copies.
    """
    while True:
        plan.keep = (*plan.keep, *(refusal.keep for refusal in refusals if refusal.keep not in plan.keep))
        builder = plan.collected(network)
        found, structure, changed = builder.refusals, builder.build(), False
        for blame in blamed(network, structure, example, passes) if not found and check else []:
            name = builder.found_names.get(blame.group.name)
            if name is None or not _is_settled(plan, builder, network, name, blame):
                found.append(refused(blame.group, network))
            changed = True
        new = [refusal for refusal in found if refusal not in refusals]
        refusals += new
        if not new and not changed:
            return structure


def _is_settled(plan: Plan, builder: StructureBuilder, network: nn.Module, name: str, blame: Blame) -> bool:
    """Whether a group to blame could be spread, or is left whole because of the network's code."""
    spreads = name not in plan.spread and builder.can_spread(network, name)
    if spreads and not builder.is_normalised(name):
        plan.spread.add(name)
        return True
    if name not in plan.spread and plan.counts.add(network, name, blame):
        return True
    if spreads:
        plan.spread.add(name)
        return True
    if blame.where or name in plan.spread:
        where = f" {blame.where}" if blame.where else ""
        plan.whole[name] = f"the network's code counts on the number of its channels{where}"
        return bool(blame.where)
    return False


def kept_layers(network: nn.Module, keep: tuple[str, ...]) -> set[str]:
    """The layers named in `keep`, and those inside them.

    Raises:
        SettingError: a name is not there.
    """
    names = {name for name, _ in network.named_modules() if name}
    features = {f"{name}.inputs" for name, layer in network.named_modules() if isinstance(layer, nn.Linear)}
    for name in keep:
        if name not in names | features | {"inputs"}:
            raise UnknownNameError("layer in keep", name, names | {"inputs"})
    return {name for name in names if any(name == k or name.startswith(f"{k}.") for k in keep)}
