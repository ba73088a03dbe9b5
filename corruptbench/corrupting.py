"""From the words of a threat model to corrupted data: what ``run``, ``corrupt`` and ``data info`` have in common."""

import dataclasses
import hashlib
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from corruptbench import command, settings
from corruptbench.contract import apply, check_sound
from corruptbench.corruptions.auto import ENSEMBLES, members
from corruptbench.corruptions.corruption import Corruption
from corruptbench.data import cache, load
from corruptbench.errors import CorruptBenchError, IntegrityError, PluginError, ResourceError, UsageError
from corruptbench.isolation import apply_isolated, can_be_isolated
from corruptbench.links import without_links
from corruptbench.records import RunRecord
from corruptbench.registry import CORRUPTIONS, PLUGIN_TIMEOUT, source_sha256
from corruptbench.rng import PROTOCOL, unit_seeds
from corruptbench.spec import CorruptionSpec, RunSpec
from corruptbench.store import check_manifest, key_of, pretty, publish, read_json
from corruptbench.surrogates import is_at_hand, surrogate_for, surrogate_of_run
from corruptbench.trained import environment_of_data
from corruptbench.types import Corrupted, Streams, Surrogate, TransitionDataset
from corruptbench.versions import platform, processor, versions

log = logging.getLogger(__name__)

WHITE_BOX = "white-box"

COMPUTED_BY = ("corruptbench", "torch", "numpy")
"""Packages that the bits of an attack depend on."""

AUDIT_AGREES = 1e-3
"""How far two processors may differ on one attack, of a number or of a share: far more than rounding moves either."""


def named_corruption(text: str) -> tuple[str, Corruption]:
    """Name and threat model of ``obs-adv:rate=0.1``; raises UsageError for a wrong name or setting."""
    name, values = settings.parse_threat(text)
    if name in ENSEMBLES:
        raise UsageError(f"{name} is an ensemble of threat models, and one is needed here: {', '.join(members(text))}")
    return name, settings.build(CORRUPTIONS.get(name), values, f"--corrupt {name}")


def corruption_seed(unit: int | None = None, seed: int | None = None) -> int:
    """A unit's corruption seed, unit 0 by default, or one of the user's own; raises UsageError."""
    for name, value in (("--unit", unit), ("--corruption-seed", seed)):
        if value is not None and value < 0:
            raise UsageError(f"{name} is {value}, allowed is 0 and above")
    if unit is not None and seed is not None:
        raise UsageError("--unit stands for a corruption seed: say --unit or --corruption-seed")
    return unit_seeds(unit or 0)[1] if seed is None else seed


def corruption_spec(
    name: str, corruption: Corruption, dataset: TransitionDataset, surrogate: Surrogate | None
) -> CorruptionSpec:
    """What a threat model's result depends on, beside the seed and what the dataset's content hash tells."""
    others = {k: v for k, v in command.differing(corruption).items() if k not in ("rate", "scale")}
    if corruption.reads_episodes:
        others["episodes"] = hashlib.sha256(np.diff(dataset.episodes).astype(bool).tobytes()).hexdigest()[:16]
    return CorruptionSpec(
        name,
        corruption.rate,
        corruption.scale,
        others,
        surrogate.sha256 if surrogate else None,
        source_sha256(type(corruption)),
    )


def corruption_of(spec: CorruptionSpec) -> Corruption | None:
    """The threat model of a spec, which also names what it was computed with; None for one that is not at hand."""
    try:
        cls = CORRUPTIONS.known(spec.name)
        options = {k: v for k, v in spec.options.items() if k in cls.__dataclass_fields__}
        found: Corruption = settings.build(cls, {**options, "rate": spec.rate, "scale": spec.scale}, spec.name)
    except CorruptBenchError:
        return None
    return found if source_sha256(cls) == spec.source_sha256 else None


def with_surrogate(
    corruption: Corruption, dataset: TransitionDataset, results: Path
) -> tuple[Corruption, Surrogate | None]:
    """The surrogate of an attack: the dataset's own, or a run of the user's, called by its id then."""
    if not corruption.needs_surrogate:
        return corruption, None
    named = getattr(corruption, "surrogate", "")
    if not named:
        return corruption, surrogate_for(dataset)
    if named == WHITE_BOX:
        raise UsageError("surrogate=white-box attacks the learner of a run: it is for `corruptbench run` alone")
    surrogate, run_id = surrogate_of_run(named, dataset, results)
    return dataclasses.replace(corruption, surrogate=run_id), surrogate  # type: ignore[call-arg]


