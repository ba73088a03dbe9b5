"""Tables of runs: statistics, rows, and the CSVs of a suite."""

from corruptbench.tables.frames import load_table

__all__ = ["load_table"]
