"""Tables between ``<!-- NAME -->`` and ``<!-- /NAME -->`` in the docs, for the scripts that write them."""

import re
from pathlib import Path


def insert(path: Path, marker: str, text: str) -> None:
    """Replaces what stands between a pair of markers."""
    pattern = re.compile(rf"(<!-- {marker} -->\n).*?(<!-- /{marker} -->)", re.DOTALL)
    old = path.read_text("utf-8")
    if not pattern.search(old):
        raise SystemExit(f"{path} has no pair of markers {marker!r}")
    path.write_text(pattern.sub(lambda found: f"{found[1]}{text}\n{found[2]}", old), "utf-8")
