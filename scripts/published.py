"""Writes leaderboard/published.csv: python scripts/published.py SCORES.csv

SCORES.csv has one published score a line, in the words of its source: source, algo, dataset, corruption, mode, rate,
range, mean, std, seeds, provenance. Here it gets this project's words, and what is known of how each source made its
scores. A word that is not in the tables below is an error, so no score is listed under a guess.
"""

import csv
import hashlib
import sys
from pathlib import Path

from corruptbench.csv_text import to_csv
from corruptbench.tables.build import with_line
from corruptbench.tables.published import OURS, PUBLISHED
from corruptbench.tables.reading import PUBLISHED as NAME
from corruptbench.tables.reading import SUMS

LEADERBOARD = Path(__file__).parent.parent / "leaderboard"

ELEMENTS = {
    "observation": "obs",
    "state": "obs",
    "action": "act",
    "reward": "rew",
    "dynamics": "dyn",
    "mixed": "mix",
    "simultaneous(obs+act+rew+dyn)": "mix",
    "full(s,a,r same idx)": "mix",
    "obs+mixed": "obs+mix",  # the mean of two threat models
    "none": "none",
}
MODES = {"random": "-random", "adversarial": "-adv", "gaussian": "-gauss", "clean": ""}
ROBOTS = {"halfcheetah": "HalfCheetah-v2", "hopper": "Hopper-v2", "walker2d": "Walker2d-v2"}

EDAC = "EDAC's mean of 10 critics, 100 steps, the last iterate"
IQL = "IQL's min of 2 critics, 100 steps, the last iterate"
TRACER = {"track": "oracle", "level": "transition", "mixture": OURS, "attack": EDAC, "steps": "3000000"}
ADG = {"level": "sequence", "mixture": "obs+act+rew on the same rows", "attack": IQL, "steps": "1000000"}
SOURCES = {
    "TRACER-T1": {**TRACER, "spread": "standard error"},
    "TRACER-T2": TRACER,
    "TRACER-T3": TRACER,
    "ADG-T1": {**ADG, "spread": "std"},
    "ADG-T2": {**ADG, "spread": "std"},
    "ADG-T7": {**ADG, "spread": "std"},
    "RPEX-T1(offline column)": {"track": "oracle", "level": "transition", "steps": "2000000"},
    "SAM-2511.17568(secondary notes)": {},
    "CORL-README(last scores)": {"steps": "1000000"},
}
"""What is known of a source; what is missing it does not say, or nobody here has read it there."""
SEQUENCE_MODELS = ("dt", "dt+adg", "rdt", "rdt+adg")
"""ADG trains these for 100,000 steps."""
PROVENANCE = {"paper": "yes", "readme": "yes", "secondary": "no"}
"""Whether the score was read where its authors published it; notes of others are not that."""


def main(path: str) -> None:
    with open(path, encoding="utf-8", newline="") as stream:
        rows = [row_of(row) for row in csv.DictReader(stream)]
    text = to_csv(PUBLISHED, rows)
    (LEADERBOARD / NAME).write_text(text, "utf-8")
    sums = LEADERBOARD / SUMS
    digest = hashlib.sha256(text.encode()).hexdigest()
    sums.write_text(with_line(sums.read_text("ascii"), NAME, digest), "ascii")
    print(f"{LEADERBOARD / NAME}: {len(rows)} rows")


def row_of(row: dict[str, str]) -> dict[str, str]:
    """A line of the source in this project's words; raises KeyError for a word that is not known."""
    known = SOURCES[row["source"]]
    element, mode, algo = ELEMENTS[row["corruption"]], MODES[row["mode"]], row["algo"].lower()
    name, _, part = row["dataset"].partition("@")
    average = name.startswith("AVERAGE")
    corrupted = mode != ""
    return {
        "source": row["source"],
        "algo": algo,
        "track": known.get("track", "") if algo == "riql" else "",
        "dataset": "average" if average else f"d4rl:{name}",
        "share": {"": "1", "10%": "0.1"}[part],
        "environment": "" if average else ROBOTS[name.partition("-")[0]],
        "corruption": element + mode,
        "rate": row["rate"],
        "scale": f"{float(row['range']):g}" if corrupted and row["range"] != "?" else "",
        "level": known.get("level", "") if corrupted else "",
        "mixture": known.get("mixture", "") if element == "mix" else "",
        "attack": known.get("attack", "") if mode == "-adv" and element != "rew" else "",
        "steps": "100000" if algo in SEQUENCE_MODELS and known.get("level") == "sequence" else known.get("steps", ""),
        "mean": row["mean"],
        "std": row["std"],
        "spread": known.get("spread", "") if row["std"] else "",
        "n": row["seeds"],
        "provenance": row["provenance"],
        "verified": PROVENANCE[row["provenance"]],
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
