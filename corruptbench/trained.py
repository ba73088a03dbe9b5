"""A finished run as measurements and attacks read it: its record and its networks."""

import os
from dataclasses import dataclass
from pathlib import Path

from corruptbench.errors import UsageError
from corruptbench.names import is_name, refuse_pickle
from corruptbench.records import RECORD, RunRecord
from corruptbench.store import check_manifest
from corruptbench.train import Policy
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


def trained_run(name: str, results: Path, where: str) -> Trained:
    """A finished run, named by its folder or by its id below ``results``; ``where`` begins the errors.

    Raises UsageError for what is no run or has no networks, IntegrityError for a folder that is damaged.
    """
    refuse_pickle(Path(name), where)
    places = [Path(name), results / name] if is_name(name) else [Path(name)]  # no way leads out of the results
    found = [folder for folder in places if os.path.isfile(folder / RECORD)]
    if not found:
        raise UsageError(f"{where}: no run lies in {name} or in {results / name}")
    folder = found[0]
    check_manifest(folder)
    record = RunRecord.read(folder / RECORD)
    if record.outcome != "ok" or not (folder / AGENT).is_file():
        raise UsageError(f"{where}: the run ended as {record.outcome!r}, and only one that is ok has networks")
    return Trained(folder, record, load_weights(folder / AGENT))
