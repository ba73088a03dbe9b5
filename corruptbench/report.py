"""Records to tables: one row a run, one row a cell and algorithm. The tables are derived and never edited."""

import csv
import hashlib
import io
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from corruptbench import stats
from corruptbench.corruptions.auto import members as members_of
from corruptbench.errors import IntegrityError
from corruptbench.records import RunRecord
from corruptbench.suites import Suite, split_preset, suite, suite_names, threat_key

LEADERBOARD = Path(str(files("corruptbench.leaderboard")))
CELL = (
    "protocol", "dataset", "environment", "algo", "optimizer", "sam_on", "rho", "track", "corruption", "rate", "scale",
    "preset", "options",
)  # fmt: skip
RUNS = (
    *CELL, "unit", "train_seed", "corruption_seed", "steps", "outcome", "return_mean", "normalized", "corrupted_sha256",
    "run_id", "version", "command",
)  # fmt: skip
SUMMARY = (
    "protocol", "suite", *CELL[1:], "steps", "n", "failed", "mean", "std", "worst_quarter", "ci_low", "ci_high",
    "flags",
)  # fmt: skip

Row = dict[str, str]


def shown_name(algo: str, optimizer: str) -> str:
    """``riql+sam``: an algorithm as tables show it."""
    return algo if optimizer == "adam" else f"{algo}+{optimizer}"


def run_row(record: RunRecord) -> Row:
    """A record as a row of the runs CSV; every value is text, numbers with 4 decimals where they were measured."""
    spec = record.spec
    score = record.score or {}
    options = {**record.options, **_sources(record)}
    preset = options.pop("corruption.preset", "")
    return {
        "protocol": spec.protocol,
        "dataset": spec.dataset,
        "environment": spec.environment.id,
        "algo": spec.algorithm.name,
        "optimizer": spec.optimizer.name,
        "sam_on": "+".join(spec.optimizer.on),
        "rho": str(spec.optimizer.rho) if spec.optimizer.on else "",
        "track": spec.track,
        "corruption": spec.corruption.name,
        "rate": f"{spec.corruption.rate:g}",
        "scale": f"{spec.corruption.scale:g}",
        "preset": preset,
        "options": ";".join(f"{name}={value}" for name, value in sorted(options.items())),
        "unit": "" if spec.unit is None else str(spec.unit),
        "train_seed": str(spec.train_seed),
        "corruption_seed": str(spec.corruption_seed),
        "steps": str(spec.steps),
        "outcome": record.outcome,
        "return_mean": _number(score.get("return_mean")),
        "normalized": _number(score.get("normalized_mean")),
        "corrupted_sha256": record.corruption["sha256"] or "",
        "run_id": record.run_id,
        "version": record.versions["corruptbench"],
        "command": record.command,
    }


def runs_csv(records: Iterable[RunRecord]) -> str:
    """The runs CSV, sorted by what was run."""
    rows = sorted((run_row(record) for record in records), key=order)
    return _csv(RUNS, rows)


def summary_csv(runs: Sequence[Row], selected: Suite, weak: Collection[str] = ()) -> str:
    """One row for each algorithm in each cell: its units' mean, spread, worst quarter, interval and flags.

    Diverged and failed runs count with the floor of section 4; n never shrinks. ``weak`` are the ids of runs in whose
    audit an attack was weaker than noise. An ensemble of the suite is a row of its own, its worst case.
    """
    groups: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    sound: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for row in runs:
        groups[tuple(row[name] for name in CELL)].append(row)
        if row["outcome"] == "ok" and row["normalized"]:
            sound[cell(row)].append(float(row["normalized"]))
    units = _units(list(groups.values()), selected)
    scores = {key: _by_unit(members, sound[cell(members[0])]) for key, members in groups.items()}
    rows = []
    for key, members in groups.items():
        values = list((scores[key] or {}).values())
        flags = [_size(min(units, len(members)))]
        if any(member["run_id"] in weak for member in members):
            flags.append("surrogate-weak")
        if _transfers_badly(key, scores):
            flags.append("transfer-weak")
        rows.append(
            {
                **dict(zip(CELL, key, strict=True)),
                "suite": f"{selected.name}-{selected.version}",
                "steps": members[0]["steps"],
                "n": str(len(members)),
                "failed": str(sum(m["outcome"] != "ok" for m in members)),
                "mean": _number(stats.mean(values) if values else None),
                "std": _number(stats.std(values) if values else None),
                "worst_quarter": _number(stats.worst_quarter(values) if values else None),
                **_bounds(stats.interval(values, "/".join(key)) if values else None),
                "flags": ";".join(filter(None, flags)),
            }
        )
    for ensemble in selected.corruptions:
        if members_of(ensemble) != (ensemble,):
            rows += _worst_rows(ensemble, groups, scores, selected, units)
    return _csv(SUMMARY, sorted(rows, key=order))


Scores = dict[tuple[str, ...], dict[str, float] | None]
"""Key of a table's row -> unit -> score, None where failed runs have no floor to stand on."""


def _by_unit(members: Sequence[Row], sound: Sequence[float]) -> dict[str, float] | None:
    scores = [float(m["normalized"]) if m["outcome"] == "ok" and m["normalized"] else None for m in members]
    floored = stats.with_floor(scores, sound)
    return None if floored is None else dict(zip((m["unit"] for m in members), floored, strict=True))


