"""Records to tables: one row a run, one row a cell and algorithm. The tables are derived and never edited."""

import hashlib
from collections.abc import Iterable, Sequence
from importlib.resources import files
from pathlib import Path

from corruptbench.csv_text import read_csv
from corruptbench.errors import IntegrityError
from corruptbench.listing import Row, runs_csv
from corruptbench.records import RunRecord
from corruptbench.suites import Suite, suite, suite_names
from corruptbench.summary import summary_csv

LEADERBOARD = Path(str(files("corruptbench.leaderboard")))


def build(records: Sequence[RunRecord], selected: Suite) -> dict[str, str]:
    """File name -> content of a suite's two tables."""
    selection = [record for record in records if selected.selects(record)]
    weak = {record.run_id for record in selection if is_weak(record)}
    chosen = runs_csv(selection)
    return {
        f"{selected.name}.csv": chosen,
        f"{selected.name}-summary.csv": summary_csv(read_csv(chosen), selected, weak),
    }


def is_weak(record: RunRecord) -> bool:
    """Flag ``surrogate-weak`` of section 2, of any element."""
    audits = record.corruption["audit"].values()
    return any(isinstance(figures, dict) and figures.get("surrogate_weak") for figures in audits)


def shipped_runs() -> list[Row]:
    """The runs of every shipped table, each run once, checked against ``SHA256SUMS``."""
    listed = LEADERBOARD / "SHA256SUMS"
    try:
        sums = dict(line.split("  ")[::-1] for line in listed.read_text("ascii").splitlines())
    except (OSError, ValueError) as error:
        raise IntegrityError(f"{listed}: not readable as a list of SHA-256 sums: {error}") from error
    runs: dict[str, Row] = {}
    for name in sorted(sums.keys() | {f"{known}.csv" for known in suite_names()}):
        path = LEADERBOARD / name
        content = path.read_bytes() if path.is_file() else None
        if content is None and name not in sums:
            continue  # a suite of which nothing has been run
        if content is None or hashlib.sha256(content).hexdigest() != sums.get(name):
            raise IntegrityError(f"{path}: its content is not what {LEADERBOARD / 'SHA256SUMS'} says")
        if not name.endswith("-summary.csv"):
            runs.update((row["run_id"], row) for row in read_csv(content.decode()))
    return list(runs.values())


def sums_of(contents: dict[str, str]) -> str:
    """``SHA256SUMS`` of files by name, in the form that ``sha256sum -c`` reads."""
    return "".join(f"{hashlib.sha256(contents[name].encode()).hexdigest()}  {name}\n" for name in sorted(contents))


def build_all(records: Sequence[RunRecord], names: Iterable[str]) -> dict[str, str]:
    """The tables of the named suites and their ``SHA256SUMS``, by file name."""
    contents: dict[str, str] = {}
    for name in names:
        contents.update(build(records, suite(name)))
    return {**contents, "SHA256SUMS": sums_of(contents)}
