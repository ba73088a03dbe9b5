"""Writes what ``corruptbench bench`` printed between markers of docs/performance.md.

corruptbench bench training population workers evaluation attack loading start --seconds 2 > bench.txt
python scripts/bench_table.py bench.txt
corruptbench bench optimizers --seconds 1.5 --rounds 3 > bench.txt && python scripts/bench_table.py bench.txt optimizers
corruptbench bench sharpness --rounds 1 > bench.txt && python scripts/bench_table.py bench.txt sharpness
"""

import sys
from pathlib import Path

from markers import insert

text = Path(sys.argv[1]).read_text("utf-8").rstrip()
marker = sys.argv[2] if len(sys.argv) > 2 else "bench"
insert(Path(__file__).parent.parent / "docs" / "performance.md", marker, f"```text\n{text}\n```")
