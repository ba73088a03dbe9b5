"""Does `smoke` in several ways and compares every record and weight: python scripts/same_bytes.py

One worker, two workers, two workers in the opposite order, and Ray with two workers. The outcome goes between the
markers of docs/sweeps.md.
"""

import hashlib
import os
import sys
import tempfile
import time
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


def main() -> None:
    requests = list(suite("smoke").requests())
    lines = ["| smoke, done | minutes | files with the same bytes |", "|---|---:|---:|"]
    first: dict[str, str] = {}
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
            same = sum(found.get(path) == digest for path, digest in first.items())
            assert found.keys() == first.keys()
            lines.append(f"| {name} | {(time.monotonic() - begin) / 60:.1f} | {same} of {len(first)} |")
            print(lines[-1], file=sys.stderr)
    insert(DOC, "same", "\n".join(lines))


if __name__ == "__main__":
    main()
