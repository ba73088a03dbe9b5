"""The second tier: policies are run again, over the episodes that gave their scores."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import torch

from corruptbench.bars import progress
from corruptbench.data import home
from corruptbench.errors import CorruptBenchError, ResourceError, sentence
from corruptbench.evaluate import FINAL_EPISODES, evaluate
from corruptbench.records import contradiction
from corruptbench.resources import lack_of
from corruptbench.store import canonical
from corruptbench.submission.reading import Reason, Run, Submission
from corruptbench.submission.results import POLICY, allowed_difference
from corruptbench.versions import processor, versions
from corruptbench.weights import load_weights, read_weights

RULE = "re-evaluated"


@dataclass
class Checked:
    """What was done again: the runs that agreed, to the last bit or within an interval, and what spoke against it."""

    wanted: int = 0
    exact: int = 0
    near: int = 0
    reasons: list[Reason] = field(default_factory=list)
    missing: Counter[str] = field(default_factory=Counter)  # why a run could not be done again

    @property
    def done(self) -> bool:
        """Whether all that was wanted was done and agreed."""
        return 0 < self.wanted == self.exact + self.near

    def __str__(self) -> str:
        text = f"{self.exact + self.near} of {self.wanted} runs agreed"
        if not self.near:
            return f"{text}, to the last bit" if self.exact else text
        return f"{text}: {self.exact} to the last bit, {self.near} within the interval, as they were made elsewhere"


def same_stack(run: Run) -> bool:
    """Whether a run was made with this software, kind of CPU and number of threads (section 6 B)."""
    here = {"device": "cpu", "population": 1, "threads": torch.get_num_threads()}
    here["cpu"] = processor()
    execution = run.record.execution
    return run.record.versions == versions() and all(execution.get(name) == value for name, value in here.items())


def reevaluate(submission: Submission) -> Checked:
    """Runs the policy of every run that has a score, in the environment of our own table.

    On the same stack the returns are equal to the last bit; elsewhere the means agree as two measurements do.
    """
    checked = Checked()
    scored = [run for run in submission.runs if run.record.evaluation is not None]
    checked.wanted = len(scored)
    for run in progress(scored, desc="re-evaluation", unit="run"):
        if contradiction(run.record) or run.spec.environment != home(run.spec.dataset):
            checked.missing["its record is refused"] += 1
        elif not run.has(POLICY):
            checked.missing[f"no {POLICY} is there"] += 1
        elif run.agent is None:
            checked.missing["--plugin names no file that is its algorithm"] += 1
        else:
            what = _compared(run, checked)
            if what:
                checked.reasons.append(Reason(run.name, RULE, what))
    return checked


def _compared(run: Run, checked: Checked) -> str | None:
    """Runs one policy and counts it, or says what is wrong with it."""
    spec = run.spec.algorithm
    try:
        header, _ = read_weights(run.folder / POLICY)
        if canonical(header) != canonical({"algorithm": spec.name, "options": spec.options}):
            return "its policy is that of another algorithm, or of other settings"
        evaluation = evaluate(load_weights(run.folder / POLICY), run.spec.environment, FINAL_EPISODES)
    except ResourceError:
        raise
    except CorruptBenchError as error:
        return f"its policy could not be run: {str(error).removeprefix(f'{run.folder / POLICY}: ')}"
    except Exception as error:  # weights of another environment, or a plug-in's own way to act
        if lack := lack_of(error):
            raise lack from error
        return f"its policy could not be run: {sentence(error)}"
    assert run.record.evaluation is not None
    stated = run.record.evaluation["returns"]
    mean, before = evaluation.return_mean, float(np.mean(stated))
    if same_stack(run):
        if evaluation.returns != stated:
            odd = sum(a != b for a, b in zip(evaluation.returns, stated, strict=False)) or len(stated)
            return (
                f"its policy has another return in {odd} of {FINAL_EPISODES} episodes on the same stack, mean "
                f"{mean:.4f} instead of {before:.4f}"
            )
        if evaluation.lengths != run.record.evaluation["lengths"]:
            return "its policy has episodes of other lengths on the same stack"
        checked.exact += 1
    elif abs(mean - before) > allowed_difference(stated, evaluation.returns):
        allowed = allowed_difference(stated, evaluation.returns)
        return (
            f"its policy has a mean return of {mean:.4f}, and the record {before:.4f}: {allowed:.4f} apart is allowed"
        )
    else:
        checked.near += 1
    return None
