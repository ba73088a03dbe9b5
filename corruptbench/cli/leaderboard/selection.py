"""Which records a verb of ``leaderboard`` takes, of which suites, and where it writes."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from corruptbench.errors import IntegrityError, UsageError

if TYPE_CHECKING:
    from corruptbench.records import RunRecord


def add_options(parser: argparse.ArgumentParser, made: str) -> None:
    """``--records``, ``--suite``, ``--plugin`` and ``--out`` of a verb that makes a ``made`` of each suite."""
    parser.add_argument(
        "--records", type=Path, action="append", help="folder of run folders (default: the shipped records)"
    )
    parser.add_argument(
        "--suite", action="append", help=f"suite whose {made} is made, may be repeated (default: all that have a run)"
    )
    parser.add_argument(
        "--plugin", type=Path, action="append", default=[], help="Python file of what a suite of your own names"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder that is written to")


def records(options: argparse.Namespace, made: str) -> list[tuple[Path, "RunRecord"]]:
    """Each run once, with the folder of run folders it came from; plug-ins are loaded.

    Raises IntegrityError where a record is broken, UsageError where two folders differ in a run.
    """
    from corruptbench.records import RunRecord, each_record
    from corruptbench.registry import load_plugin
    from corruptbench.tables.reading import LEADERBOARD

    for path in options.plugin:
        load_plugin(path)
    folders = options.records or [LEADERBOARD / "records"]
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(f"--records {folder}: there is no such folder")
    results = [(folder, result) for folder in folders for result in each_record(folder)]
    broken = [str(result) for _, result in results if isinstance(result, IntegrityError)]
    if broken:
        print("\n".join(broken), file=sys.stderr)
        raise IntegrityError(f"{len(broken)} of {len(results)} records are broken, and no {made} was written")
    found: dict[str, tuple[Path, RunRecord]] = {}
    for folder, result in results:
        if isinstance(result, RunRecord):
            first, same = found.setdefault(result.run_id, (folder, result))
            if same.text() != result.text():
                raise UsageError(
                    f"--records {first} and {folder} both hold run {result.run_id}, and their records differ: "
                    "leave one out"
                )
    return list(found.values())
