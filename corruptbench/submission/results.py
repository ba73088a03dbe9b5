"""Rules on what came of it: whole evaluations of last checkpoints, outcomes that count, and nothing twice."""

import math
from collections import defaultdict
from collections.abc import Mapping

import numpy as np
import torch

from corruptbench.algos.agent import Agent
from corruptbench.contents import CURVE, read_curve
from corruptbench.errors import CorruptBenchError
from corruptbench.evaluate import CURVE_EPISODES, FINAL_EPISODES
from corruptbench.optimizers import optimizer_of
from corruptbench.records import contradiction
from corruptbench.rng import episode_seeds, stream, uniforms
from corruptbench.spec import OptimizerSpec
from corruptbench.store import canonical, sha256_file
from corruptbench.submission.reading import Found, Run, Submission
from corruptbench.train import Learner
from corruptbench.types import Environment, TransitionDataset

POLICY = "policy.safetensors"


def outcomes(submission: Submission) -> Found:
    """A run that is ok has a score; one that diverged or failed has none, belongs here, and counts (section 4)."""
    for run in submission.runs:
        record = run.record
        if record.outcome == "ok" and record.score is None and record.evaluation is None:
            yield run.name, "its outcome is ok, and it has no score"
        elif record.outcome != "ok" and (record.score is not None or record.evaluation is not None):
            yield run.name, f"its outcome is {record.outcome}, and it has a score"


def episodes(submission: Submission) -> Found:
    """The score is that of the episodes that all runs have (section 4)."""
    for run in submission.runs:
        evaluation = run.record.evaluation
        if evaluation is None:
            continue
        counts = {name: len(evaluation.get(name, [])) for name in ("returns", "lengths", "seeds")}
        odd = next((name for name, count in counts.items() if count != FINAL_EPISODES), None)
        if odd:
            yield run.name, f"it has {odd} of {counts[odd]} episodes, needed are {FINAL_EPISODES}"
        elif evaluation["seeds"] != episode_seeds(FINAL_EPISODES):
            yield run.name, f"the seeds of its episodes are not those of episodes 0 to {FINAL_EPISODES - 1}"
        elif not all(isinstance(length, int) and length > 0 for length in evaluation["lengths"]):
            yield run.name, "the lengths of its episodes are no numbers of steps"


def scores(submission: Submission) -> Found:
    """The returns recompute the mean and the normalized score."""
    for run in submission.runs:
        what = contradiction(run.record)
        if what:
            yield run.name, what


def last_checkpoint(submission: Submission) -> Found:
    """The score is that of the last step, never of the best one, and the curve ends there and in that score."""
    for run in submission.runs:
        record, declared = run.record, run.spec.steps
        if record.outcome == "ok" and record.step != declared:
            yield run.name, f"its policy is that of step {record.step}, and its steps are {declared}"
        elif not 0 <= record.step <= declared:
            yield run.name, f"it ended at step {record.step}, and its steps are {declared}"
        elif record.outcome == "ok" and (what := _wrong_end(run)):
            yield f"{run.name}/{CURVE}", what


def _wrong_end(run: Run) -> str | None:
    """What is wrong with the last point of a curve, None also for no curve and for one that cannot be read.

    It is the policy of the final evaluation in the first of its episodes; the size of the batch may move last bits.
    """
    try:
        last = read_curve(run.folder / CURVE)[-1] if run.has(CURVE) else {}
    except CorruptBenchError:
        return None  # it is damaged, and that is said
    if last and last.get("step") != run.spec.steps:
        return f"it ends at step {last.get('step'):.0f}, and its steps are {run.spec.steps}"
    point = last.get("return_mean")
    if point is None or run.record.evaluation is None or contradiction(run.record):
        return None
    first = run.record.evaluation["returns"][:CURVE_EPISODES]
    mean = sum(first) / len(first)
    if abs(point - mean) > allowed_difference(first, first):
        return (
            f"it ends in a mean return of {point:.4f}, and the first {len(first)} episodes of the record in {mean:.4f}"
        )
    return None


