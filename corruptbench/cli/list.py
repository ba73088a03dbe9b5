"""``corruptbench list``: what there is, one line each, with the defaults."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from corruptbench.cli.parser import Parser

KINDS = ("algos", "corruptions", "datasets", "suites", "presets", "optimizers")


def main(arguments: Sequence[str]) -> int:
    parser = Parser("corruptbench list", "What there is, one line each, with the defaults.")
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--plugin", type=Path, action="append", default=[], help="Python file with more of them")
    options = parser.parse_args(arguments)

    from corruptbench import settings
    from corruptbench.corruptions.auto import ENSEMBLES
    from corruptbench.registry import ALGORITHMS, CORRUPTIONS, load_plugin

    for path in options.plugin:
        load_plugin(path)
    if options.kind in ("algos", "corruptions"):
        registry = ALGORITHMS if options.kind == "algos" else CORRUPTIONS
        for name in registry.names():
            print(f"{name:<12} {_first_line(registry.get(name))}\n{'':<12} {_defaults(registry.get(name))}")
        for name, attacks in ENSEMBLES.items() if options.kind == "corruptions" else ():
            print(f"{name:<12} The worst of {len(attacks)} threat models.\n{'':<12} {'  '.join(attacks)}")
    elif options.kind == "datasets":
        from corruptbench.cli.data import main as data

        return data(["list"])
    elif options.kind == "optimizers":
        from corruptbench.optimizers import OPTIMIZERS

        for name, cls in OPTIMIZERS.items():
            print(f"{name:<12} {_first_line(cls)}")
            if defaults := _defaults(cls, but="on"):
                print(f"{'':<12} {defaults}")
    else:
        for name in settings.names(options.kind):
            print(f"{name:<12} {_comment(settings.CONFIGS / options.kind / f'{name}.yaml')}")
    return 0


def _first_line(cls: type) -> str:
    return (cls.__doc__ or "").strip().partition("\n")[0]


def _defaults(cls: type, but: str = "") -> str:
    return "  ".join(f"{f.name}={f.default}" for f in dataclasses.fields(cls) if f.name != but)


def _comment(path: Path) -> str:
    """The comment at the head of a YAML file."""
    lines = path.read_text("utf-8").splitlines()
    head = lines[: next(i for i, line in enumerate([*lines, ""]) if not line.startswith("#"))]
    return " ".join(line.lstrip("# ") for line in head)
