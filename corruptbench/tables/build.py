"""Records to tables: one row a run, one row a cell and algorithm. The tables are derived and never edited."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence

from corruptbench.csv_text import to_csv
from corruptbench.errors import DataError
from corruptbench.records import RunRecord
from corruptbench.suites import Suite, suite, suite_names
from corruptbench.tables.listing import RUNS, run_rows
from corruptbench.tables.overall import overall_csv
from corruptbench.tables.reading import SUMS
from corruptbench.tables.summary import summary_csv


def build(records: Sequence[RunRecord], selected: Suite) -> dict[str, str]:
    """File name -> content of a suite's three tables.

    Raises DataError where the runs are on two datasets of one name, which no row tells apart.
    """
    selection = [record for record in records if selected.selects(record)]
    for name in selected.dataset_ids:
        if len(found := {record.spec.dataset_sha256 for record in selection if record.spec.dataset == name}) > 1:
            digests = " and ".join(sorted(digest[:16] for digest in found))
            raise DataError(
                f"suite {selected.name}: its runs are on {len(found)} datasets called {name}, of SHA-256 {digests}; "
                "files of different content need names of their own"
            )
    weak = {record.run_id for record in selection if is_weak(record)}
    rows = run_rows(selection)
    return {
        f"{selected.name}.csv": to_csv(RUNS, rows),
        f"{selected.name}-summary.csv": summary_csv(rows, selected, weak),
        f"{selected.name}-overall.csv": overall_csv(rows, selected),
    }


def is_weak(record: RunRecord) -> bool:
    """Flag ``surrogate-weak`` of section 2, of any element."""
    audits = record.corruption["audit"].values()
    return any(isinstance(figures, dict) and figures.get("surrogate_weak") for figures in audits)


def build_all(records: Sequence[RunRecord], names: Iterable[str] | None = None) -> dict[str, str]:
    """The tables of suites and their ``SHA256SUMS``, by file name; without names, of each suite that has a run."""
    contents: dict[str, str] = {}
    for selected in chosen(records, names):
        contents.update(build(records, selected))
    return {**contents, SUMS: sums_of(contents)}


def chosen(records: Sequence[RunRecord], names: Iterable[str] | None = None) -> Iterator[Suite]:
    """The suites of these names, each once; without names, those that have a run."""
    for name in suite_names() if names is None else dict.fromkeys(names):
        selected = suite(name)
        if names is not None or any(selected.selects(record) for record in records):
            yield selected


def sums_of(contents: dict[str, str]) -> str:
    """``SHA256SUMS`` of files by name, in the form that ``sha256sum -c`` reads."""
    return "".join(f"{hashlib.sha256(contents[name].encode()).hexdigest()}  {name}\n" for name in sorted(contents))


def with_line(sums: str, name: str, digest: str) -> str:
    """``SHA256SUMS`` with the line of one more file, or another line where it has one."""
    lines = [line for line in sums.splitlines(keepends=True) if not line.endswith(f"  {name}\n")]
    return "".join(sorted([*lines, f"{digest}  {name}\n"], key=lambda line: line[66:]))
