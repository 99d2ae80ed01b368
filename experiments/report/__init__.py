"""The report: one self-contained page about one or many runs."""

from bayesprune.experiments.report.page import write_report

__all__ = ["write_report"]
