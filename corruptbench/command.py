"""The command that repeats a run, and the settings in which it differs from the defaults."""

import dataclasses
import shlex
from typing import Any

from corruptbench.algos.agent import Agent
from corruptbench.corruptions.corruption import Corruption
from corruptbench.data import home
from corruptbench.environments import spelling
from corruptbench.optimizers import optimizer_of
from corruptbench.optimizers.optimizer import Optimizer
from corruptbench.optimizers.perturbed import Perturbed
from corruptbench.registry import plugin_file
from corruptbench.spec import DEFAULT_STEPS, RunSpec


def words(spec: RunSpec, agent: Agent, corruption: Corruption, preset: tuple[str, Agent] | None) -> str:
    """``corruptbench run ...`` in one spelling; a plug-in's file is named without its folder.

    ``preset`` is the name of the preset and the agent as it alone would make it.
    """
    named = ["corruptbench", "run", "--algo", spec.algorithm.name]
    for plugin in dict.fromkeys(plugin_file(type(part)) for part in (agent, corruption)):
        if plugin is not None:
            named += ["--plugin", plugin.name]
    optimizer = optimizer_of(agent, spec.optimizer)
    if optimizer.name != "adam":
        named += ["--sam"] if optimizer.name == "sam" else ["--optimizer", optimizer.name]
        if optimizer.on != optimizer.usual(agent):
            named += ["--sam-on", ",".join(optimizer.on)]
        if isinstance(optimizer, Perturbed) and "rho" in differing(optimizer):
            named += ["--rho", str(optimizer.rho)]
        for name, value in sorted(changed_of_optimizer(optimizer).items()):
            named += _option(f"--{name.replace('_', '-')}", value)
    named += ["--corrupt", threat(spec.corruption.name, corruption)]
    named += ["--dataset", spec.dataset]
    if preset:
        named += ["--preset", preset[0]]
    for name, value in sorted(_changed(agent, preset[1] if preset else None).items()):
        named += _option(f"--{spec.algorithm.name}.{name.replace('_', '-')}", value)
    env, own = spec.environment, home(spec.dataset)
    if own is None or (env.id, env.model, env.contact_margin) != (own.id, own.model, own.contact_margin):
        named += ["--env", spelling(env)]
    if env.references_supplied:
        named += _option("--ref-min", str(env.reference_min)) + _option("--ref-max", str(env.reference_max))
    if spec.unit is None:
        named += ["--seed", str(spec.train_seed), "--corruption-seed", str(spec.corruption_seed)]
    elif spec.unit:
        named += ["--unit", str(spec.unit)]
    if spec.steps != DEFAULT_STEPS:
        named += ["--steps", str(spec.steps)]
    return shlex.join(named)


def threat(name: str, corruption: Corruption) -> str:
    """A threat model as ``--corrupt`` spells it."""
    settings = ",".join(f"{key}={value}" for key, value in sorted(_changed(corruption).items()))
    return f"{name}:{settings}" if settings else name


def changed_in_run(agent: Agent, algo: str, optimizer: Optimizer, corruption: Corruption) -> dict[str, str]:
    """The settings of a run that have no column of their own in tables and differ from their defaults."""
    return changed(agent, algo) | changed_of_optimizer(optimizer) | changed(corruption, "corruption")


def changed_of_optimizer(optimizer: Optimizer) -> dict[str, str]:
    """As :func:`changed`, but for objectives and radius, which have columns of their own."""
    return {f"{optimizer.name}.{k}": v for k, v in _changed(optimizer).items() if k not in ("on", "rho")}


def changed(settings: Any, prefix: str) -> dict[str, str]:
    """``prefix.name`` -> value of every field that differs from its default, but for rate and scale."""
    return {f"{prefix}.{k}": v for k, v in _changed(settings).items() if k not in ("rate", "scale")}


def differing(settings: Any, base: Any = None) -> dict[str, Any]:
    """Field -> value where it differs from ``base``, or from the default where there is none."""
    fields = dataclasses.fields(settings)
    usual = {f.name: f.default if base is None else getattr(base, f.name) for f in fields}
    return {name: getattr(settings, name) for name in usual if getattr(settings, name) != usual[name]}


def _changed(settings: Any, base: Any = None) -> dict[str, str]:
    """As :func:`differing`, with values as people write them."""
    return {name: text(value) for name, value in differing(settings, base).items()}


def _option(flag: str, value: str) -> list[str]:
    """In two words, in one where the value would be taken for a flag."""
    return [f"{flag}={value}"] if value.startswith("-") else [flag, value]


def text(value: Any) -> str:
    """A setting's value as people write it."""
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
