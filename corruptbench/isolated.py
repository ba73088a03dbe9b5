"""The child process that calls a plug-in's corruption: ``python -m corruptbench.isolated FOLDER NUMBER``.

``FOLDER`` holds what it is handed (:class:`Request`, and two files beside it) and takes what it hands back, below its
number: an answer as JSON, written last, and the result as safetensors. Nothing is pickled.
"""

import contextlib
import importlib
import operator
import os
import signal
import sys
import threading
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from corruptbench.contract import apply
from corruptbench.errors import CorruptBenchError, PluginError, ResourceError, sentence
from corruptbench.registry import ALGORITHMS, CORRUPTIONS, PLUGIN_MODULE, Registry, load_plugin, source_sha256
from corruptbench.store import canonical, read_json, write_file
from corruptbench.types import Corrupted, Environment, Streams, Surrogate, TransitionDataset

REQUEST, DATASET, SURROGATE = "request.json", "dataset.safetensors", "surrogate.safetensors"
ANSWER, RESULT = "answer.json", "result.safetensors"


@dataclass(frozen=True)
class Address:
    """Where a fresh process finds a class, and the source that it must find there."""

    name: str  # in the registry
    module: str
    qualname: str
    plugin: str | None  # the --plugin file that defines it
    sha256: str | None  # of its source, None for a built-in

    def load(self, registry: Registry) -> Any:
        """The class, registered under its name; raises PluginError where its source is another one by now."""
        if self.plugin is None:
            module = importlib.import_module(self.module)
        else:
            load_plugin(Path(self.plugin))
            module = sys.modules[f"{PLUGIN_MODULE}{Path(self.plugin).stem}"]
        cls = operator.attrgetter(self.qualname)(module)
        if source_sha256(cls) != self.sha256:
            raise PluginError(f"{registry.kind} {self.name!r}: its source changed while the run was under way")
        return registry.entering(self.name)(cls)


@dataclass(frozen=True)
class Request:
    """What a child is asked for; the arrays and the surrogate's weights lie in files of their own."""

    corruption: Address
    settings: dict[str, Any]  # of the corruption, where they differ from the defaults
    seed: int
    dataset: dict[str, Any]  # id, environment, provenance
    agent: Address | None = None  # of the surrogate
    surrogate_sha256: str | None = None

    @classmethod
    def read(cls, folder: Path) -> "Request":
        value = read_json(folder / REQUEST)
        addresses = {key: value[key] and Address(**value[key]) for key in ("corruption", "agent")}
        return cls(**{**value, **addresses})

    def write(self, folder: Path) -> None:
        write_file(folder / REQUEST, canonical(asdict(self)).encode())


def main(folder: Path, number: int) -> None:
    """Answers, whatever happens, unless the process itself is brought down; then there is no answer."""
    request = Request.read(folder)
    where = f"corruption {request.corruption.name!r}"
    try:
        result = compute(request, folder, number)
        write_result(result, folder / str(number))
        answer: dict[str, Any] = {"audit": dict(result.audit)}
    except BaseException as error:  # a plug-in may raise KeyboardInterrupt and MemoryError, too
        ours = isinstance(error, CorruptBenchError)
        answer = {
            "error": type(error).__name__ if ours else PluginError.__name__,
            "message": str(error) if ours else f"{where} raised {sentence(error)}",
            "traceback": "".join(traceback.format_exception(error)),
        }
    write_file(folder / str(number) / ANSWER, canonical(answer).encode())


def compute(request: Request, folder: Path, number: int) -> Corrupted:
    """The corruption on the dataset as they are handed over, checked."""
    cls = request.corruption.load(CORRUPTIONS)
    settings = {name: tuple(value) if isinstance(value, list) else value for name, value in request.settings.items()}
    surrogate: Surrogate | None = None
    if request.agent:
        from corruptbench.surrogates import TrainedCritics
        from corruptbench.weights import load_weights

        assert request.surrogate_sha256 is not None
        request.agent.load(ALGORITHMS)
        surrogate = TrainedCritics(load_weights(folder / SURROGATE), request.surrogate_sha256)
    environment = Environment(**request.dataset["environment"])
    dataset = TransitionDataset(**{**request.dataset, "environment": environment, **load_file(folder / DATASET)})
    if "torch" in sys.modules:  # who draws from its global state gets the same numbers in each fresh process otherwise
        sys.modules["torch"].manual_seed(number)
    return apply(cls(**settings), request.corruption.name, dataset, Streams(request.seed), surrogate)


def write_result(result: Corrupted, folder: Path) -> None:
    """Raises ResourceError where it cannot be written."""
    try:
        folder.mkdir(exist_ok=True)
        save_file(result.arrays(), folder / RESULT)
    except (OSError, SafetensorError) as error:
        raise ResourceError(f"{folder / RESULT}: could not be written: {error}") from error


def end_with_parent() -> None:
    """Ends this process, and what it started, as soon as nobody holds the other end of its standard input."""
    pipe = os.dup(0)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # a plug-in that reads finds the end of the input

    def watch() -> None:
        while os.read(pipe, 1):
            pass
        if os.name == "posix" and os.getpgrp() == os.getpid():
            os.killpg(0, signal.SIGKILL)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    end_with_parent()
    main(Path(sys.argv[1]), int(sys.argv[2]))
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(0)  # a thread that a plug-in left running holds up nothing
