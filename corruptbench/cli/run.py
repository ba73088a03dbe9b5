"""``corruptbench run``: one run, and its row beside the shipped rows of the same cell."""

import argparse
import dataclasses
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

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
from corruptbench.errors import UsageError, nearest

log = logging.getLogger("corruptbench.run")


class RunParser(Parser):
    """Of ``run``, whose options ``--riql.alpha`` are those of the algorithm and of the optimizer that are chosen."""

    def hint(self, flag: str) -> str:
        """An option with a point is looked for among those of its algorithm or optimizer, chosen or not."""
        from corruptbench.optimizers import OPTIMIZERS, optimizer_named, own_fields
        from corruptbench.registry import ALGORITHMS

        name = flag.removeprefix("--").partition(".")[0]
        if f"--{name}." in flag and name in ALGORITHMS.names():
            kind, fields = "algo", [field.name for field in dataclasses.fields(ALGORITHMS.get(name))]
        elif f"--{name}." in flag and name in OPTIMIZERS:
            kind, fields = "optimizer", list(own_fields(optimizer_named(name)))
        else:
            return super().hint(flag)
        own = [_option(name, field) for field in fields]
        return f": it needs --{kind} {name}" if flag in own else nearest(flag, own)


def main(arguments: Sequence[str]) -> int:
    """Two passes: the first finds algorithm, optimizer and plug-ins, whose options the second one knows."""
    first = Parser("corruptbench run", "", add_help=False)
    first.add_argument("--algo")
    first.add_argument("--optimizer")
    first.add_argument("--sam", action="store_true")
    first.add_argument("--plugin", type=Path, action="append", default=[])
    first.add_argument("--config", type=Path)
    known, _ = first.parse_known_args(arguments)

    from corruptbench.registry import load_plugin
    from corruptbench.yaml_files import read_yaml

    for path in known.plugin:
        load_plugin(path)
    config = read_yaml(known.config) if known.config else {}
    if known.sam or known.optimizer:  # either goes before both
        config = {name: value for name, value in config.items() if name not in ("sam", "optimizer")}
    plugins = config.get("plugin", [])
    for path in plugins if isinstance(plugins, list) else [plugins]:
        load_plugin(Path(str(path)))
    algo = known.algo or config.get("algo")
    if algo is not None and not isinstance(algo, str):
        raise UsageError(f"--config {known.config}: algo is {algo!r}, needed is the name of an algorithm")
    optimizer = known.optimizer or config.get("optimizer")
    if optimizer is not None and not isinstance(optimizer, str):
        raise UsageError(f"--config {known.config}: optimizer is {optimizer!r}, needed is the name of an optimizer")
    if optimizer is not None and optimizer == algo:
        raise UsageError(f"--algo {algo} has the name of its optimizer, and --{algo}.x could mean either: rename it")
    parser = build_parser(algo, optimizer)
    apply_config(parser, config, known.config)
    options = parser.parse_args(arguments)
    if options.algo is None or options.corrupt is None:
        parser.error("--algo and --corrupt say what to run, as in --algo riql --sam --corrupt obs-adv")
    return run(options, arguments)


