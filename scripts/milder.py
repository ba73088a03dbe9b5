"""In how many published cells learners score higher under the adversarial corruption: python scripts/milder.py

A cell is an algorithm on a dataset, with the same share of it, rate and scale under both modes. An algorithm that reads
no value (BC, DT, RDT) has none to be lowered, and is left out. The scores are those of leaderboard/published.csv that
were read where their authors published them.
"""

import csv
from collections import defaultdict
from pathlib import Path

PUBLISHED = Path(__file__).parent.parent / "leaderboard" / "published.csv"
WITHOUT_VALUE = ("bc", "dt", "rdt")
CELL = ("algo", "dataset", "share", "environment", "rate", "scale", "level")


def counts() -> dict[tuple[str, str], tuple[int, int]]:
    """Element and group of tables -> in how many cells the adversarial mean is the higher one, and of how many."""
    with PUBLISHED.open(encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["verified"] == "yes"]
    cells: dict[tuple[str, ...], dict[str, float]] = defaultdict(dict)
    for row in rows:
        element, _, mode = row["corruption"].rpartition("-")
        group = f"{row['source'].partition('-')[0]}, {float(row['share']):.0%} of the data"
        if mode in ("random", "adv") and row["algo"].partition("+")[0] not in WITHOUT_VALUE:
            cells[group, element, *(row[name] for name in CELL)][mode] = float(row["mean"])
    found: dict[tuple[str, str], list[bool]] = defaultdict(list)
    for (group, element, *_), means in cells.items():
        if len(means) == 2:
            found[element, group].append(means["adv"] > means["random"])
            found[element, "all"].append(means["adv"] > means["random"])
    return {key: (sum(higher), len(higher)) for key, higher in sorted(found.items())}


if __name__ == "__main__":
    for (element, group), (higher, number) in counts().items():
        print(f"{element}: higher under adv in {higher} of {number} cells ({group})")
