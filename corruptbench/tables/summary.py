"""One row for each algorithm in each cell, and for each ensemble's worst case: the summary CSV (section 5)."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence

from corruptbench.corruptions.auto import members as members_of
from corruptbench.csv_text import to_csv
from corruptbench.suites import Suite, split_preset, threat_key
from corruptbench.tables import stats
from corruptbench.tables.listing import CELL, SUMMARY, Row, cell, number, order


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
                "mean": number(stats.mean(values) if values else None),
                "std": number(stats.std(values) if values else None),
                "worst_quarter": number(stats.worst_quarter(values) if values else None),
                **_bounds(stats.interval(values, "/".join(key)) if values else None),
                "flags": ";".join(filter(None, flags)),
            }
        )
    for ensemble in selected.corruptions:
        if members_of(ensemble) != (ensemble,):
            rows += _worst_rows(ensemble, groups, scores, selected, units)
    rows.sort(key=order)
    return to_csv(SUMMARY, rows)


Scores = dict[tuple[str, ...], dict[str, float] | None]
"""Key of a table's row -> unit -> score, None where failed runs have no floor to stand on."""


def _by_unit(members: Sequence[Row], sound: Sequence[float]) -> dict[str, float] | None:
    scores = [float(m["normalized"]) if m["outcome"] == "ok" and m["normalized"] else None for m in members]
    floored = stats.with_floor(scores, sound)
    return None if floored is None else dict(zip((m["unit"] for m in members), floored, strict=True))


def _size(n: int) -> str:
    return "" if n >= 10 else "preliminary" if n >= 5 else "incomplete"


def _bounds(bounds: tuple[float, float] | None) -> Row:
    return {"ci_low": number(bounds[0] if bounds else None), "ci_high": number(bounds[1] if bounds else None)}


def _transfers_badly(key: tuple[str, ...], scores: Scores) -> bool:
    """Flag ``transfer-weak`` of section 2: learners do better under the attack than under noise of the same budget."""
    row = dict(zip(CELL, key, strict=True))
    element, _, mode = row["corruption"].partition("-")
    if mode != "adv":
        return False
    along = row["preset"] == "rdt2025" and element in ("obs", "mix")  # such noise exists as well
    wanted = {**row, "corruption": f"{element}-random", "preset": "rdt2025" if along else ""}
    own = [option for option in row["options"].split(";") if not option.startswith("corruption.surrogate=")]
    oracle = row["track"] != "universal"  # its settings differ between the two, and they are the same learner's
    same = [name for name in CELL if name != "options"]
    noisy = None
    for other, by_unit in scores.items():
        found = dict(zip(CELL, other, strict=True))
        if all(found[name] == wanted[name] for name in same) and (oracle or found["options"] == ";".join(own)):
            noisy = by_unit
    attacked = scores[key]
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
    learners: dict[tuple[str, ...], dict[str, dict[str, float] | None]] = defaultdict(dict)
    failed: dict[tuple[str, ...], int] = defaultdict(int)
    first: dict[tuple[str, ...], Row] = {}
    for key, members in groups.items():
        row = members[0]
        own = [o for o in row["options"].split(";") if o.startswith("corruption.") and "source=" not in o]
        found = (row["corruption"], row["rate"], row["scale"], row["preset"], ";".join(own))
        if found in wanted:
            others = ";".join(o for o in row["options"].split(";") if not o.startswith("corruption."))
            learner = (*(row[name] for name in _LEARNER), others)
            learners[learner][members_of(ensemble)[wanted.index(found)]] = scores[key]
            failed[learner] += sum(member["outcome"] != "ok" for member in members)
            first.setdefault(learner, {**row, "options": others})
    rows = []
    for learner, attacks in learners.items():
        if len(attacks) < len(wanted):
            continue
        known = {attack: by_unit for attack, by_unit in attacks.items() if by_unit is not None}
        shared = sorted(set.intersection(*(set(by_unit) for by_unit in known.values()))) if known else []
        if not shared:
            continue
        table = {attack: [by_unit[unit] for unit in shared] for attack, by_unit in known.items()}
        name, _, words = ensemble.partition(":")
        settings = dict(word.partition("=")[::2] for word in words.split(",") if word)
        worst = stats.worst_case(table, "/".join((*learner, ensemble))) if len(known) == len(attacks) else None
        rows.append(
            {
                **{name: first[learner][name] for name in (*CELL, "steps")},
                "corruption": name,
                "rate": f"{float(settings.get('rate', keys[0][1])):g}",
                "scale": f"{float(settings.get('scale', keys[0][2])):g}",
                "preset": "",
                "suite": f"{selected.name}-{selected.version}",
                "n": str(len(shared)),
                "failed": str(failed[learner]),
                "mean": number(worst.mean if worst else None),
                "std": "",
                "worst_quarter": "",
                **_bounds(worst.bounds if worst else None),
                "flags": ";".join(
                    filter(None, [_size(min(units, len(shared))), f"worst={worst.attack}" if worst else ""])
                ),
            }
        )
    return rows


_LEARNER = ("protocol", "dataset", "environment", "algo", "optimizer", "sam_on", "rho", "track", "steps")


def _units(groups: Iterable[list[Row]], selected: Suite) -> int:
    """The smallest number of units that any row of the suite has, 0 where one is missing."""
    wanted = list(selected.rows())
    counts = [
        max((len(rows) for rows in groups if all(rows[0][k] == v for k, v in row.items())), default=0) for row in wanted
    ]
    return min(counts)