def allowed_difference(one: list[float], other: list[float]) -> float:
    """How far two means may lie apart that are measurements of one policy: four standard errors of the difference.

    A thousandth of the mean is allowed in any case, for policies whose episodes are all alike.
    """
    variance = sum(float(np.var(returns)) / len(returns) for returns in (one, other))
    return max(4 * math.sqrt(variance), 1e-3 * abs(float(np.mean(one))), 1e-6)


VARIED = 10
"""Different lengths that episodes have at least, before the same lengths are no coincidence."""


def copies(submission: Submission) -> Found:
    """No two runs have the same returns, lengths or policy, nor has one those of a run of the benchmark's own.

    Two runs of one unit may, whose data differ only in what the algorithm never reads, as rewards for ``bc``; that is
    found out by a trial.
    """
    submitted = {run.name: run for run in submission.runs}
    runs = {**{run.name: run for run in submission.shipped}, **submitted}
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name, run in runs.items():
        for kind, value in _marks(run):
            groups[kind, value].append(name)
    pairs: dict[tuple[str, str], list[str]] = defaultdict(list)
    for (kind, _), (first, *others) in sorted(groups.items()):
        for other in others:
            pair = (other, first) if other in submitted and first not in submitted else (first, other)
            pairs[pair].append(kind)
    for (one, other), kinds in sorted(pairs.items()):
        if {one, other} & submitted.keys() and not _may_be_equal(runs[one], runs[other]):
            whose = other if other in submitted else f"{other}, which the benchmark ships"
            yield one, f"it has the same {' and '.join(kinds)} as {whose}"


def _marks(run: Run) -> list[tuple[str, str]]:
    """What no other run has, by kind."""
    evaluation = run.record.evaluation or {}
    marks = []
    if len(evaluation.get("lengths", [])) and len({canonical(x) for x in evaluation["lengths"]}) >= VARIED:
        marks.append(("lengths", canonical(evaluation["lengths"])))
    if run.has(POLICY):
        marks.append(("policy", sha256_file(run.folder / POLICY)))
    if evaluation.get("returns"):
        marks.append(("returns", canonical(sorted(map(canonical, evaluation["returns"])))))  # in whatever order
    return marks


def _may_be_equal(one: Run, other: Run) -> bool:
    """Whether two runs differ in nothing that their algorithm reads."""
    same = {**other.spec.to_json(), "track": None} == {**one.spec.to_json(), "corruption": _of(other), "track": None}
    if not same or one.agent is None or one.corruption is None or other.corruption is None:
        return False
    if one.spec.corruption == other.spec.corruption:
        return True
    corruptions = [run.corruption for run in (one, other) if run.spec.corruption.name != "none"]
    fields = {field for corruption in corruptions if corruption for field in corruption.fields}
    try:
        return _ignores(one.agent, one.spec.optimizer, fields)
    except Exception:  # a plug-in that cannot be made as small; then nothing speaks for it
        return False


def _of(run: Run) -> object:
    return run.spec.to_json()["corruption"]


def _ignores(agent: Agent, optimizer: OptimizerSpec, fields: set[str]) -> bool:
    """Whether two steps of an algorithm, with small networks, are the same whatever these fields hold."""
    if fields & {"observations", "next_observations"}:
        return False  # they are normalised together
    small = type(agent)(**{**vars(agent), "hidden": (8,) * len(agent.hidden), "batch_size": 16})
    weights = []
    for trial in range(2):
        data = _made_up(dict.fromkeys(fields, trial))
        learner = Learner(small, optimizer_of(small, optimizer), data, seed=0, steps=2, engine="eager")
        learner.advance(2)
        weights.append(learner.policy())
    a, b = ([p for group in sorted(policy.state) for p in policy.state[group]] for policy in weights)
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def _made_up(versions: Mapping[str, int]) -> TransitionDataset:
    """64 transitions whose fields are functions of their versions."""

    def values(field: str, *shape: int) -> np.ndarray:
        return (2 * uniforms(stream("trial", field, versions.get(field)), *shape) - 1).astype(np.float32)

    return TransitionDataset(
        id="trial",
        environment=Environment("trial", ""),
        observations=values("observations", 64, 4),
        actions=values("actions", 64, 2),
        rewards=values("rewards", 64),
        next_observations=values("next_observations", 64, 4),
        terminations=np.arange(64) % 16 == 15,
        episodes=np.arange(64, dtype=np.int64) // 16,
    )
