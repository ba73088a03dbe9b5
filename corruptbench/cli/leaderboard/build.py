"""``corruptbench leaderboard build``: records to the tables of suites."""

import argparse

from corruptbench.cli.leaderboard import selection

HELP = "records to <suite>.csv, <suite>-summary.csv and SHA256SUMS"


def add_options(parser: argparse.ArgumentParser) -> None:
    selection.add_options(parser, "table")


def main(options: argparse.Namespace) -> int:
    from corruptbench.store import probe_writable, write_file
    from corruptbench.tables.build import build_all

    records = [record for _, record in selection.records(options, "table")]
    contents = build_all(records, options.suite)
    probe_writable(options.out)
    for name, content in contents.items():
        write_file(options.out / name, content.encode())
        if name.endswith(".csv"):
            print(f"{options.out / name}: {content.count(chr(10)) - 1} rows")
    return 0
