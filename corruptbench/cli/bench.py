"""``corruptbench bench``: this machine's speed beside a plain version."""

import json
from collections.abc import Sequence

from corruptbench.cli.parser import Parser
from corruptbench.errors import UsageError


def main(arguments: Sequence[str]) -> int:
    parser = Parser("corruptbench bench", "Training steps per second beside the field's usual code, and peak memory.")
    parser.add_argument("--dataset", default="hopper-replay", help="whose sizes are trained on")
    parser.add_argument("--engine", default="auto", help="auto, compiled or eager")
    parser.add_argument("--seconds", type=float, default=5.0, help="of one measurement")
    parser.add_argument(
        "--rounds", type=int, default=5, help="measurements of each version, in turn; the median counts"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    options = parser.parse_args(arguments)
    if options.seconds <= 0 or options.rounds < 1:
        raise UsageError("--seconds must be above 0 and --rounds 1 and above")

    from corruptbench.bench import measure
    from corruptbench.engine import resolve_engine

    rows = measure(options.dataset, resolve_engine(options.engine), options.seconds, options.rounds)
    if options.json:
        print(json.dumps(rows, indent=1))
        return 0
    print(f"{'one thread':<12} {'engine':<9} {'steps/s':>8} {'plain':>8} {'ratio':>6} {'memory':>9} {'start-up':>9}")
    for row in rows:
        print(
            f"{row['case']:<12} {row['engine']:<9} {row['steps_per_second']:8.1f} {row['plain_steps_per_second']:8.1f} "
            f"{row['ratio']:6.2f} {row['peak_memory_mb']:6.0f} MB {row['start_up_seconds']:7.1f} s"
        )
    return 0
