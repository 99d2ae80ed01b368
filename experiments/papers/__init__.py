"""Studies of a paper's method: which runs, its published figures beside ours, and what was reached."""

from bayesprune.experiments.papers.table import PAPERS, paper

__all__ = ["PAPERS", "paper"]
