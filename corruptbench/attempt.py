"""One attempt at a run: its stages, its outcome, and one whole record whatever breaks on the way."""

import contextlib
import dataclasses
import functools
import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from corruptbench.checkpoints import KEPT, Checkpoints
from corruptbench.corrupting import computed_or_cached
from corruptbench.csv_text import to_csv
from corruptbench.errors import CorruptBenchError, Diverged, PluginError, sentence
from corruptbench.evaluate import Evaluation
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
from corruptbench.versions import platform, processor, versions
from corruptbench.weights import save_weights

log = logging.getLogger(__name__)

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
    device: str = "cpu"  # what training is done on


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


def without_sharpness(planned: Plan, step: int, error: BaseException) -> None:
    """Tells why there is no report."""
    words = str(error) if isinstance(error, CorruptBenchError) else sentence(error)
    log.warning("run %s has no sharpness after %s steps: %s", planned.spec.run_id, f"{step:,}", words)


class Attempt:
    """The state of one run while it runs, alone or as one of a ``population`` of so many."""

    def __init__(self, planned: Plan, setup: Setup, checkpoints: Checkpoints, population: int = 1) -> None:
        self.planned, self.setup, self.checkpoints, self.population = planned, setup, checkpoints, population
        self.outcome = "ok"
        self.reason: str | None = None
        self.corrupted: TransitionDataset | None = None
        self.audit: dict[str, Any] = {}
        self.learner: Learner | None = None
        self.resumable: Resumable | None = None
        self.begin = 0  # the step that this process went on from
        self.evaluation: Evaluation | None = None
        self.curve: list[dict[str, float | int | None]] = []
        self.reports: list[dict[str, Any]] = []  # of sharpness
        self.telling = Telling(None, planned.spec, setup.log_to)
        self.seconds: dict[str, float] = {}

    @property
    def corrupted_sha256(self) -> str | None:
        """The hash of what it is trained on, None before there is any."""
        return self.corrupted.sha256 if self.corrupted else None

    @property
    def goes_on(self) -> bool:
        """Whether nothing has ended it yet."""
        return self.outcome == "ok"

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Within, what goes wrong is the algorithm's fault and the run's outcome, as :meth:`ended_by` has it."""
        try:
            yield
        except (Exception, SystemExit) as error:
            self.ended_by(blamed(error, self.planned.spec.algorithm.name))

    def ended_by(self, error: BaseException) -> None:
        """Makes an outcome of what was raised; raises what says nothing of the run, as a lack of resources."""
        if isinstance(error, Diverged):
            self.outcome, self.reason = "diverged", str(error)
        elif isinstance(error, PluginError):
            log.debug("the run failed", exc_info=error)
            self.outcome, self.reason = "failed", str(error)
        else:
            raise error

    def prepare(self) -> None:
        """Corrupts the data and makes the learner, which stands where its newest checkpoint does."""
        require_memory(COPIES * self.planned.dataset.nbytes, "a run on this dataset")
        try:
            corrupted = self.timed("corrupt", lambda: corrupted_for(self.planned, self.setup))
        except PluginError as error:
            self.ended_by(error)
            return
        self.corrupted, self.audit = corrupted.dataset, dict(corrupted.audit)
        with self.kept():
            self.make_learner(corrupted.dataset)

    def make_learner(self, dataset: TransitionDataset) -> None:
        spec = self.planned.spec
        self.learner = Learner(
            self.planned.agent,
            self.planned.optimizer,
            dataset,
            seed=spec.train_seed,
            steps=spec.steps,
            engine=self.setup.engine,
        )
        state = sum(array.nbytes for array in self.learner.arrays().values())
        require_disk(self.checkpoints.folder, (KEPT + 2) * state, "a run with its checkpoints")
        self.resumable = Resumable(self.learner, self.checkpoints, self.identity())
        notes, self.begin = self.resumable.notes, self.learner.step
        self.curve = notes.setdefault("curve", [])
        self.reports = notes.setdefault("sharpness", []) if self.setup.track_sharpness else []
        self.telling = Telling(self.setup.log, spec, self.setup.log_to)

    def identity(self) -> dict[str, Any]:
        """What the bytes of the training and its curve depend on; a checkpoint of anything else is of no use."""
        scored = self.planned.score  # what was trained without has no curve to go on with
        trained_on = {"run_id": self.planned.spec.run_id, "corrupted_sha256": self.corrupted_sha256, "scored": scored}
        return {**trained_on, "execution": self.execution(), **platform(*TRAINED_BY)}

    def execution(self) -> dict[str, Any]:
        """What it is trained on."""
        return {
            "device": self.setup.device,
            "engine": self.learner.engine if self.learner else None,
            "population": self.population,
            "threads": self.setup.threads,
            "cpu": processor(),
            **gpu(self.setup.device),
        }

    def measure_sharpness(self) -> None:
        """A report, where one is asked for after this step and a run that goes on has none of it.

        Whatever goes wrong in it but a lack of memory or disk is told, and the run ends as one that is not tracked.
        """
        assert self.learner is not None
        assert self.corrupted is not None
        every, step, corrupted = self.setup.track_sharpness, self.learner.step, self.corrupted
        if not every or not is_due(step, every, self.planned.spec.steps):
            return
        if not self.reports or self.reports[-1]["step"] < step:
            try:
                report = self.timed("sharpness", lambda: sharpness_of(self.policy, step, corrupted, self.planned))
                self.reports.append(report)
            except (Exception, SystemExit) as error:
                if lack_of(error):
                    raise
                without_sharpness(self.planned, step, error)

    def lacks_point(self) -> bool:
        """Whether the curve is wanted and has none of this step."""
        assert self.learner is not None
        return self.planned.score and not any(point["step"] == self.learner.step for point in self.curve)

    def add_point(self, evaluation: Evaluation) -> None:
        """The curve's point of this step."""
        assert self.learner is not None
        losses = {f"loss_{name}": float(loss) for name, loss in self.learner.losses.items()}
        self.curve.append({"step": self.learner.step, **self.score(evaluation), **losses})
        self.telling.point(self.curve[-1])

    def end_with(self, evaluation: Evaluation) -> None:
        """The score that the run ends with."""
        self.score(evaluation)  # raises where it is none
        self.evaluation = evaluation

    def shown(self) -> dict[str, str]:
        """The scores of the curve's last point."""
        scores = {name: self.curve[-1][name] for name in ("return_mean", "normalized_mean")} if self.curve else {}
        return {name: f"{score:.1f}" for name, score in scores.items() if score is not None}

    @property
    def policy(self) -> Policy:
        """As it is trained by now."""
        assert self.learner is not None
        return self.learner.policy()

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
            self.took(name, time.monotonic() - begin)

    def took(self, name: str, seconds: float) -> None:
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds

    @functools.cached_property
    def record(self) -> RunRecord:
        """What became of it; asked for when nothing more is done."""
        scored = self.evaluation if self.goes_on else None
        return RunRecord(
            spec=self.planned.spec,
            command=self.planned.command,
            options=self.planned.options,
            outcome=self.outcome,
            step=self.learner.step if self.learner else 0,
            reason=self.reason,
            corruption={"sha256": self.corrupted_sha256, "audit": self.audit},
            evaluation=dataclasses.asdict(scored) if scored else None,
            score=self.score(scored) if scored else None,
            versions=versions(),
            execution=self.execution(),
            gate=dict(self.planned.dataset.provenance.get("gate", {})),
        )

    def write(self, folder: Path) -> None:
        """Fills the run's folder; the manifest is written by who publishes it."""
        record = self.record
        (folder / "record.json").write_text(record.text())
        timing: dict[str, Any] = {"seconds": self.seconds}
        if self.learner and (taken := self.learner.step - self.begin):
            timing["steps_per_second"] = {"train": taken / self.seconds["train"]}
        (folder / "timing.json").write_text(pretty(timing))
        if self.curve:
            losses = [f"loss_{objective.name}" for objective in self.planned.agent.objectives]
            text = to_csv(["step", "return_mean", "normalized_mean", *losses], self.curve)
            (folder / "curve.csv").write_text(text)
        if self.reports:
            (folder / SHARPNESS).write_text(text_of(self.reports))
        if self.learner and record.outcome == "ok":
            policy, algorithm = self.policy, self.planned.spec.algorithm
            acting = [group for group in self.planned.agent.acting if group in policy.state]
            save_weights(folder / "policy.safetensors", policy, algorithm, acting or None)
            save_weights(folder / "agent.safetensors", policy, algorithm)


def is_due(step: int, every: int, steps: int) -> bool:
    """Whether something that is done every so many steps, and after the last, is done after this one."""
    return step % every == 0 or step == steps


def blamed(error: BaseException, algorithm: str) -> BaseException:
    """What is raised for an error while an algorithm trains or acts."""
    if isinstance(error, PluginError):
        return PluginError(f"algorithm {algorithm!r} failed: {error}")
    if isinstance(error, CorruptBenchError):
        return error
    return lack_of(error) or PluginError(f"algorithm {algorithm!r} raised {sentence(error)}")


def gpu(device: str) -> dict[str, str]:
    """The name of a GPU; nothing of the CPU."""
    return {} if device == "cpu" else {"gpu": torch.cuda.get_device_name(device)}
