"""What a file holds, beyond its hash: whether it can be read, and belongs to the folder that it lies in."""

import csv
import functools
import io
import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.numpy import load_file

from corruptbench.corrupting import read_cached
from corruptbench.data import load, shipped
from corruptbench.errors import CorruptBenchError, IntegrityError, sentence
from corruptbench.records import RECORD, RunRecord
from corruptbench.store import Finding, findings, key_of, pretty, read_json, sha256_file
from corruptbench.types import TransitionDataset
from corruptbench.weights import read_weights

CURVE = "curve.csv"
CORRUPTED, CORRUPTED_CARD = "corrupted.safetensors", "corrupted.json"
DATA, DATA_CARD = "data.hdf5", "card.json"
SURROGATE, SURROGATE_CARD = "surrogate.safetensors", "surrogate.json"


def wrong_content(path: Path) -> Finding | None:
    """What is wrong with one file, None for nothing; whatever it holds, no other error comes of it."""
    try:
        for read in _readers(path.name):
            read(path)
    except CorruptBenchError as error:
        return Finding(path, str(error).removeprefix(f"{path}: "))
    except Exception as error:
        return Finding(path, f"not readable: {sentence(error)}")
    return None


def _readers(name: str) -> tuple[Callable[[Path], object], ...]:
    """What reads a file of this name; each raises for what it does not take."""
    return _READERS.get(name, (read_pretty,) if name.endswith(".json") else ())


def read_pretty(path: Path) -> Any:
    """A JSON file of this project; raises IntegrityError for one that was written in any other way."""
    value = read_json(path)
    if pretty(value).encode() != path.read_bytes():
        raise IntegrityError(f"{path}: not laid out as it was written, so it was changed or cut off")
    return value


def read_curve(path: Path) -> list[dict[str, float | None]]:
    """The points of a learning curve; raises IntegrityError, with the line, for what is none."""
    try:
        text = path.read_bytes().decode("ascii")
        lines = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except (OSError, ValueError, csv.Error) as error:
        raise IntegrityError(f"{path}: not readable as a learning curve: {error}") from error
    points = []
    for number, values in enumerate(lines[1:], 2):
        try:
            point = dict(zip(lines[0], (float(value) if value else None for value in values), strict=True))
            sound = all(value is None or math.isfinite(value) for value in point.values())
        except ValueError:
            sound = False
        if not sound:
            raise IntegrityError(f"{path}, line {number}: not a number for each column of the header")
        points.append(point)
    steps = [point.get("step") or 0 for point in points]
    if not text.endswith("\n") or not steps or any(a >= b for a, b in itertools.pairwise([0, *steps])):
        raise IntegrityError(f"{path}: not a learning curve with steps that go up, so it was changed or cut off")
    return points


def _own_folder(path: Path) -> None:
    record = RunRecord.read(path)
    if record.run_id != path.parent.name:
        raise IntegrityError(f"{path}: it is the record of run {record.run_id}, and its folder is {path.parent.name}")


def _own_key(path: Path) -> None:
    place = key_of(read_json(path)["key"])
    if place != path.parent.name:
        raise IntegrityError(f"{path}: it belongs to {place}, and its folder is {path.parent.name}")


def _own_hash(path: Path) -> None:
    """Raises IntegrityError for data that are not those of their card.

    What a corruption left as it was is not kept, so this can be seen where the dataset is one of the package's.
    """
    try:
        load_file(path)
    except (OSError, SafetensorError) as error:
        raise IntegrityError(f"{path}: not readable as corrupted data: {error}") from error
    if not any(findings(path.parent)):
        known = {card["content_sha256"]: name for name, card in shipped().items()}
        name = known.get(read_json(path.with_name(CORRUPTED_CARD))["key"]["dataset_sha256"])
        if name:
            read_cached(path.parent, _clean(name))


@functools.lru_cache(maxsize=1)
def _clean(name: str) -> TransitionDataset:
    return load(name)


def _own_sum(path: Path) -> None:
    """Raises IntegrityError where the card beside a file says that it was another one."""
    card = path.with_name(DATA_CARD if path.name == DATA else SURROGATE_CARD)
    if not card.is_file():
        raise IntegrityError(f"{path}: no {card.name} beside it says what it was")
    if not wrong_content(card) and sha256_file(path) != read_json(card)["sha256"]:
        raise IntegrityError(f"{path}: its content is not what {card} says")


_READERS: dict[str, tuple[Callable[[Path], object], ...]] = {
    RECORD: (_own_folder, read_pretty),
    CURVE: (read_curve,),
    "policy.safetensors": (read_weights,),
    "agent.safetensors": (read_weights,),
    CORRUPTED_CARD: (_own_key, read_pretty),
    CORRUPTED: (_own_hash,),
    SURROGATE: (read_weights, _own_sum),
    DATA: (_own_sum,),
}
