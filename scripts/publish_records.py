"""Copies finished runs into leaderboard/records: python scripts/publish_records.py results [leaderboard/records]

Records, curves and sharpness reports with a manifest of their SHA-256 sums, no weights and no timings. Runs with seeds
of one's own and quick looks are left out, and a run that stands there already stays as it is: made on another kind of
CPU it may have another score, and the first one counts. Only a sharpness report is added to it. With ``--renew`` a run
of another version gives way to the one in results: for all runs of a comparison done again, never for some of them.
"""

import shutil
import sys
from pathlib import Path

from corruptbench.records import RECORD, RunRecord
from corruptbench.request import QUICK_STEPS
from corruptbench.sharpness import SHARPNESS
from corruptbench.store import MANIFEST, check_manifest, publish


def measured_since(source: Path, there: Path) -> bool:
    """Whether a published run is this one to the byte, and only its sharpness report is missing."""
    same = (source / RECORD).read_bytes() == (there / RECORD).read_bytes()
    return same and (source / SHARPNESS).is_file() and not (there / SHARPNESS).is_file()


def of_another_version(record: RunRecord, there: Path) -> bool:
    return RunRecord.read(there / RECORD).versions["corruptbench"] != record.versions["corruptbench"]


renew = "--renew" in sys.argv
folders = [argument for argument in sys.argv[1:] if argument != "--renew"]
target = Path(folders[1]) if len(folders) > 1 else Path(__file__).parent.parent / "leaderboard" / "records"
for path in sorted(Path(folders[0]).glob(f"*/{RECORD}")):
    if path.parent.name.startswith("."):
        continue  # left over by a run that was killed
    check_manifest(path.parent)
    record = RunRecord.read(path)
    if record.spec.unit is None or record.spec.steps <= QUICK_STEPS:
        continue
    there = target / record.run_id
    given_way = renew and (there / MANIFEST).is_file() and of_another_version(record, there)
    if (there / MANIFEST).is_file() and not measured_since(path.parent, there) and not given_way:
        continue

    def write(folder: Path, source: Path = path.parent) -> None:
        for name in (RECORD, "curve.csv", SHARPNESS):
            if (source / name).is_file():
                shutil.copyfile(source / name, folder / name)

    publish(there, write, replace=True)
    print(record.run_id, record.outcome, record.command)
