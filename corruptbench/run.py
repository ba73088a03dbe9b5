"""One run: request -> plan (everything resolved and checked, an attack's surrogate at hand) -> record."""

import dataclasses
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from corruptbench import command, settings
from corruptbench.algos.agent import Agent, State
from corruptbench.checkpoints import KEPT, Checkpoints
from corruptbench.corrupting import WHITE_BOX, computed_or_cached, corruption_spec, named_corruption, with_surrogate
from corruptbench.corruptions.corruption import Corruption
from corruptbench.csv_text import to_csv
from corruptbench.data import load
from corruptbench.environments import environment, make, with_references
from corruptbench.errors import CorruptBenchError, Diverged, PluginError, UsageError, sentence
from corruptbench.evaluate import CURVE_EPISODES, FINAL_EPISODES, Evaluation, evaluate
from corruptbench.optimizers import RHO, Optimizer, optimizer_for
from corruptbench.records import RunRecord
from corruptbench.registry import ALGORITHMS, PLUGIN_TIMEOUT, source_sha256
from corruptbench.resources import lack_of, require_disk, require_memory
from corruptbench.resume import Resumable
from corruptbench.rng import stream, unit_seeds
from corruptbench.spec import DEFAULT_STEPS, AlgorithmSpec, OptimizerSpec, RunSpec
from corruptbench.store import check_manifest, claimed, pretty, probe_writable, publish
from corruptbench.surrogates import TRAINED_BY, require_critics, surrogate_of_run
from corruptbench.train import Learner
from corruptbench.types import Corrupted, Surrogate, TransitionDataset
from corruptbench.versions import platform, versions
from corruptbench.weights import save_weights

log = logging.getLogger(__name__)

QUICK_STEPS = 2_000
CURVE_EVERY = 5_000
CHECKPOINT_EVERY = 5_000

COPIES = 4
"""How often a run holds its data at most: corrupted, normalised, as a table, and what lies in between."""


@dataclass(frozen=True)
class RunRequest:
    """A run as a person asks for it; None stands for the default."""

    algo: str
    corrupt: str = "none"  # obs-adv, or obs-adv:rate=0.1,scale=0.5
    dataset: str = "hopper-replay"
    algo_options: dict[str, Any] = field(default_factory=dict)
    optimizer: str = "adam"
    sam_on: tuple[str, ...] | None = None
    rho: float = RHO
    preset: str | None = None
    unit: int | None = 0
    train_seed: int | None = None  # both seeds or none; with them there is no unit
    corruption_seed: int | None = None
    steps: int = DEFAULT_STEPS
    env: str | None = None
    ref_min: float | None = None
    ref_max: float | None = None
    on_nonfinite: str = "refuse"
    download: bool = False
    score: bool = True  # without it a policy is trained and not evaluated: no environment is needed


@dataclass(frozen=True)
class Plan:
    """What a request stands for, with everything that was loaded to find out."""

    spec: RunSpec
    command: str  # that repeats the run, whatever spelling it was asked for in
    options: dict[str, str]  # settings without a column of their own that differ from their defaults
    dataset: TransitionDataset
    corruption: Corruption
    surrogate: Surrogate | None
    agent: Agent
    optimizer: Optimizer
    score: bool = True