@dataclass(frozen=True)
class Resolved:
    """A threat model with everything that was loaded to find out what it stands for."""

    corruption: Corruption
    spec: CorruptionSpec
    surrogate: Surrogate | None

    @property
    def spelling(self) -> str:
        """As ``--corrupt`` has it, a run by its id."""
        return command.threat(self.spec.name, self.corruption)


def resolve(dataset: TransitionDataset, text: str, results: Path = Path("results")) -> Resolved:
    """A threat model as ``--corrupt`` spells it, with its surrogate; raises UsageError."""
    name, corruption = named_corruption(text)
    corruption, surrogate = with_surrogate(corruption, dataset, results)
    return Resolved(corruption, corruption_spec(name, corruption, dataset, surrogate), surrogate)


def corrupt(
    dataset: TransitionDataset,
    text: str,
    seed: int,
    results: Path = Path("results"),
    *,
    plugin_timeout: float = PLUGIN_TIMEOUT,
) -> Corrupted:
    """A dataset under a threat model, as ``--corrupt`` spells it, with a corruption seed, as a run makes it."""
    found = resolve(dataset, text, results)
    return computed_or_cached(
        found.corruption, found.spec, dataset, seed, found.surrogate, plugin_timeout=plugin_timeout
    )


def data_of(
    record: RunRecord, results: Path = Path("results"), clean: TransitionDataset | None = None, *, exactly: bool = False
) -> tuple[TransitionDataset, Corrupted]:
    """The clean data of a run and what it was trained on, made again from its spec.

    ``clean`` is needed where the spec cannot name them: it knows a file without its folder. Raises UsageError for a
    threat model that is not at hand or attacked the learner itself, IntegrityError where the clean data, the surrogate
    or what was made of them are others than the run's. An attack has other last bits on another kind of CPU: of that
    a warning tells, or with ``exactly`` an IntegrityError.
    """
    spec, corruption = record.spec, require_remakeable(record, named=clean is not None)
    clean = load(spec.dataset, environment_of_data(spec)) if clean is None else clean
    check_clean(clean, spec)
    _require_surrogate(record, corruption, clean)
    corruption, surrogate = with_surrogate(corruption, clean, results)
    here, then = surrogate.sha256 if surrogate else None, spec.corruption.surrogate_sha256
    if here != then:
        raise IntegrityError(
            f"the SHA-256 of the surrogate on {clean.id} is {_short(here)} here, and run {spec.run_id} was attacked "
            f"with {_short(then)}"
        )
    found = computed_or_cached(corruption, spec.corruption, clean, spec.corruption_seed, surrogate)
    check_remade(found, record, exactly=exactly)
    return clean, found


def require_remakeable(record: RunRecord, *, named: bool) -> Corruption:
    """The threat model of a run whose data can be made again, ``named`` the clean ones or not; raises UsageError."""
    spec, corruption = record.spec, corruption_of(record.spec.corruption)
    if corruption is None:
        raise UsageError(
            f"the threat model {spec.corruption.name} of run {spec.run_id} is not at hand: --plugin names its file"
        )
    if getattr(corruption, "surrogate", "") == WHITE_BOX:
        raise UsageError(f"run {spec.run_id} attacked its own learner, whose data are not made again")
    if not named and spec.dataset.startswith("file:"):
        raise UsageError(
            f"run {spec.run_id} was trained on {spec.dataset}, and its record does not know the folder: give "
            "--dataset file:PATH"
        )
    environment_of_data(spec)
    return corruption


def _require_surrogate(record: RunRecord, corruption: Corruption, clean: TransitionDataset) -> None:
    """Raises IntegrityError for a surrogate that would be trained here to no end: it would not be the run's."""
    is_own = corruption.needs_surrogate and not getattr(corruption, "surrogate", "")
    if is_own and made_with(record) != _made_here() and not is_at_hand(clean):
        raise IntegrityError(
            f"the surrogate of {clean.id} is not at hand, and one that is trained here ({_words(_made_here())}) is not "
            f"the one that run {record.run_id} was attacked with ({_words(made_with(record))})"
        )


def made_with(record: RunRecord) -> tuple[str, ...]:
    """What moves the bits of an attack: the kind of CPU, and the versions of what computes it."""
    return (record.execution["cpu"], *(record.versions.get(name, "unknown") for name in COMPUTED_BY))


def _made_here() -> tuple[str, ...]:
    return (processor(), *(versions()[name] for name in COMPUTED_BY))


def _words(made: tuple[str, ...]) -> str:
    cpu, *numbers = made
    return ", ".join([cpu, *(f"{name} {number}" for name, number in zip(COMPUTED_BY, numbers, strict=True))])


