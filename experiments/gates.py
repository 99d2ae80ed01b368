"""What happened to the gates of a run: which stayed open, and why the others were closed."""

from collections.abc import Sequence
from dataclasses import dataclass

from bayesprune.experiments.words import counted, listed
from bayesprune.store.runs import RunRecord


@dataclass(frozen=True)
class GateCounts:
    """How many gates of some groups came to which end; each gate that the run began with is counted once.

    Attributes:
        open: that stay open: their channels are in the compact network.
        closed_by_price: that closed during training: they were worth less than their price.
        closed_at_end: that were not yet closed when pruning ended, and were worth less than their price then.
        cut_for_budget: that were closed to meet the budget, whatever they were worth.
    """

    open: int
    closed_by_price: int
    closed_at_end: int
    cut_for_budget: int

    @property
    def gates(self) -> int:
        """All of them."""
        return self.open + self.closed_by_price + self.closed_at_end + self.cut_for_budget


def gate_counts(run: RunRecord) -> dict[str, GateCounts] | None:
    """The counts of every group of a run; None without a posterior, or where it does not say (older runs)."""
    reason = None if run.posterior is None else run.posterior.get("reason")
    if reason is None:
        return None
    parts = reason.split([group["size"] for group in run.groups])
    return {
        str(group["name"]): GateCounts(*(int((part == code).sum()) for code in range(4)))
        for group, part in zip(run.groups, parts, strict=True)
    }


def counts_together(counts: Sequence[GateCounts]) -> GateCounts:
    """The counts of several groups together."""
    return GateCounts(
        sum(one.open for one in counts),
        sum(one.closed_by_price for one in counts),
        sum(one.closed_at_end for one in counts),
        sum(one.cut_for_budget for one in counts),
    )


def gates_sentence(run: RunRecord) -> str:
    """How many gates stay open, and why the others were closed; empty for a run without a posterior."""
    if run.posterior is None:
        return ""
    counts = gate_counts(run)
    if counts is None:
        return _older_sentence(run)
    all_of = counts_together(list(counts.values()))
    multiple = (run.settings.get("options") or {}).get("round_to", 1)
    beyond, needed = (f" or {word} a multiple of {multiple}" * (multiple > 1) for word in ("beyond", "needed for"))
    why = [
        f"{count:,} {words}"
        for count, words in (
            (all_of.closed_by_price, "closed during training because they were worth less than their price"),
            (all_of.closed_at_end, f"closed when pruning ended, worth less than their price then{beyond}"),
            (all_of.cut_for_budget, "closed to meet the budget"),
        )
        if count
    ]
    back = run.result.get("reopened") or 0
    worth = f" {counted(back, 'gate')} that had nearly closed stayed open: worth more than the price{needed}."
    kept = worth if back else ""
    closed = f"; {listed(why)}" if why else ""
    return f"Of {counted(all_of.gates, 'gate')} {all_of.open:,} stay open{closed}.{kept}"


def _older_sentence(run: RunRecord) -> str:
    """What a run says that does not tell why each gate was closed."""
    undecided = run.result.get("decided_at_end") or 0
    if not undecided:
        return f"Each of the {counted(run.gates, 'gate')} was open or closed when pruning ended."
    return (
        f"{undecided:,} of {counted(run.gates, 'gate')} were still undecided when pruning ended; each was then opened "
        "or closed, whichever was more probable."
    )


def warnings_of(run: RunRecord) -> list[str]:
    """What the run itself warns of, a line each."""
    found = run.result.get("warnings") or []
    return [" ".join(str(text).split()) for text in found] if isinstance(found, list) else []


def warning_lines(runs: Sequence[RunRecord]) -> list[str]:
    """The warnings of some runs, a line each, with the method and the seeds that warn so."""
    seeds: dict[tuple[str, str], set[int]] = {}
    for run in runs:
        for text in warnings_of(run):
            seeds.setdefault((str(run.result["method"]), text), set()).add(int(run.result["seed"]))
    return [
        f"{method}, seed{'s' if len(those) > 1 else ''} {listed(sorted(those))}: {text}"
        for (method, text), those in seeds.items()
    ]


def flagged(label: str, runs: Sequence[RunRecord]) -> str:
    """A label with an exclamation mark where one of its runs warns of something."""
    return f"{label}\N{NO-BREAK SPACE}!" if any(warnings_of(run) for run in runs) else label
