"""Plug-ins contained: a corruption that is not built in runs in two processes of its own, which must agree.

One that hangs, exits or crashes takes nothing with it, and one that depends on time, on the order of hashes or on
global random state is found out. It is containment of accidents and no sandbox: a plug-in is code that you trust.
"""

import contextlib
import dataclasses
import importlib.machinery
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from corruptbench import command
from corruptbench.algos.agent import options_of
from corruptbench.contract import check, differing_rows
from corruptbench.corruptions.corruption import Corruption
from corruptbench.errors import CorruptBenchError, PluginError, ResourceError
from corruptbench.isolated import ANSWER, DATASET, RESULT, SURROGATE, Address, Request
from corruptbench.registry import plugin_file, source_sha256
from corruptbench.spec import AlgorithmSpec, CorruptionSpec
from corruptbench.store import canonical, read_json, sha256_file
from corruptbench.surrogates import TrainedCritics
from corruptbench.types import HASHED, Corrupted, Surrogate, TransitionDataset
from corruptbench.weights import save_weights

log = logging.getLogger(__name__)

HASH_SEEDS = (1, 2)
"""PYTHONHASHSEED of each child, and its number."""


def can_be_isolated(corruption: Corruption, surrogate: Surrogate | None) -> bool:
    """Whether a fresh process finds the corruption and the surrogate's algorithm."""
    if surrogate is None:
        return importable(type(corruption))
    return importable(type(corruption)) and (
        isinstance(surrogate, TrainedCritics) and importable(type(surrogate.model.agent))
    )


def importable(cls: type) -> bool:
    """Whether a fresh process finds a class: in a ``--plugin`` file, or in a module by its name."""
    if "<locals>" in cls.__qualname__ or cls.__module__ == "__main__":
        return False
    if plugin_file(cls) is not None or source_sha256(cls) is None:
        return True
    module = sys.modules.get(cls.__module__)
    spec = getattr(module, "__spec__", None)
    found: object = module
    for part in cls.__qualname__.split("."):
        found = getattr(found, part, None)
    if spec is None or found is not cls:
        return False
    return any(again.origin == spec.origin for again in _found_by_name(cls.__module__))


def _found_by_name(module: str) -> Iterator[importlib.machinery.ModuleSpec]:
    """What each finder would import under a name, were it not imported yet."""
    package = sys.modules.get(module.rpartition(".")[0])
    for finder in sys.meta_path:
        find = getattr(finder, "find_spec", None)
        found = find and find(module, getattr(package, "__path__", None))
        if found:
            yield found


def apply_isolated(
    corruption: Corruption,
    spec: CorruptionSpec,
    clean: TransitionDataset,
    seed: int,
    surrogate: Surrogate | None,
    time_limit: float,
) -> Corrupted:
    """What :func:`corruptbench.contract.apply` returns, computed twice side by side.

    Raises PluginError, naming the corruption, also for two results, a crash, an exit, another source than the spec has,
    and more than ``time_limit`` seconds; ResourceError where processes or files cannot be made.
    """
    where = f"corruption {spec.name!r}"
    try:
        with tempfile.TemporaryDirectory(prefix="corruptbench-") as temporary, contextlib.ExitStack() as stack:
            folder = Path(temporary)
            _hand_over(folder, corruption, spec, clean, seed, surrogate)
            children: list[_Child] = []
            for number in HASH_SEEDS:
                children.append(_Child(folder, number, echo=not children))
                stack.callback(children[-1].end)
            deadline = time.monotonic() + time_limit
            answers = [child.answer(where, deadline, time_limit) for child in children]
            result = _agreed(folder, clean, answers, where)
    except (OSError, SafetensorError) as error:
        raise ResourceError(f"{where}: two processes of its own could not be provided for: {error}") from error
    check(corruption, clean, result, where)
    return result


def _hand_over(
    folder: Path,
    corruption: Corruption,
    spec: CorruptionSpec,
    clean: TransitionDataset,
    seed: int,
    surrogate: Surrogate | None,
) -> None:
    """Fills the folder that the children read."""
    arrays = {field: np.ascontiguousarray(getattr(clean, field)) for field in (*HASHED, "episodes")}
    save_file(arrays, folder / DATASET)
    agent = None
    if isinstance(surrogate, TrainedCritics):
        learner = surrogate.model.agent
        agent = _address(learner.name, type(learner), source_sha256(type(learner)))
        algorithm = AlgorithmSpec(learner.name, options_of(learner))
        save_weights(folder / SURROGATE, surrogate.model, algorithm)
    described = {
        "id": clean.id,
        "environment": dataclasses.asdict(clean.environment),
        "provenance": dict(clean.provenance),
    }
    Request(
        _address(spec.name, type(corruption), spec.source_sha256),
        command.differing(corruption),
        seed,
        described,
        agent,
        surrogate.sha256 if surrogate else None,
    ).write(folder)


