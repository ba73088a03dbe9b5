"""What a run leaves behind, as JSON that is the same to the byte whenever the run is repeated."""

import dataclasses
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from corruptbench.errors import IntegrityError, shown
from corruptbench.names import is_class_or_name, is_id, is_name, is_value
from corruptbench.spec import RunSpec
from corruptbench.store import MANIFEST, check_manifest, pretty, read_json
from corruptbench.typed import misfit

RECORD = "record.json"
RUN_ID = re.compile("[0-9a-f]{16}")
SCHEMA = 1
OUTCOMES = ("ok", "diverged", "failed")


@dataclass(frozen=True)
class RunRecord:
    """The spec and what came of it. Timings lie in a file of their own, because they are never the same twice."""

    spec: RunSpec
    command: str  # that repeats it
    options: dict[str, str]  # settings without a column of their own that differ from their defaults
    outcome: str  # ok, diverged or failed
    step: int  # training steps taken
    reason: str | None  # why it is not ok
    corruption: dict[str, Any]  # sha256 of the corrupted data and the audit, None and {} where it broke
    evaluation: dict[str, list] | None  # returns, lengths and seeds of the final episodes
    score: dict[str, float | None] | None  # return_mean and normalized_mean
    versions: dict[str, str]
    execution: dict[str, Any]  # device, engine, population, threads, cpu
    gate: dict[str, Any] = field(default_factory=dict)  # what the gate warned of and repaired in the clean dataset

    @property
    def run_id(self) -> str:
        return self.spec.run_id

    def to_json(self) -> dict[str, Any]:
        values = {name: getattr(self, name) for name in _OWN}
        env = dataclasses.asdict(self.spec.environment)
        dataset = {"id": self.spec.dataset, "sha256": self.spec.dataset_sha256, "env": env, "gate": self.gate}
        return {
            "schema": SCHEMA,
            "protocol": self.spec.protocol,
            "run_id": self.run_id,
            "spec": self.spec.to_json(),
            "dataset": dataset,
            **values,
        }

    def text(self) -> str:
        """The content of ``record.json``."""
        return pretty(self.to_json())

    @classmethod
    def read(cls, path: Path, *, contradictory: bool = False) -> "RunRecord":
        """Raises IntegrityError, naming the file, for one that is damaged or does not belong to its id.

        With ``contradictory`` a score need not be that of its returns; :func:`contradiction` tells.
        """
        try:
            value = read_json(path)
            schema = value["schema"]
            record = cls(
                RunSpec.from_json(value["spec"]),
                **{name: value[name] for name in _OWN},
                gate=value["dataset"].get("gate", {}),  # records of 0.1.0 have none
            )
            run_id = record.run_id
            wrong = misfit(record, cls, "record") or misfit(record.corruption["audit"], dict, "audit")
            wrong = wrong or _misnamed(record) or (None if contradictory else contradiction(record))
        except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
            raise IntegrityError(f"{path}: not a record of schema {SCHEMA}: {error}") from error
        if wrong:
            raise IntegrityError(f"{path}: not a record of schema {SCHEMA}: {wrong}")
        if schema != SCHEMA:
            raise IntegrityError(f"{path}: its schema is {schema!r}, and this version reads {SCHEMA}")
        if record.outcome not in OUTCOMES:
            raise IntegrityError(f"{path}: its outcome is {record.outcome!r}, allowed are {', '.join(OUTCOMES)}")
        if value.get("run_id") != run_id:
            raise IntegrityError(f"{path}: its run id {value.get('run_id')!r} is not that of its spec, {run_id!r}")
        return record


_OWN = tuple(f.name for f in dataclasses.fields(RunRecord) if f.name not in ("spec", "gate"))
"""The fields that stand in the record under their own names."""


def _misnamed(record: RunRecord) -> str | None:
    """The first name that could not stand in a table as it is; raises KeyError for one that is missing."""
    spec = record.spec
    hashes = (
        record.corruption["sha256"],
        spec.dataset_sha256,
        spec.corruption.surrogate_sha256,
        spec.corruption.source_sha256,
        spec.algorithm.source_sha256,
    )
    named: list[tuple[str, str, Callable[[str], bool]]] = [
        ("algorithm", spec.algorithm.name, is_class_or_name),
        ("corruption", spec.corruption.name, is_class_or_name),
        ("optimizer", spec.optimizer.name, is_name),
        *(("objective", name, is_name) for name in spec.optimizer.on),
        *(("setting of the optimizer", name, is_name) for name in spec.optimizer.options),
        ("track", spec.track, is_name),
        ("protocol", spec.protocol, is_name),
        ("dataset", spec.dataset, is_id),
        ("environment", spec.environment.id, is_id),
        *(("version", text, is_value) for text in (record.versions["corruptbench"], *record.versions.values())),
        ("processor", record.execution["cpu"], is_value),
        ("command", record.command, str.isprintable),
        *(("option", text, is_value) for option in record.options.items() for text in option),
        *(("hash", text, is_name) for text in hashes if text is not None),
    ]
    return next((f"its {kind} {shown(text)} is none" for kind, text, sound in named if not sound(text)), None)


def contradiction(record: RunRecord) -> str | None:
    """What in a record cannot be: a score that is not that of its returns."""
    if record.evaluation is None or record.score is None:
        return None if record.evaluation is record.score else "it has a score or an evaluation, and not both"
    returns, mean = record.evaluation.get("returns"), record.score.get("return_mean")
    if not isinstance(returns, list) or not returns or not all(isinstance(x, float) for x in [*returns, mean]):
        return "its returns and their mean are no numbers"
    expected = sum(returns) / len(returns)
    normalized = record.spec.environment.normalized(expected)
    for name, value in (("return_mean", expected), ("normalized_mean", normalized)):
        found = record.score.get(name)
        same = found is None if value is None else isinstance(found, float) and math.isclose(found, value, rel_tol=1e-9)
        if not same:
            return f"its {name} is {found!r}, and its returns give {value!r}"
    return None


def each_record(folder: Path) -> Iterator[RunRecord | IntegrityError]:
    """What each run's folder below ``folder`` holds, in the order of their names: a record, or what is wrong with it.

    A record is compared with the manifest that lies beside it, where one does. Names that begin with a dot are work in
    progress or leftovers, and no runs.
    """
    for run in run_folders(folder):
        try:
            yield read_run(run)
        except IntegrityError as error:
            yield error


def run_folders(folder: Path) -> list[Path]:
    """The folders below ``folder`` that are runs, in the order of their names; others are the user's own."""
    below = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    return [
        run for run in below if RUN_ID.fullmatch(run.name) or (run / RECORD).is_file() or (run / MANIFEST).is_file()
    ]


def read_run(run: Path, *, contradictory: bool = False) -> RunRecord:
    """The record in a run's folder; raises IntegrityError as :meth:`RunRecord.read`, and where the manifest differs."""
    path = run / RECORD
    if not path.is_file():
        raise IntegrityError(f"{path}: it is missing")
    if (run / MANIFEST).is_file():
        check_manifest(run, RECORD)
    return RunRecord.read(path, contradictory=contradictory)


def read_records(folder: Path) -> list[RunRecord]:
    """The record of every run's folder below ``folder``, in the order of their ids; raises IntegrityError for one."""
    records = []
    for found in each_record(folder):
        if isinstance(found, IntegrityError):
            raise found
        records.append(found)
    return sorted(records, key=lambda record: record.run_id)
