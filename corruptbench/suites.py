"""Suites: named, versioned selections of runs. A suite selects records and is no part of them (section 5)."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from corruptbench import command, settings
from corruptbench.algos.agent import Agent
from corruptbench.corruptions.auto import members
from corruptbench.data import home, id_of
from corruptbench.errors import UsageError
from corruptbench.learners import learner_fields
from corruptbench.names import check_name
from corruptbench.optimizers import optimizer_for, spec_of
from corruptbench.records import RunRecord
from corruptbench.registry import ALGORITHMS, CORRUPTIONS
from corruptbench.request import RunRequest
from corruptbench.rng import unit_seeds
from corruptbench.spec import DEFAULT_STEPS
from corruptbench.yaml_files import read_yaml

PRESET = "corruption.preset="


@dataclass(frozen=True)
class Suite:
    """The grid of datasets, threat models, algorithms and units 0 to ``units`` - 1."""

    name: str
    version: int
    datasets: tuple[str, ...]  # as --dataset spells them
    corruptions: tuple[str, ...]  # as --corrupt spells them, ensembles among them
    algorithms: tuple[str, ...]  # as learners.py spells them
    units: int
    steps: int = DEFAULT_STEPS

    @property
    def threats(self) -> tuple[str, ...]:
        """The threat models, an ensemble's members in its place, each once."""
        return tuple(dict.fromkeys(member for text in self.corruptions for member in members(text)))

    @cached_property
    def dataset_ids(self) -> tuple[str, ...]:
        """The datasets as records and tables call them."""
        return tuple(dict.fromkeys(id_of(name) for name in self.datasets))

    def requests(self) -> Iterator[RunRequest]:
        """Every run of the suite, unit by unit, so that an unfinished one has whole units."""
        for unit in range(self.units):
            for dataset in self.datasets:
                for shown in self.algorithms:  # so that runs side by side don't wait for one attack
                    for corrupt in self.threats:
                        learner = learner_fields(shown)
                        yield RunRequest(**learner, corrupt=corrupt, dataset=dataset, unit=unit, steps=self.steps)

    def selects(self, record: RunRecord) -> bool:
        """Whether a record lies in one of the suite's cells and units, of whatever algorithm and settings.

        A dataset lies in the environment of our table; one that the table does not name lies in any.
        """
        spec = record.spec
        return (
            spec.dataset in self.dataset_ids
            and home(spec.dataset) in (None, spec.environment)
            and spec.unit is not None
            and spec.unit in range(self.units)
            and (spec.train_seed, spec.corruption_seed) == unit_seeds(spec.unit)
            and spec.steps == self.steps
            and (record.score is not None or record.outcome != "ok")  # --no-score
            and _threat_of(record) in self._threat_keys
        )

    @cached_property
    def _threat_keys(self) -> set[tuple[str, float, float, tuple[str, ...]]]:
        return {threat_key(text) for text in self.threats}

    def rows(self) -> Iterator[dict[str, str]]:
        """What the suite's own rows say in the columns that identify them; any other row is a guest."""
        for request in self.requests():
            if request.unit == 0:
                name, rate, scale, options = threat_key(request.corrupt)
                algorithm = ALGORITHMS.get(request.algo)
                agent: Agent = settings.build(algorithm, request.algo_options, f"algorithm {request.algo}")
                optimizer = optimizer_for(
                    agent, request.optimizer, request.sam_on, request.rho, request.optimizer_options
                )
                changed = command.changed(agent, request.algo) | command.changed_of_optimizer(optimizer)
                own = (f"{k}={v}" for k, v in changed.items())
                preset, others = split_preset(sorted((*options, *own)))
                rho = spec_of(optimizer).rho
                yield {
                    "dataset": id_of(request.dataset),
                    "corruption": name,
                    "rate": f"{rate:g}",
                    "scale": f"{scale:g}",
                    "algo": request.algo,
                    "optimizer": optimizer.name,
                    "sam_on": "+".join(optimizer.on),
                    "rho": str(rho) if rho else "",
                    "track": "universal",
                    "preset": preset,
                    "options": others,
                }


def threat_key(text: str) -> tuple[str, float, float, tuple[str, ...]]:
    """Name, rate, scale and the other settings, as tables list them, of a threat model as ``--corrupt`` spells it."""
    name, pairs = settings.parse_threat(text)
    corruption = settings.build(CORRUPTIONS.get(name), pairs, f"threat model {text!r}")
    options = command.changed(corruption, "corruption")
    return name, corruption.rate, corruption.scale, tuple(f"{k}={v}" for k, v in sorted(options.items()))


def split_preset(options: Iterable[str]) -> tuple[str, str]:
    """A threat model's preset and its other settings, as the columns of a table have them."""
    named = {option.removeprefix(PRESET) for option in options if option.startswith(PRESET)}
    return "".join(named), ";".join(option for option in options if not option.startswith(PRESET))


def _threat_of(record: RunRecord) -> tuple[str, float, float, tuple[str, ...]]:
    corruption = record.spec.corruption
    options = {k: v for k, v in record.options.items() if k.startswith("corruption.")}
    return corruption.name, corruption.rate, corruption.scale, tuple(f"{k}={v}" for k, v in sorted(options.items()))


def suite(name: str) -> Suite:
    """The suite of ``configs/suites/<name>.yaml``, or of a YAML file of one's own, which is called by its path.

    Raises UsageError for an unknown name or key, and for what is no suite.
    """
    if name.endswith(".yaml"):
        path = Path(name)
        check_name(path.stem, "suite")
        content = read_yaml(path)
    else:
        path, content = Path(f"{name}.yaml"), settings.named("suites", name)
    found = settings.build(Suite, {**content, "name": path.stem}, f"suite {name}")
    require_unlike(found)
    for threat in found.threats:
        threat_key(threat)
    for learner in found.algorithms:
        learner_fields(learner)
    for field in ("datasets", "corruptions", "algorithms"):
        if not getattr(found, field):
            raise UsageError(f"suite {name}: {field} are none, needed is one and more")
    if found.units < 1 or found.steps < 1:
        raise UsageError(f"suite {name}: units are {found.units} and steps {found.steps}, allowed is 1 and above")
    return found


def require_unlike(found: Suite) -> None:
    """Raises UsageError for datasets that records and tables would call the same."""
    for name in found.dataset_ids:
        same = [each for each in dict.fromkeys(found.datasets) if id_of(each) == name]
        if len(same) > 1:
            raise UsageError(f"suite {found.name}: {' and '.join(same)} would both be {name} in tables: rename one")


def suite_names() -> Iterable[str]:
    return settings.names("suites")
