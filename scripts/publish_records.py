"""Copies finished runs into leaderboard/records: python scripts/publish_records.py results

Records, curves and sharpness reports with a manifest of their SHA-256 sums, no weights and no timings. Runs with seeds
of one's own and quick looks are left out, and a run that stands there already stays as it is: made on another kind of
CPU it may have another score, and the first one counts. Only a sharpness report is added to it.
"""

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

from corruptbench.records import RECORD, RunRecord
from corruptbench.request import QUICK_STEPS
from corruptbench.sharpness import SHARPNESS
from corruptbench.store import MANIFEST, check_manifest, publish

RECORDS = Path(__file__).parent.parent / "leaderboard" / "records"
COPIED = (RECORD, "curve.csv", SHARPNESS)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="the folder of the runs")
    parser.add_argument("records", type=Path, nargs="?", default=RECORDS, help="default: leaderboard/records")
    parser.add_argument(
        "--renew",
        action="store_true",
        help="a run of another version gives way to the one in RESULTS: for all runs of a comparison done again, "
        "never for some of them",
    )
    options = parser.parse_args(arguments)
    found = sorted(options.results.glob(f"[!.]*/{RECORD}"))  # a run that was killed leaves a name with a point
    if not found:
        parser.error(f"results is {options.results}, which has no runs: expected {RECORD} in a folder for each")
    for path in found:
        check_manifest(path.parent)
        record = RunRecord.read(path)
        if wanted(record, path.parent, options.records / record.run_id, renew=options.renew):
            publish(options.records / record.run_id, lambda folder, run=path.parent: copy(run, folder), replace=True)
            print(record.run_id, record.outcome, record.command)


def wanted(record: RunRecord, run: Path, there: Path, *, renew: bool) -> bool:
    """Whether a run is to be published where ``there`` is its place."""
    if record.spec.unit is None or record.spec.steps <= QUICK_STEPS:
        return False
    if not (there / MANIFEST).is_file():
        return True
    return measured_since(run, there) or (renew and of_another_version(record, there))


def measured_since(run: Path, there: Path) -> bool:
    """Whether a published run is this one to the byte, and only its sharpness report is missing."""
    same = (run / RECORD).read_bytes() == (there / RECORD).read_bytes()
    return same and (run / SHARPNESS).is_file() and not (there / SHARPNESS).is_file()


def of_another_version(record: RunRecord, there: Path) -> bool:
    return RunRecord.read(there / RECORD).versions["corruptbench"] != record.versions["corruptbench"]


def copy(run: Path, folder: Path) -> None:
    for name in COPIED:
        if (run / name).is_file():
            shutil.copyfile(run / name, folder / name)


if __name__ == "__main__":
    main()
