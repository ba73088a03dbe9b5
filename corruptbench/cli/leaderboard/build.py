"""``corruptbench leaderboard build``: records to the tables of suites."""

import argparse
import sys
from pathlib import Path

from corruptbench.errors import IntegrityError, UsageError

HELP = "records to <suite>.csv, <suite>-summary.csv and SHA256SUMS"


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--records", type=Path, action="append", help="folder of run folders (default: the shipped records)"
    )
    parser.add_argument(
        "--suite", action="append", help="suite whose table is built, may be repeated (default: all that have a run)"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder the tables are written to")


def main(options: argparse.Namespace) -> int:
    from corruptbench.records import RunRecord, each_record
    from corruptbench.store import probe_writable, write_file
    from corruptbench.tables.build import build_all, with_line
    from corruptbench.tables.reading import LEADERBOARD, PUBLISHED, SUMS, read_sums

    folders = options.records or [LEADERBOARD / "records"]
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(f"--records {folder}: there is no such folder")
    found = [result for folder in folders for result in each_record(folder)]
    records = {result.run_id: result for result in found if isinstance(result, RunRecord)}
    broken = [str(result) for result in found if isinstance(result, IntegrityError)]
    if broken:
        print("\n".join(broken), file=sys.stderr)
        raise IntegrityError(f"{len(broken)} of {len(found)} records are broken, and no table was written")
    contents = build_all(list(records.values()), options.suite)
    kept = read_sums(options.out / SUMS) if (options.out / PUBLISHED).is_file() else {}
    if PUBLISHED in kept:  # made of no records; a new sum would hide what happened to it
        contents[SUMS] = with_line(contents[SUMS], PUBLISHED, kept[PUBLISHED])
    probe_writable(options.out)
    for name, content in contents.items():
        write_file(options.out / name, content.encode())
        if name.endswith(".csv"):
            print(f"{options.out / name}: {content.count(chr(10)) - 1} rows")
    return 0
