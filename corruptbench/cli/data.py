"""``corruptbench data``: the datasets there are, what is in one, whether it is sound, making one, changing format."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from corruptbench.cli import collect
from corruptbench.cli.parser import Parser, Verb
from corruptbench.cli.source import NAMES, add_source_options, load_rows
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
    info.add_argument("--plot", type=Path, help="PNG, SVG or PDF that is drawn (extra report)")
    info.add_argument("--json", action="store_true", help="print JSON instead of the table")
    check = verbs.add_parser("check", help="passes a dataset through the gate and prints what it saw")
    check.add_argument("dataset", help=NAMES)
    add_source_options(check)
    check.add_argument("--json", action="store_true", help="print JSON instead of sentences")
    convert = verbs.add_parser("convert", help="D4RL's HDF5 into Minari, and back")
    convert.add_argument("dataset", help=NAMES)
    convert.add_argument("target", help="minari:ID, or a path that ends in .hdf5")
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

        print("\n".join(f"minari:{name}" for name in local_ids()), end="\n")
    else:
        for name, card in shipped().items():
            size = f"{card['transitions']:>9,} transitions, {card['episodes']:,} episodes"
            print(f"{name:<18} {card['environment']:<15} {size}")
    return 0


def _check(options: argparse.Namespace) -> int:
    loaded = load_rows(options)
    sha256 = loaded.file_sha256
    if options.json:
        rows = {"transitions": len(loaded.rows), "episodes": len(set(loaded.rows.episodes.tolist()))}
        value = {"id": loaded.id, "environment": loaded.environment.id, **rows, "file_sha256": sha256}
        print(json.dumps({**value, **loaded.report.to_json()}, indent=1, sort_keys=True))
        return 0
    print(f"{loaded.id}: sound, {len(loaded.rows):,} transitions for {loaded.environment.id}")
    for sentence in loaded.report.sentences:
        print(sentence)
    if sha256:
        print(f"SHA-256 of the file {sha256}")
    print(f"SHA-256 of the content {loaded.dataset().sha256}")
    return 0


def _info(options: argparse.Namespace) -> int:
    from corruptbench.data.describe import describe, plot, text

    dataset = load_rows(options).dataset()
    before, after, corrupted = describe(dataset), None, None
    if options.corrupt:
        from corruptbench.corrupting import corrupt

        corrupted = corrupt(dataset, options.corrupt, options.unit)[1].dataset
        after = describe(corrupted)
    if options.json:
        print(json.dumps({"clean": before, **({options.corrupt: after} if after else {})}, indent=1))
    else:
        print(text(before, after, options.corrupt or ""), end="")
    if options.plot:
        plot(options.plot, dataset, corrupted, options.corrupt or "")
        print(f"drawn: {options.plot}", file=sys.stderr)
    return 0


def _convert(options: argparse.Namespace) -> int:
    from corruptbench.data.export import fields_of, write_hdf5

    loaded = load_rows(options)
    if options.target.startswith("minari:"):
        from corruptbench.data import minari

        box = loaded.space
        written = minari.write(
            options.target.removeprefix("minari:"),
            fields_of(loaded.rows),
            env_id=loaded.environment.id,
            action_low=box.low,
            action_high=box.high,
            description=f"{loaded.id}, converted by CorruptBench",
        )
        print(written)
        return 0
    path = Path(options.target)
    if path.suffix not in (".hdf5", ".h5"):
        raise UsageError(f"data convert: {options.target!r} is no target, allowed are minari:ID and PATH.hdf5")
    if path.exists():
        raise UsageError(f"data convert: {path} exists already, and nothing is overwritten")
    digest = write_hdf5(path, fields_of(loaded.rows))
    print(f"{path}: {len(loaded.rows):,} transitions, SHA-256 {digest}")
    return 0