def plan(request: RunRequest, out: Path = Path("results"), *, engine: str = "auto", threads: int = 1) -> Plan:
    """Resolves and checks a request; raises UsageError, DataError or IntegrityError before the run is begun.

    A surrogate that is not there yet is trained here: the dataset's own, or for a white-box attack the learner itself
    on the clean data, as a run of its own below ``out``, where runs that ``surrogate=`` names by their id lie too.
    """
    if request.steps < 1:
        raise UsageError(f"--steps is {request.steps}, allowed is 1 and above")
    algorithm = ALGORITHMS.get(request.algo)
    threat, corruption = named_corruption(request.corrupt)
    unit, train_seed, corruption_seed = seeds(request)

    env = environment(request.env) if request.env is not None else None
    dataset = load(request.dataset, env, on_nonfinite=request.on_nonfinite, download=request.download)
    dataset = dataset.replace(environment=with_references(dataset.environment, request.ref_min, request.ref_max))
    if request.score:
        make(dataset.environment).close()
        if dataset.environment.reference_min is None:
            log.info(
                "%s has no reference scores: the score is the raw return; --ref-min and --ref-max supply them",
                dataset.environment.id,
            )
    differences, track = preset(request.preset, request.algo, dataset.environment.id, corruption)
    agent: Agent = settings.build(algorithm, {**differences, **request.algo_options}, f"--algo {request.algo}")
    optimizer = optimizer_for(agent, request.optimizer, request.sam_on, request.rho)
    surrogate: Surrogate | None
    if getattr(corruption, "surrogate", "") == WHITE_BOX:
        require_critics(_fresh(agent, dataset), request.algo, f"--corrupt {threat}")
        log.info("white-box: %s is trained on the clean data first, unless that was done", request.algo)
        learner = replace(request, corrupt="none", preset=None, algo_options=dataclasses.asdict(agent))
        clean = execute(plan(learner, out), out, engine=engine, threads=threads)
        surrogate, _ = surrogate_of_run(clean.run_id, dataset, out)
    else:
        corruption, surrogate = with_surrogate(corruption, dataset, out)
    spec = RunSpec(
        dataset=dataset.id,
        dataset_sha256=dataset.sha256,
        environment=dataset.environment,
        corruption=corruption_spec(threat, corruption, dataset, surrogate),
        algorithm=AlgorithmSpec(request.algo, dataclasses.asdict(agent), source_sha256(algorithm)),
        optimizer=OptimizerSpec(optimizer.name, optimizer.on, optimizer.rho),
        track=track,
        unit=unit,
        train_seed=train_seed,
        corruption_seed=corruption_seed,
        steps=request.steps,
    )
    options = command.changed(agent, request.algo) | command.changed(corruption, "corruption")
    if spec.environment.references_supplied:
        options["references"] = f"{spec.environment.reference_min:g}/{spec.environment.reference_max:g}"
    base: Agent = settings.build(algorithm, differences, f"--preset {request.preset}")
    words = command.words(spec, agent, corruption, (request.preset, base) if request.preset and differences else None)
    if request.on_nonfinite != "refuse":
        words += f" --on-nonfinite {request.on_nonfinite}"
    return Plan(spec, words, options, dataset, corruption, surrogate, agent, optimizer, request.score)


def _fresh(agent: Agent, dataset: TransitionDataset) -> State:
    """What an algorithm starts from; raises PluginError where it cannot."""
    try:
        widths = dataset.observations.shape[1], dataset.actions.shape[1]
        return agent.init(*widths, lambda name: stream("widths", name))
    except Exception as error:
        raise PluginError(f"algorithm {agent.name!r} raised {sentence(error)}") from error


def seeds(request: RunRequest) -> tuple[int | None, int, int]:
    """Unit, training seed and corruption seed; raises UsageError for one seed without the other."""
    given = (request.train_seed, request.corruption_seed)
    for name, value in zip(("--unit", "--seed", "--corruption-seed"), (request.unit, *given), strict=True):
        if value is not None and value < 0:
            raise UsageError(f"{name} is {value}, allowed is 0 and above")
    if request.train_seed is not None and request.corruption_seed is not None:
        return None, request.train_seed, request.corruption_seed
    if given != (None, None) or request.unit is None:
        raise UsageError("--seed and --corruption-seed belong together: give both, or --unit")
    return request.unit, *unit_seeds(request.unit)


def preset(name: str | None, algo: str, environment_id: str, corruption: Corruption) -> tuple[dict[str, Any], str]:
    """A preset's settings for a cell and the track they belong to; where it has no row, the universal settings."""
    if name is None:
        return {}, "universal"
    content = settings.named("presets", name)
    if content["algorithm"] != algo:
        raise UsageError(f"--preset {name} belongs to {content['algorithm']}, not to {algo}")
    element = "obs" if corruption.element == "mix" else corruption.element
    for key, row in content["rows"].items():
        family, _, threat = key.partition("/")
        if environment_id.lower().startswith(family) and threat == f"{element}-{corruption.mode}":
            return row, content["track"]
    return {}, "universal"


def execute(
    planned: Plan,
    out: Path,
    *,
    engine: str = "auto",
    threads: int = 1,
    force: bool = False,
    checkpoint_every: int = CHECKPOINT_EVERY,
    plugin_timeout: float = PLUGIN_TIMEOUT,
) -> RunRecord:
    """Trains and scores, and publishes ``out/<run id>``; a finished run is found again and nothing is changed.

    What is under way lies in ``out/.<run id>``: every so many steps a checkpoint, from which the next call goes on. A
    record with the outcome ``failed`` is tried again. Raises ResourceError where there is no room or no right to write.
    """
    folder = out / planned.spec.run_id
    work = out / f".{planned.spec.run_id}"
    record = None if force else _finished(planned, folder)
    if record is None or work.exists():
        probe_writable(out)
        torch.set_num_threads(threads)
        with claimed(work):
            checkpoints = Checkpoints(work, checkpoint_every, anew=True)
            record = None if force else _finished(planned, folder)  # by now
            if record is None:
                if (folder / "record.json").is_file() and not force:
                    log.info("%s holds a run that failed or has no score: trying it again", folder)
                attempt = _Attempt(planned, engine, threads, checkpoints, plugin_timeout)
                record = attempt.run()
                publish(folder, attempt.write, replace=True)
                if record.outcome != "failed":
                    checkpoints.remove()
                return record
            checkpoints.remove()  # of a process that was killed between its last two acts
    log.info("%s holds this run already (%s); --force does it again", folder, record.outcome)
    return record


