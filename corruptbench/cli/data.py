"""``corruptbench data``: the datasets there are, what is in one, whether it is sound, making one, changing format."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from corruptbench.cli import collect
from corruptbench.cli.parser import Parser, Verb
from corruptbench.cli.source import NAMES, add_plugin_timeout, add_source_options, load_rows, plugin_timeout
from corruptbench.errors import UsageError


def main(arguments: Sequence[str]) -> int:
    parser = Parser("corruptbench data", "Datasets: " + NAMES + ".")
    verbs = parser.add_subparsers(dest="verb", required=True, parser_class=Verb)
    listing = verbs.add_parser("list", help="the datasets there are, one line each")
    listing.add_argument(
        "source", nargs="?", choices=("shipped", "d4rl", "minari"), default="shipped", help="of which source"
    )
    info = verbs.add_parser("info", help="episodes, returns, lengths, ranges of each feature")
    info.add_argument("dataset", help=NAMES)
    add_source_options(info)
    info.add_argument("--corrupt", help="threat model, to see the same before and after")
    info.add_argument("--unit", type=int, default=0, help="whose corruption seed is taken")
    info.add_argument("--plugin", type=Path, action="append", default=[], help="Python file with a corruption")
    add_plugin_timeout(info)
    info.add_argument("--runs", type=Path, default=Path("results"), help="folder of the runs that surrogate= names")
    info.add_argument("--plot", type=Path, help="PNG, SVG or PDF that is drawn (extra report)")
    info.add_argument("--json", action="store_true", help="print JSON instead of the table")
    check = verbs.add_parser("check", help="passes a dataset through the gate and prints what it saw")
    check.add_argument("dataset", help=NAMES)
    add_source_options(check)
    check.add_argument("--json", action="store_true", help="print JSON instead of sentences")
    convert = verbs.add_parser("convert", help="to Minari, or to HDF5 in D4RL's keys, to be read as a file:")
    convert.add_argument("dataset", help=NAMES)
    convert.add_argument("target", help="minari:ID, or PATH.hdf5")
    add_source_options(convert)
    collect.add(verbs)
    options = parser.parse_args(arguments)
    if options.verb == "collect":
        return collect.main(options, arguments)
    return {"list": _list, "info": _info, "check": _check, "convert": _convert}[options.verb](options)


def _list(options: argparse.Namespace) -> int:
    from corruptbench.data import shipped

    if options.source == "d4rl":
        from corruptbench.data.d4rl import DATASETS

        print("\n".join(f"d4rl:{name:<30} {entry.url}" for name, entry in sorted(DATASETS.items())))
    elif options.source == "minari":
        from corruptbench.data.minari import local_ids

        for name in local_ids():
            print(f"minari:{name}")
    else:
        for name, card in shipped().items():
            size = f"{card['transitions']:>9,} transitions, {card['episodes']:,} episodes"
            print(f"{name:<18} {card['environment']:<15} {size}")
    return 0


def _check(options: argparse.Namespace) -> int:
    import numpy as np

    loaded = load_rows(options, announce=False)
    sha256 = loaded.file_sha256
    if options.json:
        value = {
            "id": loaded.id,
            "environment": loaded.environment.id,
            "transitions": len(loaded.rows),
            "episodes": int(np.count_nonzero(np.diff(loaded.rows.episodes))) + 1,
            "file_sha256": sha256,
            "sha256": loaded.dataset().sha256,
            **loaded.report.to_json(),
        }
        print(json.dumps(value, indent=1, sort_keys=True))
        return 0
    print(f"{loaded.id}: sound, {len(loaded.rows):,} transitions for {loaded.environment.id}")
    for sentence in loaded.report.sentences:
        print(sentence)
    if sha256:
        print(f"SHA-256 of the file {sha256}")
    print(f"SHA-256 of the content {loaded.dataset().sha256}")
    return 0


def _info(options: argparse.Namespace) -> int:
    from corruptbench.data.describe import audit_text, check_plot, describe, plot, text

    if options.plot:
        check_plot(options.plot)
    if options.corrupt:
        from corruptbench.corrupting import corrupt, corruption_seed, named_corruption
        from corruptbench.registry import load_plugin

        for path in options.plugin:
            load_plugin(path)
        named_corruption(options.corrupt)
        seed, timeout = corruption_seed(options.unit), plugin_timeout(options)
    loaded = load_rows(options)
    dataset, box = loaded.dataset(), loaded.space
    before, after, corrupted = describe(dataset, box), None, None
    if options.corrupt:
        result = corrupt(dataset, options.corrupt, seed, options.runs, plugin_timeout=timeout)
        corrupted, audit = result.dataset, dict(result.audit)
        after = {**describe(corrupted, box), "audit": audit}
    if options.json:
        print(json.dumps({"clean": before, **({options.corrupt: after} if after else {})}, indent=1))
    else:
        print(text(before, after, options.corrupt or ""), end="")
        print(audit_text(after["audit"]) if after else "", end="")
    if options.plot:
        plot(options.plot, dataset, corrupted, options.corrupt or "")
        print(f"drawn: {options.plot}", file=sys.stderr)
    return 0


def _convert(options: argparse.Namespace) -> int:
    from corruptbench.data import minari
    from corruptbench.data.export import fields_of, write_hdf5
    from corruptbench.store import probe_writable

    source, colon, name = options.target.partition(":")
    path = Path(options.target)
    if colon and source == "minari":
        minari.check_target(name)
    elif colon or path.suffix not in (".hdf5", ".h5"):
        raise UsageError(f"convert: {options.target!r} is no target, allowed are minari:ID and PATH.hdf5")
    elif path.exists():
        raise UsageError(f"convert: {path} exists already, and nothing is overwritten")
    else:
        probe_writable(path.parent)
    loaded = load_rows(options)
    fields = fields_of(loaded.rows)
    if colon:
        description = f"{loaded.id}, converted by CorruptBench"
        low, high = loaded.space.low, loaded.space.high
        env_id = loaded.environment.id
        print(minari.write(name, fields, env_id=env_id, action_low=low, action_high=high, description=description))
        return 0
    digest = write_hdf5(path, fields)
    print(f"{path}: {len(loaded.rows):,} transitions, SHA-256 {digest}")
    return 0
