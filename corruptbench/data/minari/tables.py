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
from corruptbench.errors import CorruptBenchError, DataError, ResourceError, UsageError, sentence
from corruptbench.resources import limit_memory

ROOM = 1 << 30
"""Bytes of memory that Arrow and the reading may take for their own, before any data."""

_RESULT, _ERROR = "fields.npz", "error.json"
_RAISED = {cls.__name__: cls for cls in (DataError, ResourceError, UsageError)}
"""What the child may hand back."""


def read_tables(metadata: Path, files: Sequence[Path], stored_as: str) -> Fields:
    """The fields of a dataset in ``files`` of Arrow or Parquet, read with no more memory than such files can need.

    Raises DataError for what cannot be read, whatever it does to Arrow, UsageError without the extra that it needs.
    """
    data = metadata.parent
    most = ROOM + 2 * USUAL_RATIO * sum(path.stat().st_size for path in files)
    child_environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),
        "ARROW_DEFAULT_MEMORY_POOL": "system",  # others reserve memory before there is a limit, and have it then
        "MALLOC_ARENA_MAX": "1",  # a thread's own would reserve a part of what is allowed
    }
    with tempfile.TemporaryDirectory(prefix="corruptbench-") as folder:
        command = [sys.executable, "-P", "-m", __name__, str(metadata), stored_as, str(most), folder]
        done = subprocess.run(command, env=child_environment, stdin=subprocess.DEVNULL, capture_output=True)
        if (error := Path(folder, _ERROR)).is_file():
            said = json.loads(error.read_text("utf-8"))
            raise _RAISED[said["error"]](said["message"])
        if done.returncode:
            code = done.returncode
            how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            raise DataError(f"{data}: reading its {stored_as} files within {most} bytes of memory ended with {how}")
        with np.load(Path(folder, _RESULT), allow_pickle=False) as found:
            return dict(found)


def _main(metadata: str, stored_as: str, most: str, folder: str) -> None:
    """The child: what it read, or the error that its parent raises."""
    path, out = Path(metadata), Path(folder)
    try:
        fields = _read(path, stored_as, int(most))
        try:
            np.savez(out / _RESULT, **fields)  # type: ignore[arg-type]
        except OSError as error:
            raise ResourceError(f"{out}: could not be written: {error.strerror}") from error
    except CorruptBenchError as error:
        said = {"error": type(error).__name__, "message": str(error)}
        (out / _ERROR).write_text(json.dumps(said), "utf-8")


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
        return _flat(found, leaves, stated, data)
    except MemoryError as error:
        raise DataError(f"{data}: its {stored_as} files unpack to more than {most} bytes of memory") from error
    except CorruptBenchError:
        raise
    except Exception as error:
        raise DataError(f"{data}: not readable by Minari: {sentence(error)}") from error


def _flat(found: Mapping[str, Any], leaves: Leaves, stated: Mapping[str, Any], data: Path) -> Fields:
    def array(name: str, leaf: Leaf) -> np.ndarray:
        return np.asarray(reduce(getitem, leaf.path, found[name]))

    return fields_of({name: partial(array, name) for name in found}, leaves, stated, data, None)


if __name__ == "__main__":
    _main(*sys.argv[1:])
