"""A result as a plain text table for people."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bayesprune.evaluation.evaluate import Evaluation
    from bayesprune.run.pruned import Pruned

Row = tuple[str, ...]


def table_of(pruned: "Pruned") -> str:
    """Method, quality, cost, how many channels of every group are left, and why other layers keep all."""
    evaluation, settings = pruned.evaluation, pruned.settings
    dense_macs = sum(layer.macs for layer in pruned.dense_layers)
    head = (
        f"{settings.method}: {settings.network} on {pruned.data_summary['name']}, seed {settings.seed}, "
        f"{settings.epochs} epochs"
    )
    quality: list[Row] = [
        *((one.label, one.show(evaluation.metrics[one.key]), _class_of(one.key, evaluation)) for one in pruned.metrics),
        ("parameters", f"{evaluation.params:,}", _of(evaluation.params, pruned.dense_params)),
        ("non-zero weights", f"{evaluation.nonzero_weights:,}", _of(evaluation.nonzero_weights, pruned.dense_weights)),
        ("MACs a sample", f"{evaluation.macs:,}", _of(evaluation.macs, dense_macs)),
    ]
    widths: list[Row] = [
        (f"group {group.name}", f"{len(group.kept):,}", _of(len(group.kept), group.size)) for group in pruned.groups
    ]
    whole: list[Row] = [(f"layer {name}", "whole", reason) for name, reason in pruned.whole.items()]
    return "\n".join([head, *_aligned([*quality, *widths, *whole])])


def _class_of(key: str, evaluation: "Evaluation") -> str:
    """Which class has the lowest recall."""
    known = [recall for recall in evaluation.recalls if recall is not None]
    return f"of class {evaluation.recalls.index(min(known))}" if key == "lowest_recall" and known else ""


def _of(now: int, before: int) -> str:
    """The number at the start, and the share of it that is left."""
    return f"of {before:,}" + (f" ({100 * now / before:.3g} %)" if before else "")


def _aligned(rows: Sequence[Row]) -> list[str]:
    """The rows with their columns below each other: names to the left, numbers to the right."""
    name, number = (max(len(row[column]) for row in rows) for column in (0, 1))
    return [f"  {row[0]:<{name}}  {row[1]:>{number}}  {row[2]}".rstrip() for row in rows]
