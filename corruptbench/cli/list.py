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
    if options.kind == "datasets":
        from corruptbench.cli.data import main as data

        return data(["list"])
    found: list[tuple[str, str, str]] = []  # name, what it is, defaults
    if options.kind in ("algos", "corruptions"):
        registry = ALGORITHMS if options.kind == "algos" else CORRUPTIONS
        found += [(n, _first_line(registry.get(n)), _defaults(registry.get(n))) for n in registry.names()]
        for name, attacks in ENSEMBLES.items() if options.kind == "corruptions" else ():
            found.append((name, f"The worst of {len(attacks)} threat models.", "  ".join(attacks)))
    elif options.kind == "optimizers":
        from corruptbench.optimizers import OPTIMIZERS

        found += [(name, _first_line(cls), _defaults(cls, but="on")) for name, cls in OPTIMIZERS.items()]
    else:
        folder = settings.CONFIGS / options.kind
        found += [(name, _comment(folder / f"{name}.yaml"), "") for name in settings.names(options.kind)]
    width = max(12, *(len(name) for name, _, _ in found))
    for name, what, defaults in found:
        print(f"{name:<{width}} {what}")
        if defaults:
            print(f"{'':<{width}} {defaults}")
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
