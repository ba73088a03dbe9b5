"""One attempt at a run: corrupt, train, evaluate, and one whole record whatever breaks on the way."""

import dataclasses
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from corruptbench.checkpoints import KEPT, Checkpoints
from corruptbench.corrupting import computed_or_cached
from corruptbench.csv_text import to_csv
from corruptbench.errors import CorruptBenchError, Diverged, PluginError, sentence
from corruptbench.evaluate import CURVE_EPISODES, FINAL_EPISODES, Evaluation, evaluate
from corruptbench.records import RunRecord
from corruptbench.registry import PLUGIN_TIMEOUT
from corruptbench.request import Plan
from corruptbench.resources import lack_of, require_disk, require_memory
from corruptbench.resume import Resumable
from corruptbench.sharpness import SHARPNESS, Effort, report_of, text_of
from corruptbench.store import pretty
from corruptbench.surrogates import TRAINED_BY
from corruptbench.trackers import Telling
from corruptbench.train import Learner, Policy
from corruptbench.types import Corrupted, TransitionDataset
from corruptbench.versions import platform, versions
from corruptbench.weights import save_weights

log = logging.getLogger(__name__)

CURVE_EVERY = 5_000
CHECKPOINT_EVERY = 5_000

COPIES = 4
"""How often a run holds its data at most: corrupted, normalised, as a table, and what lies in between."""


@dataclass(frozen=True)
class Setup:
    """How runs are done on this machine: nothing of it is in their specs."""

    engine: str = "auto"  # compiled, eager, or what is there
    threads: int = 1
    checkpoint_every: int = CHECKPOINT_EVERY  # steps
    plugin_timeout: float = PLUGIN_TIMEOUT  # seconds for a plug-in's corruption
    track_sharpness: int | None = None  # steps between two reports, one at the end among them
    log: str | None = None  # tensorboard or wandb
    log_to: Path = Path("logs")


def corrupted_for(planned: Plan, setup: Setup) -> Corrupted:
    """What a run is trained on."""
    spec, timeout = planned.spec, setup.plugin_timeout
    return computed_or_cached(
        planned.corruption,
        spec.corruption,
        planned.dataset,
        spec.corruption_seed,
        planned.surrogate,
        plugin_timeout=timeout,
    )


def sharpness_of(policy: Policy, step: int, corrupted: TransitionDataset, planned: Plan) -> dict[str, Any]:
    """The sharpness report of a run after so many steps."""
    return report_of(policy, step, {"corrupted": corrupted, "clean": planned.dataset}, Effort())


