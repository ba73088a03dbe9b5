"""Picks the verb, imports only what it needs, and turns errors into one line and an exit code."""

import argparse
import contextlib
import importlib
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from importlib.metadata import version

from corruptbench.errors import CorruptBenchError, nearest
from corruptbench.resources import lack_of
from corruptbench.stopping import WORKER, Stopped, end_with_parent, stoppable

VERBS = {
    "run": "corrupt a dataset, train on it, score the policy: one run",
    "sweep": "a suite's runs: resumed, in parts, on one machine or many",
    "leaderboard": "tables from records: build, compare, validate, report",
    "sharpness": "how sharp the losses of finished runs are",
    "landscape": "the return around a run's weights: lines, planes, cliffs; losses likewise",
    "data": "list, describe, check, collect and convert datasets",
    "corrupt": "write a corrupted dataset as a file, for any other library",
    "list": "algorithms, corruptions, datasets, suites, presets, optimizers, with their defaults",
    "verify": "check every file of results, a cache, a dataset or tables",
    "bench": "this machine's speed beside a plain version",
}

LONGEST_LINE = 2000
"""Characters of an error; what is longer repeats what somebody typed."""

EPILOG = "example: corruptbench run --algo riql --sam --corrupt obs-adv\n'corruptbench VERB --help' tells more"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code: 0 fine, 1 a run failed, 2 usage, 3 data, 4 integrity, 5 resources."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(
        "corruptbench",
        description="Robustness of offline reinforcement learning to corrupted data.\n\nverbs:\n"
        + "\n".join(f"  {verb:<12} {text}" for verb, text in VERBS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=EPILOG,
        allow_abbrev=False,
        usage="corruptbench [-h] [--version] VERB ...",
    )
    parser.add_argument("--version", action="version", version=f"corruptbench {version('corruptbench')}")
    parser.add_argument("verb", metavar="VERB", help=argparse.SUPPRESS)
    head, rest = parser.parse_args(arguments[:1]), arguments[1:]
    if head.verb not in VERBS:
        print(
            f"corruptbench: unknown verb {head.verb!r}: known are {', '.join(VERBS)}{nearest(head.verb, VERBS)}",
            file=sys.stderr,
        )
        return 2
    debug = "--debug" in rest
    rest = [argument for argument in rest if argument != "--debug"]
    pin_threads(rest)
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    logging.getLogger("corruptbench").setLevel(logging.INFO)  # other packages speak up when something is wrong
    if os.environ.pop(WORKER, None):
        logging.getLogger("corruptbench").setLevel(logging.WARNING)  # many at once, and each tells the same
        end_with_parent()
    try:
        with stoppable():
            code = importlib.import_module(f"corruptbench.cli.{head.verb}").main(rest) or 0
            sys.stdout.flush()
            return code
    except BrokenPipeError:  # whoever read the output has seen enough, as in `| head`
        _drop_output()
        return 0
    except CorruptBenchError as error:
        if debug:
            traceback.print_exc()
        line = f"corruptbench {head.verb}: {error}"
        print(line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]}...", file=sys.stderr)
        return error.exit_code
    except Exception as error:
        lack = lack_of(error)
        if lack is None or debug:
            raise
        print(f"corruptbench {head.verb}: {lack}", file=sys.stderr)
        _drop_output()
        return lack.exit_code
    except Stopped as stopped:
        print(f"corruptbench {head.verb}: stopped by {stopped}", file=sys.stderr)
        return stopped.exit_code


def _drop_output() -> None:
    """What is left of it has no place to go, and Python would complain of that at its end."""
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        return
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def pin_threads(arguments: Sequence[str]) -> None:
    """Fixes the number of threads before PyTorch is imported: it moves the last bits, and one is the fastest here."""
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    first.add_argument("--threads", default="1")
    try:
        count = first.parse_known_args(arguments)[0].threads
    except argparse.ArgumentError:  # without its value: the verb's own parser says so
        count = "1"
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = count if count.isdecimal() and int(count) else "1"