def build_parser(algo: str | None, optimizer: str | None = None) -> RunParser:
    """The options of ``run``, with those of the algorithm and of the optimizer where they are named."""
    from corruptbench.attempt import CHECKPOINT_EVERY
    from corruptbench.engine import ENGINES
    from corruptbench.optimizers import OPTIMIZERS
    from corruptbench.request import QUICK_STEPS
    from corruptbench.spec import DEFAULT_STEPS

    parser = RunParser("corruptbench run", "Corrupts a dataset, trains on it, scores the policy, prints its row.")
    what = parser.add_argument_group("what is run")
    what.add_argument("--algo", help="algorithm: bc, iql, riql, a plug-in's name, or package.module:Class")
    what.add_argument(
        "--corrupt",
        help="threat model, as obs-adv or obs-adv:rate=0.1,scale=0.5; none is the clean dataset, obs-auto an ensemble",
    )
    what.add_argument("--dataset", default="hopper-replay", help=NAMES)
    what.add_argument("--optimizer", help=f"{', '.join(OPTIMIZERS)} (default: adam)")
    what.add_argument("--sam", action="store_true", help="short for --optimizer sam")
    what.add_argument(
        "--sam-on", help="objectives that the optimizer applies to, as V,Q (default: those the algorithm names)"
    )
    what.add_argument("--rho", type=float, help="radius of SAM and its like (default: the optimizer's own)")
    what.add_argument("--preset", help="named settings, as riql-oracle")
    what.add_argument("--unit", type=int, help="which pair of training and corruption seed (default: 0)")
    what.add_argument("--seed", type=int, help="training seed of your own, with --corruption-seed; never listed")
    what.add_argument("--corruption-seed", type=int, help="corruption seed of your own, with --seed")
    what.add_argument("--steps", type=int, help=f"training steps (default: {DEFAULT_STEPS})")
    what.add_argument(
        "--quick", action="store_true", help=f"{QUICK_STEPS} steps, for a look: no benchmark result, never listed"
    )
    add_source_options(what)
    what.add_argument("--no-score", action="store_true", help="train without evaluating; never listed")
    what.add_argument("--ref-min", type=float, help="return of normalized score 0, with --ref-max")
    what.add_argument("--ref-max", type=float, help="return of normalized score 100, with --ref-min")
    how = parser.add_argument_group("how it is run")
    how.add_argument(
        "--plugin",
        type=Path,
        action="append",
        default=argparse.SUPPRESS,
        help="Python file with a corruption or an algorithm",
    )
    add_plugin_timeout(how)
    how.add_argument(
        "--config", type=Path, default=argparse.SUPPRESS, help="YAML file with options; flags go before it"
    )
    how.add_argument("--out", type=Path, default=Path("results"), help="folder of the results")
    how.add_argument(
        "--checkpoint-every",
        type=int,
        default=CHECKPOINT_EVERY,
        help=f"steps between checkpoints, from which the same command goes on (default: {CHECKPOINT_EVERY})",
    )
    add_track_sharpness(how)
    add_log_options(how)
    how.add_argument("--force", action="store_true", help="do a finished run again")
    how.add_argument("--threads", type=int, default=1, help="threads of the run; another number gives other last bits")
    how.add_argument("--workers", type=int, default=1, help="runs of an ensemble side by side, a process each")
    how.add_argument(
        "--engine", choices=ENGINES, default="auto", help="compiled where there is a C++ compiler, else eager"
    )
    add_device(how)
    how.add_argument(
        "--json", action="store_true", help="print the record instead of the table, of an ensemble a list of them"
    )
    how.add_argument("--debug", action="store_true", help="show the traceback of an error")
    if algo:
        from corruptbench.registry import ALGORITHMS

        fields = {field.name: field.default for field in dataclasses.fields(ALGORITHMS.get(algo))}
        add_own(parser, algo, "algo", fields)
    if optimizer:
        from corruptbench.optimizers import optimizer_named, own_fields

        add_own(parser, optimizer, "optimizer", own_fields(optimizer_named(optimizer)))
    return parser


def add_own(parser: Parser, name: str, kind: str, fields: dict[str, Any]) -> None:
    """``--riql.alpha 0.25`` for every field of a dataclass, with its default."""
    group = parser.add_argument_group(f"{name} (defaults in brackets)")
    for field, default in fields.items():
        group.add_argument(
            _option(name, field),
            dest=f"{kind}.{field}",
            metavar=field.upper(),
            default=argparse.SUPPRESS,
            help=f"[{','.join(map(str, default)) if isinstance(default, tuple) else default}]",
        )


def _option(name: str, field: str) -> str:
    return f"--{name}.{field.replace('_', '-')}"


def own_of(options: argparse.Namespace, kind: str) -> dict[str, Any]:
    """The settings given by :func:`add_own`'s options."""
    return {k.removeprefix(f"{kind}."): v for k, v in vars(options).items() if k.startswith(f"{kind}.")}


def apply_config(parser: RunParser, config: dict[str, Any], path: Path | None) -> None:
    """Options from a YAML file become defaults, so that flags go before them."""
    destinations = {o.removeprefix("--"): a for a in parser._actions for o in a.option_strings if o.startswith("--")}
    for name, value in config.items():
        if name not in destinations:
            hint = parser.hint(f"--{name}").replace("'--", "'")
            raise UsageError(f"--config {path}: unknown option {name!r}{hint}")
        action = destinations[name]
        if isinstance(action, argparse._StoreTrueAction):
            if not isinstance(value, bool):
                raise UsageError(f"--config {path}: {name} is {value!r}, allowed are true and false")
        else:
            text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
            try:
                value = action.type(text) if callable(action.type) else text
            except ValueError:
                raise UsageError(f"--config {path}: {name} is {value!r}, which is no {action.type.__name__}") from None  # type: ignore[union-attr]
            if action.choices is not None and value not in action.choices:
                allowed = ", ".join(map(str, action.choices))
                raise UsageError(f"--config {path}: {name} is {value!r}, allowed are {allowed}")
        parser.set_defaults(**{action.dest: value})