def _address(name: str, cls: type, sha256: str | None) -> Address:
    plugin = plugin_file(cls)
    return Address(name, cls.__module__, cls.__qualname__, str(plugin) if plugin else None, sha256)


class _Child:
    """A child process, from its start to its answer; what it prints goes to standard error, of one of them."""

    def __init__(self, folder: Path, number: int, *, echo: bool) -> None:
        self.folder = folder / str(number)
        threads = str(torch.get_num_threads())
        environment = {
            **os.environ,
            **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), threads),
            "PYTHONHASHSEED": str(number),
            "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),
        }
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "corruptbench.isolated", str(folder), str(number)],
            stdin=subprocess.PIPE,  # it ends with this process: who reads the other end sees it close
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,  # so that what it started ends with it
        )
        self.said, self.ended = b"", False
        assert self.process.stdout is not None
        self.reader = threading.Thread(target=self._read, args=(self.process.stdout, echo), daemon=True)
        self.reader.start()

    def _read(self, output: IO[bytes], echo: bool) -> None:
        with output:
            for line in iter(lambda: output.readline(10_000), b""):
                self.said = (self.said + line)[-10_000:]
                if echo:
                    sys.stderr.write(line.decode(errors="replace"))

    def answer(self, where: str, deadline: float, time_limit: float) -> dict[str, Any]:
        """What the child wrote when it was done; raises the error that it names, PluginError where it wrote nothing."""
        try:
            code = self.process.wait(max(deadline - time.monotonic(), 0))
        except subprocess.TimeoutExpired:
            raise PluginError(
                f"{where} was still running after {time_limit:g} seconds, which --plugin-timeout allows"
            ) from None
        self.end()
        if (self.folder / ANSWER).is_file():
            answer: dict[str, Any] = read_json(self.folder / ANSWER)
            if "error" in answer:
                log.debug("%s", answer["traceback"])
                known = {cls.__name__: cls for cls in CorruptBenchError.__subclasses__()}
                raise known.get(answer["error"], PluginError)(answer["message"])
            return answer
        last = self.said.decode(errors="replace").strip().rpartition("\n")[2][:500]
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended its process with exit code {code}"
        raise PluginError(f"{where} {how} before it returned{f'; it last wrote: {last}' if last else ''}")

    def end(self) -> None:
        """Ends the child and what it started, and waits for it; once, for its number may be another's after that."""
        if self.ended:
            return
        self.ended = True
        if os.name == "posix":
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        else:
            self.process.kill()
        self.process.wait()
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.reader.join(timeout=5)  # what left the group for one of its own may hold the other end for ever


def _agreed(folder: Path, clean: TransitionDataset, answers: Sequence[dict[str, Any]], where: str) -> Corrupted:
    """The result that both children have; raises PluginError with the difference."""
    files = [folder / str(number) / RESULT for number in HASH_SEEDS]
    try:
        result = Corrupted.of_arrays(clean, load_file(files[0]), answers[0]["audit"])
        if sha256_file(files[0]) == sha256_file(files[1]) and canonical(answers[0]) == canonical(answers[1]):
            return result
        other = Corrupted.of_arrays(clean, load_file(files[1]), answers[1]["audit"])
    except (OSError, SafetensorError, KeyError) as error:
        raise PluginError(f"{where} left a result that is not readable: {error}") from error
    difference = _difference(result, other)
    if difference:
        raise PluginError(f"{where} gave two results in two processes: {difference}")
    return result


def _difference(one: Corrupted, other: Corrupted) -> str | None:
    """The first difference between two results in words, None where there is none."""
    for field in HASHED:
        count = int(differing_rows(getattr(one.dataset, field), getattr(other.dataset, field)).sum())
        if count:
            return f"{count} rows of {field} differ"
    if one.masks.keys() != other.masks.keys():
        return f"masks name {', '.join(one.masks) or 'no field'} in one and {', '.join(other.masks) or 'no field'}"
    for field, mask in one.masks.items():
        count = int((mask != other.masks[field]).sum())
        if count:
            return f"{count} rows of the mask of {field} differ"
    return None if canonical(one.audit) == canonical(other.audit) else "the audits differ"
