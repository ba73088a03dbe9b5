"""``corruptbench leaderboard report``: records to a page that opens without a network, and its figures."""

import argparse

from corruptbench.cli.leaderboard import selection
from corruptbench.errors import UsageError

HELP = "records to a page with tables and figures: index.html, figures/*.svg, figures/*.png"


def add_options(parser: argparse.ArgumentParser) -> None:
    selection.add_options(parser, "page")


def main(options: argparse.Namespace) -> int:
    from corruptbench.page.render import check_libraries, render
    from corruptbench.page.section import section
    from corruptbench.store import probe_writable, write_file
    from corruptbench.suites import suite_names
    from corruptbench.tables.build import chosen

    check_libraries()
    found = selection.records(options, "page")
    suites = list(chosen([record for _, record in found], options.suite))
    if not suites:
        raise UsageError(
            f"none of the {len(found)} records belongs to a suite, and a page shows suites: "
            f"name one with --suite, known are {', '.join(suite_names())}"
        )
    contents = render([section(found, selected) for selected in suites])
    probe_writable(options.out)
    for name, content in contents.items():
        write_file(options.out / name, content)
    print(f"{options.out / 'index.html'}: {', '.join(selected.name for selected in suites)}")
    return 0
