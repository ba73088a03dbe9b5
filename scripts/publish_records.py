"""Copies finished runs into leaderboard/records: python scripts/publish_records.py results

Records and curves, no weights and no timings. Runs with seeds of one's own and quick looks are left out, and a run that
stands there already stays as it is: made on another kind of CPU it may have another score, and the first one counts.
"""

import shutil
import sys
from pathlib import Path

from corruptbench.records import RunRecord
from corruptbench.request import QUICK_STEPS
from corruptbench.store import check_manifest

target = Path(__file__).parent.parent / "leaderboard" / "records"
for path in sorted(Path(sys.argv[1]).glob("*/record.json")):
    if path.parent.name.startswith("."):
        continue  # left over by a run that was killed
    check_manifest(path.parent)
    record = RunRecord.read(path)
    if record.spec.unit is None or record.spec.steps <= QUICK_STEPS:
        continue
    folder = target / record.run_id
    if (folder / "record.json").is_file():
        continue
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("record.json", "curve.csv"):
        if (path.parent / name).is_file():
            shutil.copyfile(path.parent / name, folder / name)
    print(record.run_id, record.outcome, record.command)