def _size(n: int) -> str:
    return "" if n >= 10 else "preliminary" if n >= 5 else "incomplete"


def _bounds(bounds: tuple[float, float] | None) -> Row:
    return {"ci_low": _number(bounds[0] if bounds else None), "ci_high": _number(bounds[1] if bounds else None)}


def _transfers_badly(key: tuple[str, ...], scores: Scores) -> bool:
    """Flag ``transfer-weak`` of section 2: learners do better under the attack than under noise of the same budget."""
    row = dict(zip(CELL, key, strict=True))
    element, _, mode = row["corruption"].partition("-")
    if mode != "adv":
        return False
    own = [option for option in row["options"].split(";") if not option.startswith("corruption.surrogate=")]
    noise = {**row, "corruption": f"{element}-random", "preset": "", "options": ";".join(own)}
    attacked, noisy = scores[key], scores.get(tuple(noise[name] for name in CELL))
    if not attacked or not noisy:
        return False
    differences = [attacked[unit] - noisy[unit] for unit in attacked if unit in noisy]
    bounds = stats.interval(differences, "/".join((*key, "transfer")))
    return bounds is not None and bounds[0] > 0


def _worst_rows(
    ensemble: str, groups: dict[tuple[str, ...], list[Row]], scores: Scores, selected: Suite, units: int
) -> list[Row]:
    """The worst case of each learner that ran under every member of an ensemble, over the units of all of them."""
    keys = [threat_key(member) for member in members_of(ensemble)]
    wanted = [(name, f"{rate:g}", f"{scale:g}", *split_preset(options)) for name, rate, scale, options in keys]
    learners: dict[tuple[str, ...], dict[str, dict[str, float]]] = defaultdict(dict)
    first: dict[tuple[str, ...], Row] = {}
    for key, members in groups.items():
        row = members[0]
        own = [o for o in row["options"].split(";") if o.startswith("corruption.") and "source=" not in o]
        found = (row["corruption"], row["rate"], row["scale"], row["preset"], ";".join(own))
        if found in wanted and scores[key]:
            others = ";".join(o for o in row["options"].split(";") if not o.startswith("corruption."))
            learner = (*(row[name] for name in _LEARNER), others)
            learners[learner][members_of(ensemble)[wanted.index(found)]] = scores[key]  # type: ignore[assignment]
            first.setdefault(learner, {**row, "options": others})
    rows = []
    for learner, attacks in learners.items():
        shared = sorted(set.intersection(*(set(by_unit) for by_unit in attacks.values())))
        if len(attacks) < len(wanted) or not shared:
            continue
        table = {attack: [by_unit[unit] for unit in shared] for attack, by_unit in attacks.items()}
        name, _, words = ensemble.partition(":")
        settings = dict(word.partition("=")[::2] for word in words.split(",") if word)
        worst = stats.worst_case(table, "/".join((*learner, ensemble)))
        rows.append(
            {
                **{name: first[learner][name] for name in (*CELL, "steps")},
                "corruption": name,
                "rate": f"{float(settings.get('rate', keys[0][1])):g}",
                "scale": f"{float(settings.get('scale', keys[0][2])):g}",
                "preset": "",
                "suite": f"{selected.name}-{selected.version}",
                "n": str(len(shared)),
                "failed": "",
                "mean": _number(worst.mean),
                "std": "",
                "worst_quarter": "",
                **_bounds(worst.bounds),
                "flags": ";".join(filter(None, [_size(min(units, len(shared))), f"worst={worst.attack}"])),
            }
        )
    return rows


_LEARNER = ("protocol", "dataset", "environment", "algo", "optimizer", "sam_on", "rho", "track", "steps")


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


def read_csv(text: str) -> list[Row]:
    return list(csv.DictReader(io.StringIO(text)))


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


def _units(groups: Iterable[list[Row]], selected: Suite) -> int:
    """The smallest number of units that any row of the suite has, 0 where one is missing."""
    wanted = list(selected.rows())
    counts = [
        max((len(rows) for rows in groups if all(rows[0][k] == v for k, v in row.items())), default=0) for row in wanted
    ]
    return min(counts)


def _sources(record: RunRecord) -> dict[str, str]:
    """The first digits of the hash of a plug-in's file: an edited one is another row."""
    spec = record.spec
    sources = {f"{spec.algorithm.name}.source": spec.algorithm.source_sha256}
    sources["corruption.source"] = spec.corruption.source_sha256
    return {name: value[:8] for name, value in sources.items() if value}


def cell(row: Row) -> tuple[str, ...]:
    """What rows share whose scores can stand beside each other; a corruption's own options are part of it."""
    names = ("dataset", "environment", "corruption", "rate", "scale", "preset", "steps")
    options = [o for o in row["options"].split(";") if o.startswith(("corruption.", "references="))]
    return (*(row[name] for name in names), *options)


def order(row: Row) -> tuple:
    names = (
        "dataset",
        "corruption",
        "rate",
        "scale",
        "preset",
        "algo",
        "optimizer",
        "sam_on",
        "rho",
        "track",
        "options",
    )
    return (*(row[name] for name in names), int(row.get("unit") or -1), row.get("run_id", ""))


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _csv(header: Sequence[str], rows: Iterable[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, header, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
