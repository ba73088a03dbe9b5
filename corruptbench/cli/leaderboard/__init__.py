"""``corruptbench leaderboard``: tables from records, and what is done with them; one file a verb."""

from collections.abc import Sequence

from corruptbench.cli.leaderboard import build, compare, report, validate
from corruptbench.cli.parser import Parser, Verb

VERBS = {"build": build, "compare": compare, "report": report, "validate": validate}


def main(arguments: Sequence[str]) -> int:
    parser = Parser("corruptbench leaderboard", "Tables from records, and what is compared with them.")
    verbs = parser.add_subparsers(dest="verb", required=True, parser_class=Verb)
    for name, module in VERBS.items():
        module.add_options(verbs.add_parser(name, help=module.HELP))
    options = parser.parse_args(arguments)
    return VERBS[options.verb].main(options)
