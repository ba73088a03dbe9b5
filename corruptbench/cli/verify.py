"""``corruptbench verify``: every damaged, missing or foreign file of a folder, one line each."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from corruptbench.cli.parser import Parser
from corruptbench.errors import IntegrityError, ResourceError


def main(arguments: Sequence[str]) -> int:
    """0 where everything is as it was written, 4 otherwise."""
    parser = Parser("corruptbench verify", "Checks every file of a folder against what was written, and changes none.")
    parser.add_argument(
        "folder",
        type=Path,
        help="folder of results or records, one run, a cache, a dataset, or tables with SHA256SUMS",
    )
    parser.add_argument("--json", action="store_true", help="print the findings as JSON, and the summary as an error")
    options = parser.parse_args(arguments)

    from corruptbench.store import pretty
    from corruptbench.verify import Verification

    found = []
    try:
        verification = Verification(options.folder)
        for path, what in verification.findings():
            name = path.relative_to(verification.root).as_posix()
            found.append({"path": name, "what": what.replace(f"{verification.root}{os.sep}", "")})
            if not options.json:
                print(f"{name}: {found[-1]['what']}")
    except OSError as error:
        raise ResourceError(f"{error.filename}: could not be read: {error.strerror}") from error
    if options.json:
        print(pretty(found), end="")
    hidden = f"; {verification.unfinished} unfinished or left over, with a dot in front" * bool(verification.unfinished)
    plural = "" if len(found) == 1 else "s"
    summary = f"{options.folder}: {verification.files} files, {len(found) or 'no'} finding{plural}{hidden}"
    print(summary, file=sys.stderr if options.json else sys.stdout)
    return IntegrityError.exit_code if found else 0
