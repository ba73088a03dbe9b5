"""What a person asks for, and what that stands for once everything in it is resolved."""

from dataclasses import dataclass, field
from typing import Any

from corruptbench import command, settings
from corruptbench.algos.agent import Agent
from corruptbench.corruptions.corruption import Corruption
from corruptbench.errors import UsageError
from corruptbench.optimizers.optimizer import Optimizer
from corruptbench.rng import unit_seeds
from corruptbench.spec import DEFAULT_STEPS, RunSpec
from corruptbench.types import Surrogate, TransitionDataset

QUICK_STEPS = 2_000


@dataclass(frozen=True)
class RunRequest:
    """A run as a person asks for it; None stands for the default."""

    algo: str
    corrupt: str = "none"  # obs-adv, or obs-adv:rate=0.1,scale=0.5
    dataset: str = "hopper-replay"
    algo_options: dict[str, Any] = field(default_factory=dict)
    optimizer: str = "adam"
    sam_on: tuple[str, ...] | None = None
    rho: float | None = None
    optimizer_options: dict[str, Any] = field(default_factory=dict)
    preset: str | None = None
    unit: int | None = 0
    train_seed: int | None = None  # both seeds or none; with them there is no unit
    corruption_seed: int | None = None
    steps: int = DEFAULT_STEPS
    env: str | None = None
    ref_min: float | None = None
    ref_max: float | None = None
    on_nonfinite: str = "refuse"
    download: bool = False
    score: bool = True  # without it a policy is trained and not evaluated: no environment is needed

    def arguments(self) -> list[str]:
        """Of ``corruptbench run``, so that another process makes the same request."""
        words = ["--algo", self.algo, "--corrupt", self.corrupt, "--dataset", self.dataset, "--steps", str(self.steps)]
        given = {
            "optimizer": self.optimizer,
            "sam-on": None if self.sam_on is None else ",".join(self.sam_on),
            "rho": self.rho,
            **_flags(self.optimizer, self.optimizer_options),
            "preset": self.preset,
            "unit": self.unit,
            "seed": None if self.unit is not None else self.train_seed,
            "corruption-seed": None if self.unit is not None else self.corruption_seed,
            "env": self.env,
            "ref-min": self.ref_min,
            "ref-max": self.ref_max,
            "on-nonfinite": self.on_nonfinite,
            **_flags(self.algo, self.algo_options),
        }
        words += [f"--{name}={command.text(value)}" for name, value in given.items() if value is not None]
        words += ["--download"] * self.download + ["--no-score"] * (not self.score)
        return words


@dataclass(frozen=True)
class Plan:
    """What a request stands for, with everything that was loaded to find out."""

    spec: RunSpec
    command: str  # that repeats the run, whatever spelling it was asked for in
    options: dict[str, str]  # settings without a column of their own that differ from their defaults
    dataset: TransitionDataset
    corruption: Corruption
    surrogate: Surrogate | None
    agent: Agent
    optimizer: Optimizer
    score: bool = True


def _flags(prefix: str, options: dict[str, Any]) -> dict[str, Any]:
    """Settings of an algorithm or an optimizer, as ``run`` spells them."""
    return {f"{prefix}.{name.replace('_', '-')}": value for name, value in options.items()}


def seeds(request: RunRequest) -> tuple[int | None, int, int]:
    """Unit, training seed and corruption seed; raises UsageError for one seed without the other."""
    given = (request.train_seed, request.corruption_seed)
    for name, value in zip(("--unit", "--seed", "--corruption-seed"), (request.unit, *given), strict=True):
        if value is not None and value < 0:
            raise UsageError(f"{name} is {value}, allowed is 0 and above")
    if request.train_seed is not None and request.corruption_seed is not None:
        return None, request.train_seed, request.corruption_seed
    if given != (None, None) or request.unit is None:
        raise UsageError("--seed and --corruption-seed belong together: give both, or --unit")
    return request.unit, *unit_seeds(request.unit)


def preset(name: str | None, algo: str, environment_id: str, corruption: Corruption) -> tuple[dict[str, Any], str]:
    """A preset's settings for a cell and the track they belong to; where it has no row, the universal settings."""
    if name is None:
        return {}, "universal"
    content = settings.named("presets", name)
    if content["algorithm"] != algo:
        raise UsageError(f"--preset {name} belongs to {content['algorithm']}, not to {algo}")
    element = "obs" if corruption.element == "mix" else corruption.element
    for key, row in content["rows"].items():
        family, _, threat = key.partition("/")
        if environment_id.lower().startswith(family) and threat == f"{element}-{corruption.mode}":
            return row, content["track"]
    return {}, "universal"
