"""The third tier: a sample of the runs is trained again, from nothing but their specs."""

import hashlib
import math
import statistics
from pathlib import Path

from corruptbench.attempt import Setup
from corruptbench.engine import resolve_engine
from corruptbench.errors import DataError, NetworkError, PluginError, UsageError
from corruptbench.records import RunRecord, contradiction
from corruptbench.registry import PLUGIN_TIMEOUT
from corruptbench.request import RunRequest
from corruptbench.rng import PROTOCOL
from corruptbench.run import execute, plan
from corruptbench.store import canonical, sha256_file
from corruptbench.submission.reading import Reason, Run, Submission, preset_of
from corruptbench.submission.reevaluation import Checked, same_stack
from corruptbench.submission.results import POLICY, allowed_difference

RULE = "reproduced"


def sample(submission: Submission, count: int, seed: int) -> list[Run]:
    """``count`` of the runs in the grid: those whose ids, hashed with the seed, come first.

    Who chooses the seed after the runs were handed in chooses what nobody could foresee, and anyone can repeat it.
    """

    def draw(run: Run) -> str:
        return hashlib.sha256(f"{PROTOCOL}/sample/{seed}/{run.record.run_id}".encode("ascii")).hexdigest()

    return sorted(submission.placed, key=draw)[:count]


def reproduce(submission: Submission, runs: list[Run], out: Path, plugin_timeout: float = PLUGIN_TIMEOUT) -> Checked:
    """Trains runs again below ``out`` and compares: on the same stack every byte of record and policy.

    Elsewhere the score lies within what the other units of the cell spread, and the measurement allows.
    """
    checked = Checked(wanted=len(runs))
    for run in runs:
        try:
            planned = plan(request_of(run), out)
            if planned.spec.run_id != run.record.run_id:
                checked.reasons.append(
                    Reason(run.name, RULE, f"planned again from its settings it is run {planned.spec.run_id}")
                )
                continue
            engine, same = _engine(run)
            found = execute(planned, out, Setup(engine=engine, plugin_timeout=plugin_timeout), force=True)
        except (DataError, NetworkError, PluginError, UsageError) as error:
            checked.missing[str(error)] += 1
            continue
        what = _different(run, found, out / found.run_id) if same else _too_far(run, found, submission)
        if what:
            checked.reasons.append(Reason(run.name, RULE, what))
        elif same:
            checked.exact += 1
        else:
            checked.near += 1
    return checked


def request_of(run: Run) -> RunRequest:
    """What asks for a run's spec; nothing is read from its command, which a rule compares with the spec."""
    spec = run.spec
    if run.agent is None:
        raise UsageError("--plugin names no file that is its algorithm")
    return RunRequest(
        spec.algorithm.name,
        run.threat or "",
        dataset=spec.dataset,
        algo_options=dict(spec.algorithm.options),
        optimizer=spec.optimizer.name,
        sam_on=spec.optimizer.on or None,
        rho=spec.optimizer.rho or None,
        optimizer_options=dict(spec.optimizer.options),
        preset=preset_of(spec.algorithm.name, spec.track),
        unit=spec.unit,
        steps=spec.steps,
    )


def _engine(run: Run) -> tuple[str, bool]:
    """The engine that a run is trained on again, and whether all of it is as it was then."""
    recorded = run.record.execution.get("engine")
    at_hand = recorded == "eager" or recorded == resolve_engine("auto")
    return (str(recorded) if at_hand else "auto"), at_hand and same_stack(run)


def _different(run: Run, found: RunRecord, folder: Path) -> str | None:
    """What is not the same to the byte."""
    if found.text() != run.record.text():
        ours, theirs = found.to_json(), run.record.to_json()
        parts = ", ".join(name for name in ours if canonical(ours[name]) != canonical(theirs[name]))
        return f"trained again on the same stack its record has another {parts}: {_scores(run, found)}"
    if run.has(POLICY) and sha256_file(run.folder / POLICY) != sha256_file(folder / POLICY):
        return "trained again on the same stack its record is the same, and its policy is another"
    return None


def _too_far(run: Run, found: RunRecord, submission: Submission) -> str | None:
    """What is further apart than two trainings of one run on different stacks.

    A rule has compared the hash of randomly corrupted data, which are made again for it, in every run.
    """
    if found.outcome != run.record.outcome:
        return f"trained again it is {found.outcome}, and its record {run.record.outcome}"
    if found.evaluation is None or run.record.evaluation is None:
        return None
    allowed = max(
        allowed_difference(found.evaluation["returns"], run.record.evaluation["returns"]), _spread(run, submission)
    )
    apart = abs(_mean(found) - _mean(run.record))
    return (
        f"trained again its mean return is too far away, {allowed:.4f} is allowed: {_scores(run, found)}"
        if (apart > allowed)
        else None
    )


def _spread(run: Run, submission: Submission) -> float:
    """Three standard deviations of the difference of two other units of a run's cell, 0 where there are fewer.

    Training is chaotic: on another processor a run ends as another unit of its cell might. The run itself is left out,
    because a score far off would widen what it is allowed.
    """
    entry = next(entry for entry in submission.entries if run in entry.runs)
    here = run.spec.dataset, run.threat
    others = [one.record for one in entry.runs if one != run and (one.spec.dataset, one.threat) == here]
    means = [_mean(record) for record in others if record.evaluation and not contradiction(record)]
    return 3 * math.sqrt(2) * statistics.stdev(means) if len(means) > 1 else 0.0


def _mean(record: RunRecord) -> float:
    return float(record.score["return_mean"] or 0.0) if record.score else math.nan


def _scores(run: Run, found: RunRecord) -> str:
    return f"mean return {_mean(found):.4f} instead of {_mean(run.record):.4f}"
