"""Writes what ``corruptbench bench`` printed between the markers of docs/performance.md.

corruptbench bench --seconds 2 > bench.txt && python scripts/bench_table.py bench.txt
"""

import sys
from pathlib import Path

DOC = Path(__file__).parent.parent / "docs" / "performance.md"


def main() -> None:
    text = Path(sys.argv[1]).read_text("utf-8").rstrip()
    begin, end = "<!-- bench -->", "<!-- /bench -->"
    head, _, rest = DOC.read_text("utf-8").partition(begin)
    DOC.write_text(f"{head}{begin}\n```text\n{text}\n```\n{end}{rest.partition(end)[2]}", "utf-8")


if __name__ == "__main__":
    main()
