"""Arrow and Parquet through Minari's own code, in a child process: ``python -m corruptbench.data.minari.tables ...``.

Damaged bytes can crash Arrow, and few can unpack to more than all memory. Here they cost a process, and one sentence.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial, reduce
from operator import getitem
from pathlib import Path
from typing import Any

import numpy as np

from corruptbench.data.flat import USUAL_RATIO
from corruptbench.data.minari.episodes import Fields, fields_of
from corruptbench.data.minari.places import default_root, minari_at
from corruptbench.data.minari.spaces import Leaf, Leaves, leaves_of_dataset, metadata_of
from corruptbench.errors import CorruptBenchError, DataError, ResourceError, UsageError, sentence, shown
from corruptbench.resources import available_memory, limit_memory
from corruptbench.stopping import end_with_parent

ROOM = 1 << 30
"""Bytes of memory that Arrow and the reading may take for their own, before any data."""

_PIECE = 32_767
"""Steps: Minari takes each batch of Arrow's for an episode, and a longer one comes in several."""
_RESULT = "fields.npz"
_SAID = 9
"""Exit code of a child whose last line is an error as JSON: standard output needs no room on a disk that is full."""
_RAISED = {cls.__name__: cls for cls in (DataError, ResourceError, UsageError)}


def read_tables(metadata: Path, files: Sequence[Path], stored_as: str) -> Fields:
    """The fields of a dataset in ``files`` of Arrow or Parquet, read with no more memory than such files can need.

    Raises DataError for what cannot be read, whatever it does to Arrow, UsageError without the extra that it needs,
    ResourceError for more than this machine has.
    """
    data = metadata.parent
    needed = ROOM + 2 * USUAL_RATIO * sum(path.stat().st_size for path in files)
    free = available_memory()
    most = needed if free is None else min(needed, free)
    try:
        with tempfile.TemporaryDirectory(prefix="corruptbench-") as folder:
            code, last = _done([str(metadata), stored_as, str(most), folder])
            if code == 0:
                with np.load(Path(folder, _RESULT), allow_pickle=False) as found:
                    return dict(found)
    except OSError as error:
        raise ResourceError(f"{data}: no process to read it could be provided for: {error}") from error
    if code == _SAID:
        said = json.loads(last)
        if said["error"] == MemoryError.__name__:
            many = f"{data}: its {stored_as} files unpack to more than {most} bytes of memory"
            raise DataError(many) if most == needed else ResourceError(f"{many}, which are all that is free")
        raise _RAISED[said["error"]](said["message"])
    how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    ended = f"reading its {stored_as} files within {most} bytes of memory ended with {how}"
    raise DataError(f"{data}: {ended}{f'; it last wrote: {shown(last)}' if last else ''}")


def _done(arguments: Sequence[str]) -> tuple[int, str]:
    """Exit code and last line of the child, which ends with this process whatever ends that."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),
        "PYTHONWARNINGS": "ignore",
        "ARROW_DEFAULT_MEMORY_POOL": "system",  # others reserve memory before there is a limit, and have it then
        "MALLOC_ARENA_MAX": "1",  # a thread's own would reserve a part of what is allowed
    }
    child = subprocess.Popen(
        [sys.executable, "-P", "-m", __name__, *arguments],
        env=environment,
        stdin=subprocess.PIPE,  # it ends when the other end does
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    with child.stdin, child.stdout:
        try:
            said = child.stdout.read()
            return child.wait(), said.decode(errors="replace").strip().rpartition("\n")[2]
        finally:
            child.kill()
            child.wait()


def _main(metadata: str, stored_as: str, most: str, folder: str) -> int:
    """The child: what it read, or the error that its parent raises."""
    end_with_parent()
    try:
        fields = _read(Path(metadata), stored_as, int(most))
        np.savez(Path(folder, _RESULT), **fields)  # type: ignore[arg-type]
        return 0
    except (CorruptBenchError, MemoryError) as error:
        kind = MemoryError if isinstance(error, MemoryError) else type(error)
        said = {"error": kind.__name__, "message": str(error)}
    except OSError as error:
        said = {"error": "ResourceError", "message": f"{folder}: could not be written: {error.strerror}"}
    print(f"\n{json.dumps(said)}", flush=True)
    return _SAID


def _read(path: Path, stored_as: str, most: int) -> Fields:
    data = path.parent
    try:
        import minari
        import pyarrow.dataset  # what it is made of is no part of what is allowed

        pyarrow.set_cpu_count(1)
        pyarrow.set_io_thread_count(1)
    except ImportError as error:
        raise UsageError(f"{data}: {stored_as} data need pyarrow: pip install 'minari[arrow]'") from error
    stated = metadata_of(path)
    leaves = leaves_of_dataset(stated, path)
    limit_memory(most)
    try:
        with minari_at(default_root()):
            # an environment is made only where a space is missing, and ``leaves`` were made from both
            found = {f"episode_{e.id}": vars(e) for e in minari.MinariDataset(data).iterate_episodes()}
        longest = max((len(episode["rewards"]) for episode in found.values()), default=0)
        if longest >= _PIECE and sum(len(e["rewards"]) for e in found.values()) != stated.get("total_steps"):
            raise DataError(
                f"{data}: Minari reads episodes of more than {_PIECE} steps wrongly from {stored_as}: use HDF5"
            )
        return _flat(found, leaves, stated, data)
    except (CorruptBenchError, MemoryError):
        raise
    except Exception as error:
        raise DataError(f"{data}: not readable by Minari: {sentence(error)}") from error


def _flat(found: Mapping[str, Any], leaves: Leaves, stated: Mapping[str, Any], data: Path) -> Fields:
    def array(name: str, leaf: Leaf) -> np.ndarray:
        return np.asarray(reduce(getitem, leaf.path, found[name]))

    return fields_of({name: partial(array, name) for name in found}, leaves, stated, data, None)


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
