"""The report: one page, Markdown and CSV about one or several prediction files."""

from vlcal.evaluation.report.runs import Run, load_runs
from vlcal.evaluation.report.written import write_report

__all__ = ["Run", "load_runs", "write_report"]
