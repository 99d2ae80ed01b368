"""What `find` makes of many networks: share of channels that can go, exactness, seconds and memory.

    python -m benchmarks.zoo [--torchvision] [--only NAME ...] [--limit 120]

Each network is tried in a process of its own, which is stopped after `--limit` seconds of the processor. The share is
that of the channels of all layers that have a gate; exact means that a compact network says what the gated one does up
to 1e-5, on random gates. Memory is what all of this adds to the process, over the weights; small networks have none to
speak of.
"""

import argparse
import multiprocessing
import resource
import signal
from collections.abc import Callable
from queue import Empty
from typing import Any

import torch
from torch import nn

from benchmarks._zoo import SHAPES
from benchmarks._zoo.judge import Verdict, judge
from benchmarks._zoo.library import library

Build = Callable[[], tuple[nn.Module, Any]]

GRACE = 10.0
"""Times its limit that a process has, for others may run beside it."""

LARGE = 4e6
"""Bytes of weights from which on memory over weights says something."""


def main(arguments: list[str] | None = None) -> list[tuple[str, Verdict, float]]:
    """Print the table; returns its rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torchvision", action="store_true", help="torchvision's networks as well")
    parser.add_argument("--only", nargs="*", default=[], help="names of networks")
    parser.add_argument("--limit", type=float, default=120.0, help="seconds for each network")
    asked = parser.parse_args(arguments)
    every: dict[str, Build] = {name: shape.build for name, shape in SHAPES.items()}
    every |= {name: one.build for name, one in library().items()} if asked.torchvision or asked.only else {}
    chosen = {name: build for name, build in every.items() if not asked.only or name in asked.only}
    print(f"{'network':28} {'gates':>6} {'share':>6} {'exact':>6} {'seconds':>8} {'memory':>7}  silent, or why")
    judge(SHAPES["Chain"].build)  # what is imported at the first use is not counted to a network
    rows = []
    for name, build in chosen.items():
        verdict, memory = _apart(build, asked.limit)
        rows.append((name, verdict, memory))
        print(_line(name, verdict, memory), flush=True)
    works = [one for _, one, _ in rows if one.exact and not one.silent]
    print(f"{len(works)} of {len(rows)} work without any keep ({100 * len(works) / max(1, len(rows)):.0f} %)")
    return rows


def _line(name: str, verdict: Verdict, memory: float) -> str:
    if verdict.refused:
        return f"{name:28} {'-':>6} {'-':>6} {'-':>6} {verdict.seconds:8.2f} {'-':>7}  {verdict.refused[:300]}"
    said = "yes" if verdict.exact else "NO" if verdict.gates else "-"
    ratio = "-" if memory != memory else f"{memory:.1f}"
    return (
        f"{name:28} {verdict.gates:6} {verdict.share:6.0%} {said:>6} {verdict.seconds:8.2f} {ratio:>7}  "
        f"{', '.join(verdict.silent)}"
    )


def _apart(build: Build, limit: float) -> tuple[Verdict, float]:
    """The verdict, and the memory that was added over that of the weights, from a process of its own."""
    context = multiprocessing.get_context("fork")
    answers: Any = context.Queue()
    process = context.Process(target=_work, args=(build, limit, answers))
    process.start()
    try:
        found: tuple[Verdict, float] = answers.get(timeout=GRACE * limit)
    except Empty:
        found = Verdict(seconds=limit, refused=f"not done in {limit:g} seconds"), float("nan")
        process.kill()
    process.join()
    return found


def _work(build: Build, limit: float, answers: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    torch.set_num_threads(1)
    network, example = build()
    weights = sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        verdict = judge(lambda: (network, example), limit)
    except Exception as error:  # a fault of the library's is a row of the table, too
        verdict = Verdict(refused=f"FAULT {type(error).__name__}: {' '.join(str(error).split())}")
    added = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    answers.put((verdict, added / weights if weights >= LARGE else float("nan")))


if __name__ == "__main__":
    main()
