"""The command that repeats a run, and the settings in which it differs from the defaults."""

import dataclasses
import inspect
import shlex
from pathlib import Path
from typing import Any

from corruptbench.algos.agent import Agent
from corruptbench.corruptions.corruption import Corruption
from corruptbench.registry import PLUGIN_MODULE
from corruptbench.spec import DEFAULT_STEPS, RunSpec


def words(spec: RunSpec, agent: Agent, corruption: Corruption, preset: str | None) -> str:
    """``corruptbench run ...`` in one spelling; a plug-in's file is named without its folder."""
    named = ["corruptbench", "run", "--algo", spec.algorithm.name]
    for plugin in (agent, corruption):
        if type(plugin).__module__.startswith(PLUGIN_MODULE):
            named += ["--plugin", Path(inspect.getfile(type(plugin))).name]
    optimizer = spec.optimizer
    if optimizer.name != "adam":
        named += ["--sam"] if optimizer.name == "sam" else ["--optimizer", optimizer.name]
        default = agent.sam_on or tuple(objective.name for objective in agent.objectives)
        if optimizer.on != default:
            named += ["--sam-on", ",".join(optimizer.on)]
        if optimizer.rho != 0.05:
            named += ["--rho", f"{optimizer.rho:g}"]
    threat = ",".join(f"{name}={value}" for name, value in sorted(_changed(corruption).items()))
    named += ["--corrupt", f"{spec.corruption.name}:{threat}" if threat else spec.corruption.name]
    named += ["--dataset", spec.dataset]
    if preset:
        named += ["--preset", preset]
    else:
        for name, value in sorted(_changed(agent).items()):
            named += [f"--{spec.algorithm.name}.{name.replace('_', '-')}", value]
    env = spec.environment
    if env.references_supplied or spec.dataset.startswith("file:"):
        named += ["--env", env.id]
    if env.references_supplied:
        named += ["--ref-min", repr(env.reference_min), "--ref-max", repr(env.reference_max)]
    if spec.unit is None:
        named += ["--seed", str(spec.train_seed), "--corruption-seed", str(spec.corruption_seed)]
    elif spec.unit:
        named += ["--unit", str(spec.unit)]
    if spec.steps != DEFAULT_STEPS:
        named += ["--steps", str(spec.steps)]
    return shlex.join(named)


def changed(settings: Any, prefix: str) -> dict[str, str]:
    """``prefix.name`` -> value of every field that differs from its default, but for rate and scale."""
    return {f"{prefix}.{k}": v for k, v in _changed(settings).items() if k not in ("rate", "scale")}


def _changed(settings: Any) -> dict[str, str]:
    found = {f.name: (getattr(settings, f.name), f.default) for f in dataclasses.fields(settings)}
    return {name: _text(value) for name, (value, default) in found.items() if value != default}


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
