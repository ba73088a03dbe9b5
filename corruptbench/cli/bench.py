"""``corruptbench bench``: this machine's speed beside a plain version and the hardware's limit."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from corruptbench.cli.parser import Parser
from corruptbench.errors import UsageError

SHORTEST, LONGEST = 0.01, 3600.0
"""Seconds of one measurement; ten steps are timed in any case."""


def main(arguments: Sequence[str]) -> int:
    from corruptbench.bench import PARTS, check, machine, measure
    from corruptbench.bench.earlier import Earlier, conditions
    from corruptbench.bench.processes import THREADS
    from corruptbench.engine import ENGINES, resolve_engine

    parser = Parser("corruptbench bench", "How fast this machine is, beside the field's usual code and its own limit.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)} (default: all)")
    parser.add_argument("--dataset", default="hopper-replay", help="shipped dataset that is trained on")
    parser.add_argument("--engine", choices=ENGINES, default="auto", help="compiled where there is a C++ compiler")
    parser.add_argument("--seconds", type=float, default=3.0, help="of one measurement")
    parser.add_argument(
        "--rounds", type=int, default=5, help="measurements of each version, in turn; the median counts"
    )
    parser.add_argument("--against", type=Path, metavar="FILE", help="an earlier --json to compare with")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    options = parser.parse_args(arguments)
    if not SHORTEST <= options.seconds <= LONGEST:
        raise UsageError(f"--seconds is {options.seconds:g}, allowed is {SHORTEST:g} to {LONGEST:g}")
    if options.rounds < 1:
        raise UsageError(f"--rounds is {options.rounds}, allowed is 1 and above")
    parts = options.parts or list(PARTS)
    check(parts, options.dataset)
    earlier = None if options.against is None else Earlier.read(options.against)

    settings = {
        "dataset": options.dataset,
        "engine": resolve_engine(options.engine),
        "seconds": options.seconds,
        "rounds": options.rounds,
    }
    result: dict[str, Any] = {"machine": machine(), "settings": {**settings, "threads": THREADS}, "rows": []}
    if earlier is not None:
        result["differs_from_earlier"] = earlier.differences(conditions(result["machine"], result["settings"]))
    if not options.json:
        print(head(result), flush=True)
    for row in measure(parts, **settings):
        result["rows"].append({**row, **(earlier.beside(row) if earlier else {})})
        if not options.json:
            print(line(result["rows"][-1]), flush=True)
    if options.json:
        print(json.dumps(result, indent=1))
    return 0


HEAD = f"{'':<31} {'':>8} {'':<14} {'ratio':>6}  {'to':<17} {'of mm':>6} {'memory':>8} {'1st step':>8} {'earlier':>8}"


def head(result: dict[str, Any]) -> str:
    """What stands above the rows: the machine, what differs from an earlier result, and the columns."""
    about = result["machine"]
    lines = [f"{about['processor']}, {about['cores']} cores, {about['capability']}, one thread a run"]
    if "differs_from_earlier" in result:
        differs = ", ".join(result["differs_from_earlier"])
        lines.append(f"earlier result: {differs or 'same machine, versions and settings'}")
    return "\n".join([*lines, HEAD.rstrip()])


def line(row: dict[str, Any]) -> str:
    """A row of the table; an empty place where something is not measured."""

    def shown(name: str, form: str) -> str:
        return "" if row.get(name) is None else form.format(row[name])

    if "not_measured" in row:
        return f"{row['what']:<31} not measured: {row['not_measured']}"
    value = row["value"]
    number = "-" if value is None else f"{value:.2f}" if value < 10 else f"{value:,.0f}"
    judged = row.get("than_earlier", "same")
    return (
        f"{row['what']:<31} {number:>8} {row['unit']:<14} {shown('ratio', '{:.2f}'):>6}  {row.get('beside', ''):<17} "
        f"{shown('share_of_matrix_rate', '{:.0%}'):>6} {shown('memory_mb', '{:.0f} MB'):>8} "
        f"{shown('first_step_s', '{:.1f} s'):>8} {shown('times_earlier', '{:.2f} x'):>8}"
        f"{'' if judged == 'same' else f', {judged}'}"
    ).rstrip()
