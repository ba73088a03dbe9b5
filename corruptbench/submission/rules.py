"""All rules by name. Each is a function of the submission alone, and every one that is broken is told at once."""

from collections.abc import Callable

from corruptbench.submission import data, grid, results, settings
from corruptbench.submission.reading import Found, Reason, Submission

RULES: dict[str, Callable[[Submission], Found]] = {
    "suite": grid.suite_only,
    "protocol": grid.protocol,
    "steps": grid.steps,
    "seeds": grid.seeds,
    "cells": grid.cells,
    "units": grid.units,
    "configuration": settings.configuration,
    "stated": settings.stated,
    "environment": data.environment,
    "dataset": data.dataset,
    "surrogate": data.surrogate,
    "corrupted": data.corrupted,
    "outcomes": results.outcomes,
    "episodes": results.episodes,
    "scores": results.scores,
    "last-checkpoint": results.last_checkpoint,
    "copies": results.copies,
}


def reasons(submission: Submission) -> list[Reason]:
    """Why a submission is refused, nothing where it is sound."""
    return sorted({Reason(where, name, what) for name, rule in RULES.items() for where, what in rule(submission)})


def unchecked(submission: Submission) -> list[str]:
    """What the rules could not look at, as sentences."""
    notes = []
    strange = sorted({run.spec.algorithm.name for run in submission.runs if run.agent is None})
    if strange:
        notes.append(
            f"whether settings and commands of {', '.join(strange)} are as its records say: --plugin names its file"
        )
    elsewhere = sorted({run.spec.dataset for run in submission.placed if run.spec.dataset not in data.shipped()})
    if elsewhere:
        notes.append(f"the content of {', '.join(elsewhere)}, beyond that all runs saw the same")
    attacks = [run for run in submission.placed if data.expected(run) is None]
    if attacks:
        cells = {(run.spec.dataset, run.threat) for run in attacks}
        notes.append(
            f"whether the corrupted data of {len(cells)} {'cell is' if len(cells) == 1 else 'cells are'} what the "
            "protocol says, beyond that runs agree: they depend on software and processor"
        )
    bare = sum(not run.has("curve.csv") for run in submission.runs if run.record.outcome == "ok")
    if bare:
        notes.append(f"the learning curves of {bare} runs, which have none")
    return notes
