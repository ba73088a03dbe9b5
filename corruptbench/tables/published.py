"""Scores of papers and other benchmarks, with what is known of how they were made: ``leaderboard/published.csv``."""

from collections.abc import Iterable

from corruptbench.errors import IntegrityError
from corruptbench.tables import reading
from corruptbench.tables.listing import NUMBER, Row, Values, read_csv

PUBLISHED = (
    "source", "algo", "track", "dataset", "share", "environment", "corruption", "rate", "scale", "level", "mixture",
    "attack", "steps", "mean", "std", "spread", "n", "provenance", "verified",
)  # fmt: skip
"""Nothing stands where a source does not say. ``track`` is oracle where settings were chosen for each cell, ``share``
the part of the dataset's episodes that was used, ``dataset`` is ``average`` for a mean over several, and ``spread`` is
what the source calls its ``std``."""

VALUES: Values = (
    (("share", "rate", "mean"), NUMBER, "a number"),
    (("scale", "std"), f"({NUMBER})?", "a number or nothing"),
    (("steps", "n"), "[0-9]{0,20}", "a whole number or nothing"),
    (("level",), "(transition|sequence)?", "transition, sequence or nothing"),
    (("verified",), "yes|no", "yes or no"),
)


def published_scores() -> list[Row]:
    """The rows of ``published.csv``; raises IntegrityError for one that ``SHA256SUMS`` does not name as it is."""
    path = reading.LEADERBOARD / reading.PUBLISHED
    text, own = reading.read_text(path)
    if own:
        raise IntegrityError(f"{path}: {path.with_name(reading.SUMS)} does not name it")
    return read_csv(text, str(path), PUBLISHED, VALUES)


def beside(cell: Row, label: str, rows: Iterable[Row]) -> list[Row]:
    """The published scores of a cell's robot and threat model: of the algorithm of that label, or where no source has
    it there, of every algorithm."""
    robot = cell["environment"].partition("-")[0]
    options = any(option.startswith("corruption.") for option in cell["options"].split(";"))
    found = [
        row
        for row in rows
        if not options
        and row["environment"].partition("-")[0] == robot != ""
        and (row["corruption"], row["rate"]) == (cell["corruption"], cell["rate"])
        and row["scale"] in ("", cell["scale"])
    ]
    return [row for row in found if row["algo"] == label] or found


def differences(row: Row, cell: Row) -> list[str]:
    """How the protocol of a published score differs from that of a cell of ours, in clauses."""
    element, _, mode = row["corruption"].partition("-")
    ours = "sequence" if cell["preset"] == "rdt2025" else "transition"
    clauses = []
    if row["dataset"] != cell["dataset"] or row["share"] != "1":
        part = "" if row["share"] == "1" else f"{100 * float(row['share']):g} % of the episodes of "
        clauses.append(f"data {part}{row['dataset']}, here {cell['dataset']}")
    if row["environment"] != cell["environment"]:
        clauses.append(f"environment {row['environment']}, here {cell['environment']}")
    if mode and row["level"] != ours:
        clauses.append(f"corrupts {LEVELS[row['level']]}, here {LEVELS[ours]}")
    if not row["scale"] and mode:
        clauses.append(f"scale not stated, here {cell['scale']}")
    if element == "mix" and row["mixture"] != OURS:
        clauses.append(f"mixture of {_said(row['mixture'])}, here of {OURS}")
    if mode == "adv" and element != "rew":
        ours = (
            f"the preset {cell['preset']}" if cell["preset"] else "IQL's min of 2 critics, 40 steps that keep the best"
        )
        clauses.append(f"attacks {_said(row['attack'])}, here {ours}")
    if row["track"] not in ("", cell["track"]):
        clauses.append(f"{row['algo']} with settings of the track {row['track']}, here {cell['track']}")
    if row["steps"] != cell["steps"]:
        clauses.append(f"{_steps(row['steps'])}, here {_steps(cell['steps'])}")
    if row["std"] and row["spread"] != "std":
        clauses.append(f"its ± is {'a ' * bool(row['spread'])}{_said(row['spread'])}, here the std over units")
    return clauses


OURS = "obs+act+rew+dyn on rows of their own"
"""Our mixture, in the words of the column."""
LEVELS = {
    "transition": "rows by themselves",
    "sequence": "trajectories, where a state is the s of one row and the s' of the row before",
    "": "a level that is not stated",
}


def _said(text: str) -> str:
    return text or "not stated"


def _steps(text: str) -> str:
    return f"{int(text):,} steps" if text else "steps not stated"
