"""In how many published cells learners score higher under the adversarial corruption: python scripts/milder.py

A cell is an algorithm (BC is left out: it reads no value) on a dataset, with the same share of it, rate and scale under
both modes. The scores are those of leaderboard/published.csv that were read where their authors published them.
"""

import csv
from collections import defaultdict
from pathlib import Path

PUBLISHED = Path(__file__).parent.parent / "leaderboard" / "published.csv"
CELL = ("algo", "dataset", "share", "environment", "rate", "scale", "level")


def main() -> None:
    with PUBLISHED.open(encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["verified"] == "yes" and row["algo"] != "bc"]
    cells: dict[tuple[str, ...], dict[str, float]] = defaultdict(dict)
    for row in rows:
        element, _, mode = row["corruption"].rpartition("-")
        group = f"{row['source'].partition('-')[0]}, {float(row['share']):.0%} of the data"
        if mode in ("random", "adv"):
            cells[group, element, *(row[name] for name in CELL)][mode] = float(row["mean"])
    found: dict[tuple[str, str], list[bool]] = defaultdict(list)
    for (group, element, *_), means in cells.items():
        if len(means) == 2:
            found[element, group].append(means["adv"] > means["random"])
            found[element, "all"].append(means["adv"] > means["random"])
    for (element, group), higher in sorted(found.items()):
        print(f"{element}: higher under adv in {sum(higher)} of {len(higher)} cells ({group})")


if __name__ == "__main__":
    main()
