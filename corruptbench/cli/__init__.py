"""The command line: ``corruptbench VERB``. Results go to standard output, everything else to standard error."""

from corruptbench.cli.main import main

__all__ = ["main"]
