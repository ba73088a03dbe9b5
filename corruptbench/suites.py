"""Suites: named, versioned selections of runs. A suite selects records and is no part of them (section 5)."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from corruptbench import settings
from corruptbench.records import RunRecord
from corruptbench.run import RunRequest
from corruptbench.spec import DEFAULT_STEPS


@dataclass(frozen=True)
class Suite:
    """The grid of datasets, threat models, algorithms and units 0 to ``units`` - 1."""

    name: str
    version: int
    datasets: tuple[str, ...]
    corruptions: tuple[str, ...]  # as --corrupt spells them
    algorithms: tuple[str, ...]  # name, or name+sam
    units: int
    steps: int = DEFAULT_STEPS

    def requests(self) -> Iterator[RunRequest]:
        """Every run of the suite, unit by unit, so that an unfinished one has whole units."""
        for unit in range(self.units):
            for dataset in self.datasets:
                for corrupt in self.corruptions:
                    for shown in self.algorithms:
                        algo, plus, optimizer = shown.partition("+")
                        yield RunRequest(
                            algo,
                            corrupt,
                            dataset=dataset,
                            optimizer=optimizer if plus else "adam",
                            unit=unit,
                            steps=self.steps,
                        )

    def selects(self, record: RunRecord) -> bool:
        """Whether a record lies in one of the suite's cells and units, of whatever algorithm and settings."""
        spec = record.spec
        return (
            spec.dataset in self.datasets
            and spec.unit in range(self.units)
            and spec.steps == self.steps
            and not spec.environment.references_supplied
            and any(_is(spec.corruption.name, spec.corruption.rate, spec.corruption.scale, t) for t in self.corruptions)
        )


def suite(name: str) -> Suite:
    """The suite of ``configs/suites/<name>.yaml``; raises UsageError for an unknown name or key."""
    return settings.build(Suite, {"name": name, **settings.named("suites", name)}, f"suite {name}")


def suite_names() -> Iterable[str]:
    return settings.names("suites")


def _is(name: str, rate: float, scale: float, threat: str) -> bool:
    """Whether a threat model in a spec is the one spelled ``threat``, whose unnamed settings are the defaults."""
    wanted, pairs = settings.parse_threat(threat)
    default = (0.0, 1.0) if wanted == "none" else (0.3, 1.0)
    return (name, rate, scale) == (
        wanted,
        float(pairs.get("rate", default[0])),
        float(pairs.get("scale", default[1])),
    )