class Attempt:
    """The state of one run while it runs, so that whatever breaks leaves one whole record."""

    def __init__(self, planned: Plan, setup: Setup, checkpoints: Checkpoints) -> None:
        self.planned, self.setup, self.checkpoints = planned, setup, checkpoints
        self.learner: Learner | None = None
        self.taken = 0  # steps by this process
        self.corrupted_sha256: str | None = None
        self.audit: dict[str, Any] = {}
        self.evaluation: Evaluation | None = None
        self.curve: list[dict[str, float | int | None]] = []
        self.reports: list[dict[str, Any]] = []  # of sharpness
        self.telling = Telling(None, planned.spec, setup.log_to)
        self.seconds: dict[str, float] = {}
        self.record: RunRecord | None = None

    def run(self) -> RunRecord:
        """Corrupt, train, evaluate; the record whatever happens, but for the lack of resources."""
        try:
            self.record = self.outcome()
            return self.record
        finally:
            self.telling.end(self.record)

    def outcome(self) -> RunRecord:
        """As :meth:`run`, with the tracker still open."""
        outcome, reason = "ok", None
        require_memory(COPIES * self.planned.dataset.nbytes, "a run on this dataset")
        try:
            corrupted = self.timed("corrupt", lambda: corrupted_for(self.planned, self.setup))
            self.corrupted_sha256, self.audit = corrupted.dataset.sha256, dict(corrupted.audit)
            self.learn(corrupted.dataset)
        except Diverged as error:
            outcome, reason = "diverged", str(error)
        except PluginError as error:
            log.debug("the run failed", exc_info=True)
            outcome, reason = "failed", str(error)
        return RunRecord(
            spec=self.planned.spec,
            command=self.planned.command,
            options=self.planned.options,
            outcome=outcome,
            step=self.learner.step if self.learner else 0,
            reason=reason,
            corruption={"sha256": self.corrupted_sha256, "audit": self.audit},
            evaluation=dataclasses.asdict(self.evaluation) if self.evaluation and outcome == "ok" else None,
            score=self.score(self.evaluation) if self.evaluation and outcome == "ok" else None,
            versions=versions(),
            execution=self.execution(),
            gate=dict(self.planned.dataset.provenance.get("gate", {})),
        )

    def execution(self) -> dict[str, Any]:
        """What it is trained on."""
        return {
            "device": "cpu",
            "engine": self.learner.engine if self.learner else None,
            "population": 1,
            "threads": self.setup.threads,
            "cpu": torch.backends.cpu.get_cpu_capability(),
        }

    def identity(self) -> dict[str, Any]:
        """What the bytes of the training and its curve depend on; a checkpoint of anything else is of no use."""
        scored = self.planned.score  # what was trained without has no curve to go on with
        trained_on = {"run_id": self.planned.spec.run_id, "corrupted_sha256": self.corrupted_sha256, "scored": scored}
        return {**trained_on, "execution": self.execution(), **platform(*TRAINED_BY)}

    def learn(self, dataset: TransitionDataset) -> None:
        """Training and the final evaluation; raises PluginError, naming the algorithm, for whatever breaks in it."""
        name = self.planned.spec.algorithm.name
        try:
            training = self.train(dataset)
            if not self.planned.score:
                return
            policy, env = training.learner.policy(), self.planned.spec.environment
            with training.saved_when_stopped():
                self.evaluation = self.timed("evaluate", lambda: evaluate(policy, env, FINAL_EPISODES))
        except PluginError as error:
            raise PluginError(f"algorithm {name!r} failed: {error}") from error
        except CorruptBenchError:
            raise
        except (Exception, SystemExit) as error:
            raise lack_of(error) or PluginError(f"algorithm {name!r} raised {sentence(error)}") from error

    def train(self, dataset: TransitionDataset) -> Resumable:
        """All steps, with an evaluation of the policy every so many for the curve."""
        spec = self.planned.spec
        self.learner = learner = Learner(
            self.planned.agent,
            self.planned.optimizer,
            dataset,
            seed=spec.train_seed,
            steps=spec.steps,
            engine=self.setup.engine,
        )
        state = sum(array.nbytes for array in learner.arrays().values())
        require_disk(self.checkpoints.folder, (KEPT + 2) * state, "a run with its checkpoints")
        training = Resumable(learner, self.checkpoints, self.identity())
        self.curve = training.notes.setdefault("curve", [])
        self.reports = training.notes.setdefault("sharpness", []) if self.setup.track_sharpness else []
        self.telling = Telling(self.setup.log, spec, self.setup.log_to)
        name, begin = spec.algorithm.name, learner.step
        with tqdm(total=spec.steps, initial=begin, unit="step", desc=name, disable=None, smoothing=0.05) as bar:
            for step in self.stops():
                losses = self.timed("train", lambda step=step: training.reach(step, bar.update))  # type: ignore[misc]
                self.taken = learner.step - begin
                self.measure_sharpness(dataset, step)
                due = self.planned.score and is_due(step, CURVE_EVERY, spec.steps)
                if due and not any(point["step"] == step for point in self.curve):
                    policy = learner.policy()
                    with training.saved_when_stopped():
                        point = self.timed("curve", lambda p=policy: evaluate(p, spec.environment, CURVE_EPISODES))  # type: ignore[misc]
                    score = self.score(point)
                    self.curve.append({"step": step, **score, **{f"loss_{k}": v for k, v in losses.items()}})
                    self.telling.point(self.curve[-1])
                    bar.set_postfix({k: f"{v:.1f}" for k, v in score.items() if v is not None})
        return training

    def stops(self) -> list[int]:
        """The steps after which something is measured, the last one among them."""
        steps = self.planned.spec.steps
        every = {CURVE_EVERY, self.setup.track_sharpness or CURVE_EVERY}
        return sorted({step for number in every for step in [*range(number, steps, number), steps]})

    def measure_sharpness(self, dataset: TransitionDataset, step: int) -> None:
        """A report, where one is asked for after this step and a run that goes on has none of it."""
        assert self.learner is not None
        every, policy = self.setup.track_sharpness, self.learner.policy()
        passed = self.learner.step != step  # before the checkpoint that it goes on from
        if passed or not every or not is_due(step, every, self.planned.spec.steps):
            return
        if not self.reports or self.reports[-1]["step"] < step:
            self.reports.append(self.timed("sharpness", lambda: sharpness_of(policy, step, dataset, self.planned)))

    def score(self, evaluation: Evaluation) -> dict[str, float | None]:
        """Mean return and normalized score."""
        mean = evaluation.return_mean
        if not math.isfinite(mean):
            raise Diverged(f"the mean return is {mean}")
        return {"return_mean": mean, "normalized_mean": self.planned.spec.environment.normalized(mean)}

    def timed(self, name: str, action: Callable[[], Any]) -> Any:
        begin = time.monotonic()
        try:
            return action()
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - begin

    def write(self, folder: Path) -> None:
        """Fills the run's folder; the manifest is written by who publishes it."""
        assert self.record is not None
        (folder / "record.json").write_text(self.record.text())
        timing = {"seconds": self.seconds}
        if self.taken:
            timing["steps_per_second"] = {"train": self.taken / self.seconds["train"]}
        (folder / "timing.json").write_text(pretty(timing))
        if self.curve:
            losses = [f"loss_{objective.name}" for objective in self.planned.agent.objectives]
            text = to_csv(["step", "return_mean", "normalized_mean", *losses], self.curve)
            (folder / "curve.csv").write_text(text)
        if self.reports:
            (folder / SHARPNESS).write_text(text_of(self.reports))
        if self.learner and self.record.outcome == "ok":
            policy, algorithm = self.learner.policy(), self.planned.spec.algorithm
            acting = [group for group in self.planned.agent.acting if group in policy.state]
            save_weights(folder / "policy.safetensors", policy, algorithm, acting or None)
            save_weights(folder / "agent.safetensors", policy, algorithm)


def is_due(step: int, every: int, steps: int) -> bool:
    """Whether something that is done every so many steps, and after the last, is done after this one."""
    return step % every == 0 or step == steps
