"""One run: request -> plan (everything resolved and checked, an attack's surrogate at hand) -> record."""

import contextlib
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from corruptbench import command, settings
from corruptbench.algos.agent import Agent, State, options_of
from corruptbench.attempt import Attempt, Setup, corrupted_for, sharpness_of, without_sharpness
from corruptbench.checkpoints import Checkpoints
from corruptbench.corrupting import WHITE_BOX, check_remade, corruption_spec, named_corruption, with_surrogate
from corruptbench.data import load
from corruptbench.environments import environment, make, with_references
from corruptbench.errors import DataError, IntegrityError, PluginError, UsageError, sentence
from corruptbench.modifiers import require_at_work, require_heeded
from corruptbench.optimizers import optimizer_for, spec_of
from corruptbench.records import RECORD, RunRecord
from corruptbench.registry import ALGORITHMS, source_sha256
from corruptbench.request import Plan, RunRequest, preset, seeds
from corruptbench.rng import stream
from corruptbench.sharpness import SHARPNESS, check_every, keep
from corruptbench.spec import AlgorithmSpec, RunSpec
from corruptbench.store import check_manifest, claimed, probe_writable, publish
from corruptbench.surrogates import require_critics, surrogate_of_run
from corruptbench.trained import trained_run
from corruptbench.training import carry_out
from corruptbench.types import Surrogate, TransitionDataset

log = logging.getLogger(__name__)

DEFAULT = Setup()


def plan(
    request: RunRequest,
    out: Path = Path("results"),
    setup: Setup = DEFAULT,
    *,
    dataset: TransitionDataset | None = None,
) -> Plan:
    """Resolves and checks a request; raises UsageError, DataError or IntegrityError before the run is begun.

    A surrogate that is not there yet is trained here: the dataset's own, or for a white-box attack the learner itself
    on the clean data, as a run of its own below ``out``, where runs that ``surrogate=`` names by their id lie too.
    ``dataset`` is what :func:`loaded` gave for the request, where many are planned.
    """
    if request.steps < 1:
        raise UsageError(f"--steps is {request.steps}, allowed is 1 and above")
    algorithm = ALGORITHMS.get(request.algo)
    threat, corruption = named_corruption(request.corrupt)
    unit, train_seed, corruption_seed = seeds(request)

    dataset = loaded(request) if dataset is None else dataset
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
    require_heeded(agent, dataset)
    require_at_work(agent, request.steps)
    optimizer = optimizer_for(agent, request.optimizer, request.sam_on, request.rho, request.optimizer_options)
    optimizer.require_update(agent, request.steps)
    surrogate: Surrogate | None
    if getattr(corruption, "surrogate", "") == WHITE_BOX:
        require_critics(_fresh(agent, dataset), request.algo, f"--corrupt {threat}")
        log.info("white-box: %s is trained on the clean data first, unless that was done", request.algo)
        learner = replace(request, corrupt="none", preset=None, algo_options=options_of(agent))
        clean = execute(plan(learner, out, setup), out, setup)
        surrogate, _ = surrogate_of_run(clean.run_id, dataset, out)
    else:
        corruption, surrogate = with_surrogate(corruption, dataset, out)
    spec = RunSpec(
        dataset=dataset.id,
        dataset_sha256=dataset.sha256,
        environment=dataset.environment,
        corruption=corruption_spec(threat, corruption, dataset, surrogate),
        algorithm=AlgorithmSpec(request.algo, options_of(agent), source_sha256(algorithm)),
        optimizer=spec_of(optimizer),
        track=track,
        unit=unit,
        train_seed=train_seed,
        corruption_seed=corruption_seed,
        steps=request.steps,
    )
    options = command.changed_in_run(agent, request.algo, optimizer, corruption)
    if spec.environment.references_supplied:
        options["references"] = f"{spec.environment.reference_min:g}/{spec.environment.reference_max:g}"
    base: Agent = settings.build(algorithm, differences, f"--preset {request.preset}")
    words = command.words(spec, agent, corruption, (request.preset, base) if request.preset and differences else None)
    if request.on_nonfinite != "refuse":
        words += f" --on-nonfinite {request.on_nonfinite}"
    if not request.score:
        words += " --no-score"
    return Plan(spec, words, options, dataset, corruption, surrogate, agent, optimizer, request.score)


