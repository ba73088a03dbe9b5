"""A finished run as measurements and attacks read it: its record and its networks."""

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from corruptbench.environments import environment, spelling, with_references
from corruptbench.errors import UsageError
from corruptbench.names import is_name, refuse_pickle
from corruptbench.records import RECORD, RunRecord
from corruptbench.spec import RunSpec
from corruptbench.store import check_manifest
from corruptbench.train import Policy
from corruptbench.types import Environment
from corruptbench.weights import load_weights

AGENT = "agent.safetensors"
"""Every network of a run, targets included, and its normalisation."""


@dataclass(frozen=True)
class Trained:
    """A run that is ok."""

    folder: Path
    record: RunRecord
    model: Policy

    @property
    def weights(self) -> Path:
        """The file that the model was read from."""
        return self.folder / AGENT


def run_folder(name: str, results: Path, where: str) -> Path:
    """The folder of a run, named by it or by the run's id below ``results``; ``where`` begins the errors.

    Raises UsageError for what is no run, IntegrityError for a folder that is damaged.
    """
    refuse_pickle(Path(name), where)
    places = [Path(name), results / name] if is_name(name) else [Path(name)]  # no way leads out of the results
    found = [folder for folder in places if os.path.isfile(folder / RECORD)]
    if not found:
        raise UsageError(f"{where}: no run lies in {name} or in {results / name}")
    check_manifest(found[0])
    return found[0]


def named_run(name: str, results: Path, where: str) -> tuple[Path, RunRecord]:
    """A run's folder and record, named as in :func:`run_folder`."""
    folder = run_folder(name, results, where)
    return folder, RunRecord.read(folder / RECORD)


def require_once(run_ids: Iterable[str]) -> None:
    """Raises UsageError for a run that is named twice."""
    twice = [run_id for run_id, count in Counter(run_ids).items() if count > 1]
    if twice:
        raise UsageError(f"run {twice[0]} is named twice")


def trained_run(name: str, results: Path, where: str) -> Trained:
    """A finished run, named as in :func:`run_folder`; raises UsageError for one without networks, too."""
    folder, record = named_run(name, results, where)
    if record.outcome != "ok":
        raise UsageError(f"{where}: the run ended as {record.outcome!r}, and only one that is ok has networks")
    if not (folder / AGENT).is_file():
        raise UsageError(f"{where}: no {AGENT} lies in {folder}, and what is asked for needs the run's networks")
    return Trained(folder, record, load_weights(folder / AGENT))


def environment_of_data(spec: RunSpec) -> Environment:
    """The environment that a run's data belong to, as our own table or Gymnasium's registry has it.

    Its references are those of our table, which data do not depend on. Nothing is made from a record. Raises
    UsageError for one that is none here.
    """
    try:
        return environment(spelling(spec.environment))
    except UsageError as error:
        raise _unknown(spec) from error


def known_environment(spec: RunSpec) -> Environment:
    """The environment that a run is scored in, as :func:`environment_of_data`, with the run's references.

    Raises UsageError for one that is none here, or has other references.
    """
    env, known = spec.environment, environment_of_data(spec)
    try:
        if env.references_supplied:
            known = with_references(known, env.reference_min, env.reference_max)
    except UsageError as error:
        raise _unknown(spec) from error
    if known != env:
        raise _unknown(spec)
    return known


def _unknown(spec: RunSpec) -> UsageError:
    return UsageError(f"run {spec.run_id} is scored in {spec.environment.id}, and here is no environment like it")
