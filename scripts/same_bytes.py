"""Does `smoke` in several ways and compares every record and weight: python scripts/same_bytes.py

One worker, two workers, two workers in the opposite order, and Ray with two workers. The outcome goes between the
markers of docs/sweeps.md, and the exit code is 1 where a file differs.
"""

import hashlib
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from markers import insert

from corruptbench.attempt import Setup
from corruptbench.suites import suite
from corruptbench.sweep.cluster import connect, on_ray
from corruptbench.sweep.jobs import jobs
from corruptbench.sweep.sweep import here, sweep

DOC = Path(__file__).parent.parent / "docs" / "sweeps.md"


def hashes(out: Path) -> dict[str, str]:
    files = (path for path in sorted(out.rglob("*")) if path.is_file())
    return {
        path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if path.name not in ("timing.json", "manifest.json")
    }


def differing(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """The files that have another hash in the other, or are in one of them only."""
    return sorted(path for path in one.keys() | other.keys() if one.get(path) != other.get(path))


def main() -> int:
    requests = list(suite("smoke").requests())
    lines = ["| smoke, done | minutes | files with the same bytes |", "|---|---:|---:|"]
    first: dict[str, str] = {}
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        os.environ["CORRUPTBENCH_CACHE"] = f"{folder}/cache"
        for name, order, workers in (
            ("by one worker", 1, 1), ("by two", 1, 2), ("by two, in the opposite order", -1, 2), ("by Ray, two", 1, 2),
        ):  # fmt: skip
            out = Path(folder) / name.replace(" ", "-")
            begin = time.monotonic()
            todo = jobs(requests[::order], out, Setup())
            launch = partial(here, out=out, workers=workers)
            if "Ray" in name:
                room = connect(None, workers, 1)
                launch = partial(on_ray, out=out, threads=1, room=room)
            swept = sweep(todo, launch, out, workers)
            assert all(each.ok for each in swept), [each.words for each in swept if not each.ok]
            found = hashes(out)
            first = first or found
            others = differing(first, found)
            same = len(first.keys() - others)
            lines.append(f"| {name} | {(time.monotonic() - begin) / 60:.1f} | {same} of {len(first)} |")
            print(lines[-1], *others, sep="\n", file=sys.stderr)
            failed = failed or bool(others)
    insert(DOC, "same", "\n".join(lines))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