def loaded(request: RunRequest) -> TransitionDataset:
    """The clean dataset that a request names, as it asks for it."""
    env = environment(request.env) if request.env is not None else None
    return load(request.dataset, env, on_nonfinite=request.on_nonfinite, download=request.download)


def _fresh(agent: Agent, dataset: TransitionDataset) -> State:
    """What an algorithm starts from; raises PluginError where it cannot."""
    try:
        widths = dataset.observations.shape[1], dataset.actions.shape[1]
        return agent.init(*widths, lambda name: stream("widths", name))
    except Exception as error:
        raise PluginError(f"algorithm {agent.name!r} raised {sentence(error)}") from error


def execute(planned: Plan, out: Path, setup: Setup = DEFAULT, *, force: bool = False) -> RunRecord:
    """Trains and scores, and publishes ``out/<run id>``; a finished run is found again and nothing is changed.

    What is under way lies in ``out/.<run id>``: every so many steps a checkpoint, from which the next call goes on. A
    record with the outcome ``failed`` is tried again. Raises ResourceError where there is no room or no right to write.
    """
    return execute_all([planned], out, setup, force=force)[0]


def execute_all(plans: Sequence[Plan], out: Path, setup: Setup = DEFAULT, *, force: bool = False) -> list[RunRecord]:
    """As :func:`execute`, of different runs; those that are to be trained are members of one population."""
    if setup.track_sharpness is not None:
        for planned in plans:
            check_every(setup.track_sharpness, planned.spec.steps)
    with contextlib.ExitStack() as claims:
        left = []
        for planned in plans:
            folder, work = out / planned.spec.run_id, under_way(planned, out)
            if not force and finished(planned, folder) and not work.exists():
                continue
            probe_writable(out)
            claims.enter_context(claimed(work))
            checkpoints = Checkpoints(work, setup.checkpoint_every, anew=True)
            if not force and finished(planned, folder):  # by now, or by a process killed between its last two acts
                checkpoints.remove()
                continue
            if (folder / RECORD).is_file() and not force:
                log.info("%s holds a run that failed or has no score: trying it again", folder)
            left.append((planned, checkpoints))
        torch.set_num_threads(setup.threads)
        attempts = {p.spec.run_id: Attempt(p, setup, checkpoints, len(left)) for p, checkpoints in left}
        carry_out(list(attempts.values()), setup)
        for run_id, attempt in attempts.items():
            publish(out / run_id, attempt.write, replace=True)
            if attempt.outcome != "failed":
                attempt.checkpoints.remove()
    return [
        attempts[planned.spec.run_id].record if planned.spec.run_id in attempts else found(planned, out, setup)
        for planned in plans
    ]


def found(planned: Plan, out: Path, setup: Setup) -> RunRecord:
    """The record of a finished run, whose sharpness is measured if that is asked for and was not done.

    It is measured on the bytes that the run was trained on, or not at all.
    """
    folder = out / planned.spec.run_id
    record = RunRecord.read(folder / RECORD)
    log.info("%s holds this run already (%s); --force does it again", folder, record.outcome)
    if lacks_report(record, folder, setup):
        log.info("its sharpness was not measured: that is done now")
        model = trained_run(str(folder), out, str(folder)).model
        corrupted = corrupted_for(planned, setup)
        try:
            check_remade(corrupted, record, exactly=True)
            report = sharpness_of(model, planned.spec.steps, corrupted.dataset, planned)
        except (DataError, IntegrityError) as error:  # its weights have none, or another processor made its data
            without_sharpness(planned, planned.spec.steps, error)
        else:
            keep(report, folder)
    return record


def under_way(planned: Plan, out: Path) -> Path:
    """Where a run's checkpoints lie until it is finished."""
    return out / f".{planned.spec.run_id}"


def lacks_report(record: RunRecord, folder: Path, setup: Setup) -> bool:
    """Whether a finished run has no report on its sharpness, and one is asked for."""
    return setup.track_sharpness is not None and record.outcome == "ok" and not (folder / SHARPNESS).is_file()


def finished(planned: Plan, folder: Path) -> RunRecord | None:
    """The record that a run left, None where there is none or it is one to be tried again."""
    if not (folder / RECORD).is_file():
        return None
    check_manifest(folder)
    found = RunRecord.read(folder / RECORD)
    unscored = planned.score and found.outcome == "ok" and found.score is None
    return None if found.outcome == "failed" or unscored else found
