"""Rules on what was run: every cell of the suite, units without gaps, the steps and seeds that were agreed on."""

from collections import Counter

from corruptbench.errors import nearest, shown
from corruptbench.rng import PROTOCOL, unit_seeds
from corruptbench.submission.reading import Found, Submission


def suite_only(submission: Submission) -> Found:
    """A run is one of the suite's, of any algorithm."""
    suite = submission.suite
    for run in submission.runs:
        spec = run.spec
        if spec.dataset not in suite.dataset_ids:
            hint = nearest(spec.dataset, suite.dataset_ids)
            yield run.name, f"its dataset is {spec.dataset}, and {suite.name} has {', '.join(suite.dataset_ids)}{hint}"
        elif run.threat is None:
            corruption = spec.corruption
            words = f"{corruption.name} with rate {corruption.rate:g} and scale {corruption.scale:g}"
            yield run.name, f"its threat model is none of {suite.name}: {words}{_others(corruption.options)}"


def _others(options: dict) -> str:
    return "".join(f", {shown(str(name))} {shown(str(value))}" for name, value in sorted(options.items()))


def protocol(submission: Submission) -> Found:
    """The protocol is the one that this version measures by."""
    for run in submission.runs:
        if run.spec.protocol != PROTOCOL:
            yield run.name, f"its protocol is {run.spec.protocol}, needed is {PROTOCOL}"


def steps(submission: Submission) -> Found:
    """A run is declared to have as many steps as the suite."""
    for run in submission.runs:
        if run.spec.steps != submission.suite.steps:
            yield run.name, f"its steps are {run.spec.steps}, and {submission.suite.name} has {submission.suite.steps}"


def seeds(submission: Submission) -> Found:
    """A run is a unit of the suite, with that unit's seeds (section 5)."""
    for run in submission.runs:
        spec = run.spec
        found = f"{spec.train_seed} and {spec.corruption_seed}"
        if spec.unit is None:
            yield run.name, f"its seeds {found} are its own, and only units are listed"
        elif spec.unit not in range(submission.suite.units):
            yield (
                run.name,
                f"its unit is {spec.unit}, and {submission.suite.name} has 0 to {submission.suite.units - 1}",
            )
        elif (spec.train_seed, spec.corruption_seed) != unit_seeds(spec.unit):
            needed = "{} and {}".format(*unit_seeds(spec.unit))
            yield run.name, f"its seeds are {found}, and those of unit {spec.unit} are {needed}"


def cells(submission: Submission) -> Found:
    """Every algorithm has every cell of the suite, or the submission is refused (section 5)."""
    for entry in submission.entries:
        there = {(run.spec.dataset, run.threat) for run in entry.runs}
        for dataset in submission.suite.dataset_ids:
            for threat in submission.suite.threats:
                if (dataset, threat) not in there:
                    yield (
                        f"{entry.name}, {dataset}, {threat}",
                        f"no run of this cell of {submission.suite.name} is there",
                    )


def units(submission: Submission) -> Found:
    """An algorithm's units are 0 to n - 1, the same in every cell, each once."""
    for entry in submission.entries:
        n = 1 + max(run.spec.unit or 0 for run in entry.runs)
        for cell in sorted({(run.spec.dataset, run.threat or "") for run in entry.runs}):
            here = [run.spec for run in entry.runs if (run.spec.dataset, run.threat) == cell]
            missing = sorted(set(range(n)) - {spec.unit for spec in here})
            counts = Counter(spec.unit for spec in here if spec.steps == submission.suite.steps)
            twice = sorted(unit for unit, count in counts.items() if count > 1 and unit is not None)
            where = ", ".join((entry.name, *cell))
            if missing:
                yield where, f"units 0 to {n - 1} are needed, and missing is {', '.join(map(str, missing))}"
            if twice:
                yield where, f"a unit is one run, and there is more than one of {', '.join(map(str, twice))}"
