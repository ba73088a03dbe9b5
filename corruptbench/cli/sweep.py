"""``corruptbench sweep``: a suite's runs, on this machine or on a Ray cluster."""

import argparse
import dataclasses
import shlex
import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from corruptbench.cli.parser import Parser
from corruptbench.cli.source import (
    NAMES,
    add_device,
    add_log_options,
    add_plugin_timeout,
    add_source_options,
    add_track_sharpness,
    setup_of,
)
from corruptbench.errors import UsageError

LAUNCHERS = ("local", "ray")


def main(arguments: Sequence[str]) -> int:
    options = build_parser().parse_args(arguments)
    for name in ("threads", "workers", "checkpoint_every", "population"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise UsageError(f"--{name.replace('_', '-')} is {value}, allowed is 1 and above")

    from corruptbench.records import RECORD
    from corruptbench.registry import load_plugin
    from corruptbench.store import probe_writable
    from corruptbench.suites import suite
    from corruptbench.sweep.jobs import chosen, jobs
    from corruptbench.sweep.sweep import sweep
    from corruptbench.versions import versions

    for path in options.recorded:
        if not any(path.glob(f"*/{RECORD}")):
            raise UsageError(f"--recorded {path}: no folder of finished runs is there")
    for path in options.plugin:
        load_plugin(path)
    check_launcher(options)
    setup = setup_of(options, here=options.launcher == "local" or options.address is None)
    selected = asked_for(suite(options.suite), options)
    requests = [
        dataclasses.replace(
            request,
            env=options.env,
            ref_min=options.ref_min,
            ref_max=options.ref_max,
            on_nonfinite=options.on_nonfinite,
            download=options.download,
        )
        for request in selected.requests()
    ]
    requests = chosen(requests, options.only, options.shard)
    if not options.dry_run:
        probe_writable(options.out)
    found = jobs(requests, options.out, setup, options.plugin, recorded=options.recorded, train=not options.dry_run)
    done = sum(job.record is not None for job in found)
    print(f"{len(found)} runs, {done} of them finished", file=sys.stderr)
    for version, count in Counter(job.record.versions["corruptbench"] for job in found if job.record).items():
        if version != versions()["corruptbench"]:
            print(f"{count} of them by version {version}: a submission is of one version", file=sys.stderr)
    if options.dry_run:
        print(foretold(found, setup, options.out, options.workers or 1), end="")
        return 0
    launch, workers = launcher(options, setup)
    swept = sweep(found, launch, options.out, workers)
    if records := [each.job.record for each in swept if each.job.record]:
        print(grid(records, selected))
    outcomes = Counter(each.job.record.outcome if each.job.record else "lost" for each in swept)
    print(f"{len(swept)} runs: {', '.join(f'{count} {outcome}' for outcome, count in outcomes.items())}")
    for each in swept:
        if not each.ok:
            print(f"{each.job.label}: {each.words}\n  corruptbench run {shlex.join(each.job.arguments)}")
    return 0 if all(each.ok for each in swept) else 1


def build_parser() -> Parser:
    from corruptbench.attempt import CHECKPOINT_EVERY
    from corruptbench.engine import ENGINES

    parser = Parser("corruptbench sweep", "A suite's whole grid; the same command again goes on where it stopped.")
    what = parser.add_argument_group("what is run")
    what.add_argument("suite", metavar="SUITE", help="its name (corruptbench list suites) or a YAML file of your own")
    what.add_argument(
        "--algo",
        action="append",
        help="algorithm in place of the suite's, as iql, my-algo+sam or iql+sam:rho=0.1,on=V+Q; may be repeated",
    )
    what.add_argument("--dataset", action="append", help=f"dataset in place of the suite's: {NAMES}; may be repeated")
    what.add_argument("--units", type=int, help="units 0 to N-1 in place of the suite's")
    what.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a part of it: algo=, corrupt=, dataset= or unit=; may be repeated: one key's values are alternatives",
    )
    what.add_argument("--shard", metavar="i/n", help="the i-th of n parts, for machines that share the work")
    what.add_argument(
        "--recorded",
        type=Path,
        action="append",
        default=[],
        metavar="FOLDER",
        help="what this folder of finished runs holds counts as done, for example leaderboard/records; may be repeated",
    )
    add_source_options(what)
    what.add_argument("--ref-min", type=float, help="return of normalized score 0, with --ref-max")
    what.add_argument("--ref-max", type=float, help="return of normalized score 100, with --ref-min")
    how = parser.add_argument_group("how it is run")
    how.add_argument("--dry-run", action="store_true", help="say what there is to do, how long it takes, and stop")
    how.add_argument("--workers", type=int, help="runs side by side (default: 1; on Ray as many as there is room for)")
    how.add_argument(
        "--population",
        type=int,
        metavar="N",
        help="train up to N runs of one algorithm at once in this process, in place of workers: for a GPU",
    )
    how.add_argument("--launcher", choices=LAUNCHERS, default="local", help="ray: a Ray cluster's workers (extra ray)")
    how.add_argument("--address", help="the Ray cluster, as auto or HOST:PORT (default: one is started here)")
    how.add_argument("--plugin", type=Path, action="append", default=[], help="Python file with what you name")
    add_plugin_timeout(how)
    how.add_argument("--out", type=Path, default=Path("results"), help="folder of the results")
    how.add_argument("--checkpoint-every", type=int, default=CHECKPOINT_EVERY, help="steps between checkpoints")
    add_track_sharpness(how)
    add_log_options(how)
    how.add_argument("--threads", type=int, default=1, help="threads of each run; another number gives other last bits")
    how.add_argument("--engine", choices=ENGINES, default="auto", help="compiled where there is a C++ compiler")
    add_device(how)
    how.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def asked_for(selected, options: argparse.Namespace):  # type: ignore[no-untyped-def]
    """The suite with the user's own algorithms, datasets and number of units in place of its own."""
    from corruptbench.suites import require_unlike

    changed = {"algorithms": options.algo, "datasets": options.dataset, "units": options.units}
    given = {name: value for name, value in changed.items() if value is not None}
    if options.units is not None and options.units < 1:
        raise UsageError(f"--units is {options.units}, allowed is 1 and above")
    asked = dataclasses.replace(
        selected, **{name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    )
    require_unlike(asked)
    return asked


def check_launcher(options: argparse.Namespace) -> None:
    """Raises UsageError for options that do not go together, before anything is trained for the plan."""
    if options.population is not None and (options.workers is not None or options.launcher != "local"):
        raise UsageError("--population trains in this process: neither --workers nor --launcher goes with it")
    if options.launcher != "ray" and options.address is not None:
        raise UsageError("--address is of a Ray cluster: add --launcher ray")
    if options.launcher == "ray" and options.device not in ("cpu", "cuda"):
        raise UsageError(f"--device is {options.device!r}, and with --launcher ray allowed are cpu and cuda")


def launcher(options: argparse.Namespace, setup):  # type: ignore[no-untyped-def]
    """What does the commands, and how many at a time."""
    from corruptbench.sweep.sweep import here
    from corruptbench.sweep.together import together

    if options.launcher == "ray":
        from corruptbench.sweep.cluster import connect, on_ray

        gpus = int(setup.device == "cuda")
        room = connect(options.address, options.workers, setup.threads, gpus)
        return partial(on_ray, out=options.out, threads=setup.threads, room=room, gpus=gpus), room
    if options.population is not None:
        return partial(together, out=options.out, setup=setup, size=options.population), 1
    workers = options.workers or 1
    return partial(here, out=options.out, workers=workers), workers


def foretold(jobs, setup, out: Path, workers: int) -> str:  # type: ignore[no-untyped-def]
    """Runs, steps, hours and disk of what is still to be done."""
    from corruptbench.sweep.pace import disk, hours, in_words, learner_of, measured, tried_out

    left = [job for job in jobs if job.record is None]
    paces, states = measured(jobs, out), {}
    for job in left:
        if job.learner not in states:
            learner = learner_of(job, setup)
            states[job.learner] = sum(array.nbytes for array in learner.arrays().values())
            if job.learner not in paces:
                print(f"trying out {job.learner} for a few seconds", file=sys.stderr)
                paces[job.learner] = tried_out(learner)
    width = max(map(len, ["learner", *states]))
    lines = [f"{'learner':<{width}} {'runs':>6} {'steps':>14} {'steps/s':>8} {'time':>8}"]
    for name in states:
        own = [job for job in left if job.learner == name]
        steps, time = sum(job.request.steps for job in own), in_words(hours(own, paces, 1) or 0.0)
        lines.append(f"{name:<{width}} {len(own):>6} {steps:>14,} {1 / paces[name].step:>8.0f} {time:>8}")
    folder = next(path for path in (out.absolute(), *out.absolute().parents) if path.is_dir())
    total = hours(left, paces, workers) or 0.0
    surrogates = {job.request.dataset for job in left if job.run_id is None}
    lines += [
        "",
        f"to do: {len(left)} of {len(jobs)} runs, {sum(job.request.steps for job in left):,} steps",
        f"time: about {in_words(total)} with {workers} worker{'s' * (workers > 1)}, if this machine keeps its pace",
        f"disk: up to {disk(left, states, workers) / 1e6:,.0f} MB, {shutil.disk_usage(folder).free / 1e6:,.0f} MB free",
        *(f"a surrogate of {name} is trained first" for name in sorted(surrogates)),
    ]
    return "\n".join(lines) + "\n"


def grid(records, selected) -> str:  # type: ignore[no-untyped-def]
    """Mean scores, a line for each dataset's learner, a column for each threat model, with units and failures."""
    from corruptbench.tables.labels import full_threat, label
    from corruptbench.tables.listing import SUMMARY, read_csv, run_rows
    from corruptbench.tables.summary import summary_csv

    rows = read_csv(summary_csv(run_rows(records), selected), "summary", SUMMARY)
    cells = {}
    for row in rows:
        failed = f", {row['failed']} failed" if row["failed"] != "0" else ""
        mean = f"{float(row['mean']):.1f}" if row["mean"] else "-"
        cells[row["dataset"], label(row), full_threat(row)] = f"{mean} (n={row['n']}{failed})"
    lines = list(dict.fromkeys(key[:2] for key in cells))
    columns = list(dict.fromkeys(key[2] for key in cells))
    widths = {c: max(len(c), *(len(cells.get((*line, c), "-")) for line in lines)) for c in columns}
    names = [f"{learner}, {dataset}" for dataset, learner in lines]
    width = max(map(len, names))
    head = " " * width + "".join(f"  {column:>{widths[column]}}" for column in columns)
    body = [
        f"{name:<{width}}" + "".join(f"  {cells.get((*line, column), '-'):>{widths[column]}}" for column in columns)
        for name, line in zip(names, lines, strict=True)
    ]
    return "\n".join([head, *body, ""])
