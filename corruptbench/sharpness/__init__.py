"""Sharpness: how fast each objective's loss rises around the weights that training found."""

from corruptbench.sharpness.keeping import SHARPNESS, check_every, keep, reports_in, reports_of, text_of
from corruptbench.sharpness.report import Effort, report_of, report_of_run

__all__ = [
    "SHARPNESS",
    "Effort",
    "check_every",
    "keep",
    "report_of",
    "report_of_run",
    "reports_in",
    "reports_of",
    "text_of",
]
