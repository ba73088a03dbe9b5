"""What each attack does to its surrogate, on the shipped datasets: python scripts/attack_table.py

For obs, act and dyn at rates 0.1, 0.3 and 0.5: random noise, the presets riql2024 and rdt2025 (obs and act only), and
ours, with unit 0's corruption seed and one thread. The outcome is docs/figures/attacks.csv and the tables of
docs/attacks.md. It takes about half an hour on one core; a row that stands in the CSV is not computed again, so the
same command goes on where it stopped (delete the CSV to begin anew).
"""

import csv
import time
from pathlib import Path

import torch

from corruptbench.contract import apply
from corruptbench.corrupting import named_corruption
from corruptbench.data import load, shipped
from corruptbench.rng import unit_seeds
from corruptbench.surrogates import surrogate_for
from corruptbench.types import Streams

ROOT = Path(__file__).parent.parent
TABLE = ROOT / "docs" / "figures" / "attacks.csv"
DOC = ROOT / "docs" / "attacks.md"
COLUMNS = (
    "dataset", "element", "rate", "attack", "value_before", "value_after", "unmoved", "at_bound", "largest_z",
    "seconds", "sha256",
)  # fmt: skip
RATES = (0.1, 0.3, 0.5)
ATTACKS = {"riql2024": ",preset=riql2024", "rdt2025": ",preset=rdt2025", "ours": ""}

Row = dict[str, str]


def main() -> None:
    torch.set_num_threads(1)
    rows = read()
    for dataset in shipped():
        for element in ("obs", "act", "dyn"):
            for rate in RATES:
                for attack in ATTACKS:
                    key = (dataset, element, f"{rate:g}", attack)
                    if (element, attack) != ("dyn", "rdt2025") and key not in rows:
                        rows.update(measured(*key))
                        write(rows)
                        print(*key, rows[key]["value_before"], rows[key]["value_after"], flush=True)
    insert("values", values(rows))
    insert("coordinates", coordinates(rows))


def measured(dataset: str, element: str, rate: str, attack: str) -> dict[tuple[str, ...], Row]:
    """The attack's row, and that of random noise of the same budget on the same rows."""
    clean = load(dataset)
    surrogate, streams = surrogate_for(clean), Streams(unit_seeds(0)[1])
    name, corruption = named_corruption(f"{element}-adv:rate={rate}{ATTACKS[attack]}")
    begin = time.process_time()
    result = apply(corruption, name, clean, streams, surrogate)
    seconds = time.process_time() - begin
    audit = result.audit[element]
    found = {attack: (audit, audit["value_after"], seconds, result.dataset.sha256)}
    if attack == "ours":
        name, noise = named_corruption(f"{element}-random:rate={rate}")
        begin = time.process_time()
        random = apply(noise, name, clean, streams, None)
        taken = time.process_time() - begin
        found["random"] = (random.audit[element], audit["value_under_noise"], taken, random.dataset.sha256)
    return {
        (dataset, element, rate, which): {
            **dict(zip(COLUMNS, (dataset, element, rate, which), strict=False)),
            "value_before": f"{audit['value_before']:.4f}",
            "value_after": f"{after:.4f}",
            **{name: f"{figures[name]:.4f}" for name in ("unmoved", "at_bound", "largest_z")},
            "seconds": f"{taken:.2f}",
            "sha256": sha256,
        }
        for which, (figures, after, taken, sha256) in found.items()
    }


def values(rows: dict[tuple[str, ...], Row]) -> str:
    """One line a dataset, element and rate: the surrogate's mean value, clean and under each attack."""
    lines = [
        "| dataset | element | rate | clean | random | riql2024 | rdt2025 | ours | ours / random | ours / riql2024 |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for cell in cells():
        row = rows[(*cell, "ours")]
        before = float(row["value_before"])
        fall = {which: before - float(rows[(*cell, which)]["value_after"]) for which in ("random", "riql2024", "ours")}
        after = [rows.get((*cell, which), {}).get("value_after") for which in ("random", *ATTACKS)]
        shown = ["-" if value is None else f"{float(value):.1f}" for value in after]
        times = [ratio(fall["ours"], fall[which]) for which in ("random", "riql2024")]
        lines.append(f"| {' | '.join([*cell, f'{before:.1f}', *shown, *times])} |")
    return "\n".join(lines)


def ratio(ours: float, other: float) -> str:
    """How many times as far the value fell; where the other raised it, there is no ratio."""
    return f"{ours / other:.2f}" if other > 0 else "the other rises"


def coordinates(rows: dict[tuple[str, ...], Row]) -> str:
    """One line a dataset and element, at the rate 0.3: shares of coordinates unmoved and at the bound, and seconds."""
    lines = [
        "| dataset | element | random | riql2024 | rdt2025 | ours |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for cell in cells():
        if cell[2] == "0.3":
            shown = []
            for which in ("random", *ATTACKS):
                row = rows.get((*cell, which))
                if row is None:
                    shown.append("-")
                    continue
                share = f"{100 * float(row['unmoved']):.0f} / {100 * float(row['at_bound']):.0f} %"
                shown.append(f"{share}, {float(row['seconds']):.1f} s")
            lines.append(f"| {cell[0]} | {cell[1]} | {' | '.join(shown)} |")
    return "\n".join(lines)


def cells() -> list[tuple[str, str, str]]:
    return [(d, e, f"{r:g}") for d in shipped() for e in ("obs", "act", "dyn") for r in RATES]


def read() -> dict[tuple[str, ...], Row]:
    if not TABLE.is_file():
        return {}
    with TABLE.open() as file:
        return {tuple(row[name] for name in COLUMNS[:4]): row for row in csv.DictReader(file)}


def write(rows: dict[tuple[str, ...], Row]) -> None:
    with TABLE.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows[key] for key in sorted(rows))


def insert(marker: str, text: str) -> None:
    """Replaces what stands between a pair of markers in the doc."""
    begin, end = f"<!-- {marker} -->", f"<!-- /{marker} -->"
    head, found, rest = DOC.read_text("utf-8").partition(begin)
    if not found or end not in rest:
        raise SystemExit(f"{DOC} has no pair of markers {marker!r}")
    DOC.write_text(f"{head}{begin}\n{text}\n{end}{rest.partition(end)[2]}", "utf-8")


if __name__ == "__main__":
    main()