def request_of(options: argparse.Namespace):  # type: ignore[no-untyped-def]
    """The RunRequest that the options stand for."""
    from corruptbench.request import QUICK_STEPS, RunRequest
    from corruptbench.spec import DEFAULT_STEPS

    optimizer = ("sam" if options.sam else "adam") if options.optimizer is None else options.optimizer
    if options.sam and optimizer != "sam":
        raise UsageError(f"--sam and --optimizer {optimizer} contradict each other")
    if options.quick and options.steps is not None:
        raise UsageError("--quick and --steps contradict each other")
    if options.unit is not None and (options.seed is not None or options.corruption_seed is not None):
        raise UsageError("--unit stands for both seeds: say --unit, or --seed and --corruption-seed")
    for name in ("threads", "workers", "checkpoint-every"):
        if getattr(options, name.replace("-", "_")) < 1:
            raise UsageError(f"--{name} is {getattr(options, name.replace('-', '_'))}, allowed is 1 and above")
    own_seeds = options.seed is not None or options.corruption_seed is not None
    return RunRequest(
        algo=options.algo,
        corrupt=options.corrupt,
        dataset=options.dataset,
        algo_options=own_of(options, "algo"),
        optimizer=optimizer,
        sam_on=None if options.sam_on is None else tuple(options.sam_on.split(",")),
        rho=options.rho,
        optimizer_options=own_of(options, "optimizer"),
        preset=options.preset,
        unit=None if own_seeds else (options.unit or 0),
        train_seed=options.seed,
        corruption_seed=options.corruption_seed,
        steps=QUICK_STEPS if options.quick else DEFAULT_STEPS if options.steps is None else options.steps,
        env=options.env,
        ref_min=options.ref_min,
        ref_max=options.ref_max,
        on_nonfinite=options.on_nonfinite,
        download=options.download,
        score=not options.no_score,
    )


def run(options: argparse.Namespace, arguments: Sequence[str]) -> int:
    """Plans, announces, executes, prints; 1 where a run did not end well.

    An ensemble is one run after the other; with workers they are under way side by side first, and found here.
    """
    from corruptbench.cli.table import beside_the_table, worst_of
    from corruptbench.corruptions.auto import members
    from corruptbench.environments import spelling
    from corruptbench.run import execute, plan
    from corruptbench.store import pretty, probe_writable
    from corruptbench.workers import side_by_side

    request = request_of(options)
    setup = setup_of(options)
    probe_writable(options.out)
    if options.quick:
        print("--quick: a look, no benchmark result; it is never listed", file=sys.stderr)
    threats = members(request.corrupt)
    again = [options.force] * len(threats)
    if options.workers > 1 and len(threats) > 1:
        commands = [["run", *arguments, "--corrupt", threat, "--workers", "1"] for threat in threats]
        codes = side_by_side(commands, options.workers)
        again = [options.force and code not in (0, 1) for code in codes]  # with 0 and 1 the record is a new one
    records = []
    for threat, force in zip(threats, again, strict=True):
        planned = plan(dataclasses.replace(request, corrupt=threat), options.out, setup)
        if log.isEnabledFor(logging.INFO):  # a worker among many says only what is wrong
            data = planned.dataset
            what = f"{data.id}: {len(data):,} transitions of {spelling(data.environment)}"
            print(f"{what}, run {planned.spec.run_id}", file=sys.stderr)
        record = execute(planned, options.out, setup, force=force)
        if not options.json:
            print(beside_the_table(record, options.out), end="")
        records.append(record)
    if options.json:
        found = [record.to_json() for record in records]
        print(pretty(found if len(found) > 1 else found[0]), end="")
    elif len(records) > 1:
        print(worst_of(request.corrupt, records), end="")
    return 0 if all(record.outcome == "ok" for record in records) else 1