def _finished(planned: Plan, folder: Path) -> RunRecord | None:
    """The record that a run left, None where there is none or it is one to be tried again."""
    if not (folder / "record.json").is_file():
        return None
    check_manifest(folder)
    found = RunRecord.read(folder / "record.json")
    unscored = planned.score and found.outcome == "ok" and found.score is None
    return None if found.outcome == "failed" or unscored else found


class _Attempt:
    """The state of one run while it runs, so that whatever breaks leaves one whole record."""

    def __init__(
        self, planned: Plan, engine: str, threads: int, checkpoints: Checkpoints, plugin_timeout: float
    ) -> None:
        self.planned, self.engine, self.threads = planned, engine, threads
        self.checkpoints, self.plugin_timeout = checkpoints, plugin_timeout
        self.learner: Learner | None = None
        self.taken = 0  # steps by this process
        self.corrupted_sha256: str | None = None
        self.audit: dict[str, Any] = {}
        self.evaluation: Evaluation | None = None
        self.curve: list[dict[str, float | int | None]] = []
        self.seconds: dict[str, float] = {}
        self.record: RunRecord | None = None

    def run(self) -> RunRecord:
        """Corrupt, train, evaluate; the record whatever happens, but for the lack of resources."""
        outcome, reason = "ok", None
        require_memory(COPIES * self.planned.dataset.nbytes, "a run on this dataset")
        try:
            corrupted = self.timed("corrupt", self.corrupt)
            self.corrupted_sha256, self.audit = corrupted.dataset.sha256, dict(corrupted.audit)
            self.learn(corrupted.dataset)
        except Diverged as error:
            outcome, reason = "diverged", str(error)
        except PluginError as error:
            log.debug("the run failed", exc_info=True)
            outcome, reason = "failed", str(error)
        self.record = RunRecord(
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
        return self.record

    def execution(self) -> dict[str, Any]:
        """What it is trained on."""
        return {
            "device": "cpu",
            "engine": self.learner.engine if self.learner else None,
            "population": 1,
            "threads": self.threads,
            "cpu": torch.backends.cpu.get_cpu_capability(),
        }

    def identity(self) -> dict[str, Any]:
        """What the bytes of the training and its curve depend on; a checkpoint of anything else is of no use."""
        scored = self.planned.score  # what was trained without has no curve to go on with
        trained_on = {"run_id": self.planned.spec.run_id, "corrupted_sha256": self.corrupted_sha256, "scored": scored}
        return {**trained_on, "execution": self.execution(), **platform(*TRAINED_BY)}

    def corrupt(self) -> Corrupted:
        planned, spec = self.planned, self.planned.spec
        return computed_or_cached(
            planned.corruption,
            spec.corruption,
            planned.dataset,
            spec.corruption_seed,
            planned.surrogate,
            plugin_timeout=self.plugin_timeout,
        )

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
            engine=self.engine,
        )
        state = sum(array.nbytes for array in learner.arrays().values())
        require_disk(self.checkpoints.folder, (KEPT + 2) * state, "a run with its checkpoints")
        training = Resumable(learner, self.checkpoints, self.identity())
        self.curve = training.notes.setdefault("curve", [])
        name, begin = spec.algorithm.name, learner.step
        with tqdm(total=spec.steps, initial=begin, unit="step", desc=name, disable=None, smoothing=0.05) as bar:
            for step in [*range(CURVE_EVERY, spec.steps, CURVE_EVERY), spec.steps]:
                losses = self.timed("train", lambda step=step: training.reach(step, bar.update))  # type: ignore[misc]
                self.taken = learner.step - begin
                if self.planned.score and (not self.curve or self.curve[-1]["step"] < step):
                    policy = learner.policy()
                    with training.saved_when_stopped():
                        point = self.timed("curve", lambda p=policy: evaluate(p, spec.environment, CURVE_EPISODES))  # type: ignore[misc]
                    score = self.score(point)
                    self.curve.append({"step": step, **score, **{f"loss_{k}": v for k, v in losses.items()}})
                    bar.set_postfix({k: f"{v:.1f}" for k, v in score.items() if v is not None})
        return training

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
        if self.learner and self.record.outcome == "ok":
            policy, algorithm = self.learner.policy(), self.planned.spec.algorithm
            acting = [group for group in self.planned.agent.acting if group in policy.state]
            save_weights(folder / "policy.safetensors", policy, algorithm, acting or None)
            save_weights(folder / "agent.safetensors", policy, algorithm)