def check_clean(clean: TransitionDataset, spec: RunSpec) -> None:
    """Raises IntegrityError unless these are the clean data of a run."""
    if clean.sha256 != spec.dataset_sha256:
        raise IntegrityError(
            f"the SHA-256 of {clean.id} is {clean.sha256[:16]}..., and run {spec.run_id} was trained on "
            f"{spec.dataset_sha256[:16]}..."
        )


def check_remade(found: Corrupted, record: RunRecord, *, exactly: bool) -> None:
    """Tells of data that are not to the byte what a run was trained on, as :func:`data_of` says."""
    here, then = found.dataset.sha256, record.corruption["sha256"]
    if here == then:
        return
    words = (
        f"the SHA-256 of the {record.spec.corruption.name} data of run {record.run_id} is {_short(here)} here "
        f"({_words(_made_here())}), and was {_short(then)} where it was trained ({_words(made_with(record))})"
    )
    elsewhere = made_with(record) != _made_here()
    is_attack = record.spec.corruption.surrogate_sha256 is not None
    if not (is_attack and elsewhere and _alike(found.audit, record.corruption["audit"])):
        raise IntegrityError(words)
    if exactly:
        raise IntegrityError(f"{words}: a report is kept of the record's own data alone")
    log.warning("%s: an attack is rounded in another way there, and its audit is the same to %g", words, AUDIT_AGREES)


def _alike(found: Any, other: Any) -> bool:
    """Whether two audits agree, their numbers to ``AUDIT_AGREES``."""
    if isinstance(found, Mapping) and isinstance(other, Mapping):
        return found.keys() == other.keys() and all(_alike(found[name], other[name]) for name in found)
    if isinstance(found, list | tuple) and isinstance(other, list | tuple):
        return len(found) == len(other) and all(map(_alike, found, other))
    if isinstance(found, float) and isinstance(other, int | float):
        return math.isclose(found, other, rel_tol=AUDIT_AGREES, abs_tol=AUDIT_AGREES)
    return bool(found == other)


def _short(sha256: str | None) -> str:
    return f"{sha256[:16]}..." if sha256 else "none"


def computed_or_cached(
    corruption: Corruption,
    spec: CorruptionSpec,
    dataset: TransitionDataset,
    seed: int,
    surrogate: Surrogate | None,
    *,
    plugin_timeout: float = PLUGIN_TIMEOUT,
) -> Corrupted:
    """The corrupted dataset, computed or, for an attack, found in the cache under everything it depends on.

    A plug-in's is always computed, since what its module imports is in no key: in processes of its own, or here where
    a fresh process could not find it.
    """
    if spec.source_sha256 is not None and can_be_isolated(corruption, surrogate):
        return apply_isolated(corruption, spec, dataset, seed, surrogate, plugin_timeout)
    if surrogate is None or spec.source_sha256 is not None:
        return apply(corruption, spec.name, dataset, Streams(seed), surrogate)
    key = {
        "protocol": PROTOCOL,
        "dataset_sha256": dataset.sha256,
        "corruption": dataclasses.asdict(spec),
        "corruption_seed": seed,
        **platform("corruptions", "surrogates", "frozen", "numerics", "algos", "train", "rng"),
    }
    folder = without_links(cache(), cache() / "corrupted" / key_of(key))
    damaged = False
    if folder.is_dir():
        try:
            return read_cached(folder, dataset)
        except IntegrityError as error:
            log.warning("%s; computing it again", error)
            damaged = True
    result = apply(corruption, spec.name, dataset, Streams(seed), surrogate)
    try:
        publish(folder, lambda temporary: _write(temporary, key, result), replace=damaged)
    except ResourceError as error:
        log.warning("%s; going on without the cache", error)
    return result


def _write(folder: Path, key: dict, result: Corrupted) -> None:
    (folder / "corrupted.safetensors").write_bytes(save(result.arrays()))
    card = {"key": key, "sha256": result.dataset.sha256, "audit": dict(result.audit)}
    (folder / "corrupted.json").write_text(pretty(card))


def read_cached(folder: Path, clean: TransitionDataset) -> Corrupted:
    """The inverse of :func:`_write`; raises IntegrityError, naming the file, for what is damaged."""
    path = folder / "corrupted.safetensors"
    try:
        check_manifest(folder)
        card = read_json(folder / "corrupted.json")
        result = Corrupted.of_arrays(clean, load_file(path), card["audit"])
        if result.dataset.sha256 != card["sha256"]:
            raise IntegrityError(f"{path}: its content is not what {folder / 'corrupted.json'} says")
        check_sound(clean, result, str(path))
        return result
    except (OSError, SafetensorError, KeyError, TypeError, PluginError) as error:
        raise IntegrityError(f"{path}: not readable as corrupted data: {error}") from error
