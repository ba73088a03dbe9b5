"""Copies finished runs into leaderboard/records: python scripts/publish_records.py results [leaderboard/records]

Records and curves with a manifest of their SHA-256 sums, no weights and no timings. Runs with seeds of one's own and
quick looks are left out, and a run that stands there already stays as it is: made on another kind of CPU it may have
another score, and the first one counts.
"""

import shutil
import sys
from pathlib import Path

from corruptbench.records import RECORD, RunRecord
from corruptbench.request import QUICK_STEPS
from corruptbench.store import MANIFEST, check_manifest, publish

target = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(__file__).parent.parent / "leaderboard" / "records"
for path in sorted(Path(sys.argv[1]).glob(f"*/{RECORD}")):
    if path.parent.name.startswith("."):
        continue  # left over by a run that was killed
    check_manifest(path.parent)
    record = RunRecord.read(path)
    if record.spec.unit is None or record.spec.steps <= QUICK_STEPS or (target / record.run_id / MANIFEST).is_file():
        continue

    def write(folder: Path, source: Path = path.parent) -> None:
        for name in (RECORD, "curve.csv"):
            if (source / name).is_file():
                shutil.copyfile(source / name, folder / name)

    publish(target / record.run_id, write)
    print(record.run_id, record.outcome, record.command)
