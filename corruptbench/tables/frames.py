"""The shipped tables for pandas."""

import io
from typing import TYPE_CHECKING

from corruptbench.errors import unknown
from corruptbench.tables.reading import LEADERBOARD, SUMS, read_sums, read_text

if TYPE_CHECKING:
    from pandas import DataFrame

WHOLE = ("unit", "train_seed", "corruption_seed", "steps", "n", "failed", "cells", "rank")
TEXT = (
    "protocol", "suite", "dataset", "environment", "algo", "optimizer", "sam_on", "track", "corruption", "preset",
    "options", "outcome", "corrupted_sha256", "run_id", "version", "command", "flags", "source", "level", "mixture",
    "attack", "spread", "provenance", "verified",
)  # fmt: skip
"""Any other column holds floats."""


def load_table(name: str) -> "DataFrame":
    """A shipped table by its name.

    ``tiny`` has a row for each run, ``tiny-summary`` for each learner in each cell, ``tiny-overall`` for each learner
    that has all cells, and so on for each suite; ``published`` has a row for each published score.

    Scores are normalized (0 a random policy, 100 an expert's). Where there is none a float is NaN and a whole number
    NA; text is "" there and never NA, so that ``groupby`` keeps the rows, and the threat model ``none`` is a name.

    Raises UsageError for another name, IntegrityError for a file whose sum is not that of ``SHA256SUMS``.
    """
    import pandas

    tables = {file.removesuffix(".csv"): file for file in read_sums(LEADERBOARD / SUMS)}
    if name not in tables:
        raise unknown("table", name, tables)
    text, _ = read_text(LEADERBOARD / tables[name])
    frame = pandas.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)
    for column in frame.columns.difference(list(TEXT)):
        numbers = pandas.to_numeric(frame[column])
        frame[column] = numbers.astype("Int64" if column in WHOLE else "float64")
    return frame
