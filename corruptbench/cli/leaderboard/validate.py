"""``corruptbench leaderboard validate``: whether a folder of records may enter a suite's table, and every reason."""

import argparse
import contextlib
import secrets
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from corruptbench.cli.source import add_plugin_timeout, plugin_timeout
from corruptbench.errors import DataError, IntegrityError, ResourceError, UsageError

HELP = "checks on a submission, every reason at once; policies and runs again where asked"


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, help="folder of run folders, as a results folder")
    parser.add_argument("--suite", required=True, help="suite that it is for")
    parser.add_argument("--reevaluate", action="store_true", help="run every policy again over the same episodes")
    parser.add_argument("--reproduce", type=int, metavar="N", help="train a sample of N runs again")
    parser.add_argument(
        "--sample-seed", type=int, help="which sample; without it one is drawn, and told, so that others can repeat it"
    )
    parser.add_argument(
        "--plugin", type=Path, action="append", default=[], help="Python file of the algorithm, which you trust"
    )
    add_plugin_timeout(parser)
    parser.add_argument("--out", type=Path, help="folder of the runs trained again (default: a temporary one)")
    parser.add_argument("--json", action="store_true", help="print what was found as JSON")


def main(options: argparse.Namespace) -> int:
    """0 for a sound submission, 3 for one that breaks a rule, 4 where a file is damaged."""
    from corruptbench.registry import load_plugin
    from corruptbench.store import pretty
    from corruptbench.submission.reading import read_submission
    from corruptbench.submission.report import Report
    from corruptbench.submission.reproduction import sample
    from corruptbench.suites import suite

    _check(options)
    for path in options.plugin:
        load_plugin(path)
    try:
        submission = read_submission(options.folder, suite(options.suite))
        report = Report.of(submission)
        if options.reevaluate:
            report.add_reevaluation()
        if options.reproduce:
            seed = secrets.randbelow(1 << 32) if options.sample_seed is None else options.sample_seed
            chosen = sample(submission, options.reproduce, seed)
            with _results(options.out) as out:
                report.add_reproduction(chosen, seed, out, plugin_timeout(options))
    except OSError as error:
        raise ResourceError(f"{error.filename}: could not be read: {error.strerror}") from error
    if options.json:
        print(pretty(report.to_json()), end="")
    else:
        print("\n".join(report.lines))
    verdict = f"{options.folder}: {report.verdict}"
    print(verdict, file=sys.stderr if options.json else sys.stdout)
    if submission.damage:
        return IntegrityError.exit_code
    return DataError.exit_code if report.reasons else 0


def _check(options: argparse.Namespace) -> None:
    """Raises UsageError for options that make no sense."""
    if options.reproduce is not None and options.reproduce < 1:
        raise UsageError(f"--reproduce is {options.reproduce}, allowed is 1 and above")
    for name in ("sample_seed", "out"):
        if getattr(options, name) is not None and options.reproduce is None:
            raise UsageError(f"--{name.replace('_', '-')} belongs to --reproduce N: say how many runs")
    if options.sample_seed is not None and options.sample_seed < 0:
        raise UsageError(f"--sample-seed is {options.sample_seed}, allowed is 0 and above")
    if options.out is not None and options.out.resolve() == options.folder.resolve():
        raise UsageError(f"--out {options.out}: it is the submission, which would be overwritten")


@contextlib.contextmanager
def _results(out: Path | None) -> Iterator[Path]:
    if out is not None:
        yield out
        return
    with tempfile.TemporaryDirectory(prefix="corruptbench-") as folder:
        yield Path(folder)
