"""Tables of runs: statistics, rows, and the CSVs of a suite."""
