"""``corruptbench landscape``: the reward surface around finished runs, and the loss surface of their critics."""

from collections.abc import Sequence
from pathlib import Path

from corruptbench.cli.parser import Parser
from corruptbench.cli.source import add_clean_options, clean_data
from corruptbench.errors import UsageError


def main(arguments: Sequence[str]) -> int:
    from corruptbench.landscape.measured import MOST, Settings, measure

    usual = Settings()
    parser = Parser("corruptbench landscape", "How the return changes around the weights of finished runs.")
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folder of a run, or its id below --results")
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of the runs named by id")
    parser.add_argument(
        "--directions", type=int, default=usual.directions, help=f"random directions, 1 to {MOST['directions']}"
    )
    parser.add_argument(
        "--episodes", type=int, default=usual.episodes, help=f"of each point, 1 to {MOST['episodes']}, the same for all"
    )
    parser.add_argument(
        "--radius", type=float, default=usual.radius, help="how far to go each way, as a share of each unit's norm"
    )
    parser.add_argument(
        "--points", type=int, default=usual.points, help=f"steps from 0 to the radius, 1 to {MOST['points']}"
    )
    parser.add_argument("--plane", action="store_true", help="the plane of directions 0 and 1 as well")
    parser.add_argument("--loss", action="store_true", help="the loss of the critics as well")
    parser.add_argument("--objective", metavar="NAME", help="with --loss: of this objective instead, as V or actor")
    add_clean_options(parser, "with --loss: ")
    parser.add_argument("--plugin", type=Path, action="append", default=[], help="Python file that the runs need")
    parser.add_argument("--plot", type=Path, metavar="DIR", help="write figures there, as SVG and PNG (extra report)")
    parser.add_argument("--3d", dest="three", action="store_true", help="with --plot and --plane: reliefs as well")
    parser.add_argument("--json", action="store_true", help="print JSON with every point instead of the tables")
    options = parser.parse_args(arguments)
    if not options.loss:
        parser.require_beside("--loss", options, ("objective", "dataset"))
    if not options.dataset:
        parser.require_beside("--dataset", options, ("on_nonfinite", "download"))
    if options.three and not (options.plane and options.plot):
        raise UsageError("--3d draws the plane: give --plane and --plot DIR as well")
    settings = Settings(options.directions, options.episodes, options.radius, options.points, options.plane)

    from corruptbench.drawing import write
    from corruptbench.landscape.figures import check_library, figures
    from corruptbench.landscape.report import text, to_json
    from corruptbench.registry import load_plugin
    from corruptbench.store import pretty, probe_writable
    from corruptbench.trained import trained_run

    if options.plot:
        check_library()
    for path in options.plugin:
        load_plugin(path)
    runs = [trained_run(name, options.results, f"RUN {name}") for name in options.runs]
    if options.plot:
        probe_writable(options.plot, "--plot")
    clean = clean_data(options, runs[0].record)
    found = measure(
        runs, settings, loss=options.loss, objective=options.objective, results=options.results, clean=clean
    )
    print(pretty(to_json(found, settings)) if options.json else text(found, settings), end="", flush=True)
    if options.plot:
        write(options.plot, figures(found, settings, three=options.three))
    return 0
