"""``corruptbench leaderboard build``: records to the tables of suites."""

import argparse

from corruptbench.cli.leaderboard import selection

HELP = "records to <suite>.csv, <suite>-summary.csv, <suite>-overall.csv and SHA256SUMS"


def add_options(parser: argparse.ArgumentParser) -> None:
    selection.add_options(parser, "table")


def main(options: argparse.Namespace) -> int:
    from corruptbench.store import probe_writable, write_file
    from corruptbench.tables.build import build_all, with_line
    from corruptbench.tables.reading import PUBLISHED, SUMS, read_sums

    records = [record for _, record in selection.records(options, "table")]
    contents = build_all(records, options.suite)
    kept = read_sums(options.out / SUMS) if (options.out / PUBLISHED).is_file() else {}
    if PUBLISHED in kept:  # made of no records; a new sum would hide what happened to it
        contents[SUMS] = with_line(contents[SUMS], PUBLISHED, kept[PUBLISHED])
    probe_writable(options.out)
    for name, content in contents.items():
        write_file(options.out / name, content.encode())
        if name.endswith(".csv"):
            print(f"{options.out / name}: {content.count(chr(10)) - 1} rows")
    return 0
