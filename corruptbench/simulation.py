"""Many episodes of one environment side by side: on MuJoCo's batch where it gives the same bits, else one by one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, cast

import gymnasium
import mujoco
import numpy as np

from corruptbench.environments import make, make_flat
from corruptbench.types import Environment

try:
    from mujoco.batch import Batch
except ImportError:  # MuJoCo before 4.0
    Batch = None


class Simulation(Protocol):
    """Episodes by number, 0 to ``count`` - 1; ``low`` and ``high`` ``(da,)`` are the box of the actions."""

    low: np.ndarray
    high: np.ndarray

    def reset(self, seeds: Sequence[int]) -> np.ndarray:
        """Starts every episode; the first observations, ``(count, do)``."""

    def step(self, running: np.ndarray, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """One step of the episodes ``running`` ``(k,)``: observations ``(k, do)``, rewards and ends ``(k,)``."""

    def close(self) -> None:
        """Lets go of the environments."""


def simulation(environment: Environment, count: int, threads: int = 1) -> Simulation:
    """``count`` episodes of an environment, on ``threads`` threads where the batch serves it."""
    if Batch is not None:
        made = make(environment)
        task = _task(made)
        if task is not None:
            return MujocoBatch(made, task, count, threads)
        made.close()
    return GymnasiumLoop(environment, count)


class GymnasiumLoop:
    """One Gymnasium environment an episode: the reference, and the way for whatever the batch does not serve."""

    def __init__(self, environment: Environment, count: int) -> None:
        self.envs = [make_flat(environment) for _ in range(count)]
        box = self.envs[0].action_space
        self.low, self.high = box.low, box.high  # type: ignore[attr-defined]

    def reset(self, seeds: Sequence[int]) -> np.ndarray:
        return np.stack([env.reset(seed=seed)[0] for env, seed in zip(self.envs, seeds, strict=True)])

    def step(self, running: np.ndarray, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        observations, rewards, terminated, truncated, _ = zip(
            *(self.envs[i].step(action) for i, action in zip(running, actions, strict=True)), strict=True
        )
        ended = np.array(terminated, bool) | np.array(truncated, bool)
        return np.stack(observations), np.array(rewards, np.float64), ended

    def close(self) -> None:
        for env in self.envs:
            env.close()


@dataclass(frozen=True)
class Task:
    """Reward and end of one of Gymnasium's walkers, with its default settings.

    r = (x' - x) / dt + alive - control_weight |a|^2; an episode ends where the walker is not healthy: height,
    pitch and the other coordinates within their bounds.
    """

    control_weight: float
    velocity_limit: float = np.inf  # of the observed velocities
    healthy_z: tuple[float, float] | None = None  # of the torso, m; None where an episode never ends
    healthy_angle: float = np.inf  # rad
    healthy_state: float = np.inf  # of all coordinates and velocities but x and z
    alive_at_the_end: bool = True  # v4 pays the 1 for being alive in the step that ends the episode too


_HOPPER = Task(1e-3, velocity_limit=10.0, healthy_z=(0.7, np.inf), healthy_angle=0.2, healthy_state=100.0)
_WALKER = Task(1e-3, velocity_limit=10.0, healthy_z=(0.8, 2.0), healthy_angle=1.0)
_CHEETAH = Task(0.1)
_TASKS = {
    "gymnasium.envs.mujoco.hopper_v4:HopperEnv": _HOPPER,
    "gymnasium.envs.mujoco.hopper_v5:HopperEnv": replace(_HOPPER, alive_at_the_end=False),
    "gymnasium.envs.mujoco.walker2d_v4:Walker2dEnv": _WALKER,
    "gymnasium.envs.mujoco.walker2d_v5:Walker2dEnv": replace(_WALKER, alive_at_the_end=False),
    "gymnasium.envs.mujoco.half_cheetah_v4:HalfCheetahEnv": _CHEETAH,
    "gymnasium.envs.mujoco.half_cheetah_v5:HalfCheetahEnv": _CHEETAH,
}
"""By Gymnasium's own entry point, so that another environment under a known name is not taken for it."""


def _task(made: gymnasium.Env) -> Task | None:
    """The task of an environment, None for one with settings or wrappers of its own (the time limit is none)."""
    spec = made.spec
    if spec is None or spec.kwargs or spec.additional_wrappers:
        return None
    return _TASKS.get(str(spec.entry_point))


class MujocoBatch:
    """All episodes in one ``mujoco.batch.Batch``: the same bits as :class:`GymnasiumLoop`, in less time.

    A single Gymnasium environment resets them one after the other, so that the starts are Gymnasium's own.
    """

    def __init__(self, env: gymnasium.Env, task: Task, count: int, threads: int) -> None:
        self.env, self.task = env, task
        box = self.env.action_space
        self.low, self.high = box.low, box.high  # type: ignore[attr-defined]
        self.walker = cast(Any, self.env.unwrapped)
        assert self.env.spec is not None
        self.time_limit = self.env.spec.max_episode_steps or np.inf
        self.lengths = np.zeros(count, int)
        self.batch = Batch(self.walker.model, count, nthread=threads)
        self.position, self.velocity = self.batch.bind("qpos"), self.batch.bind("qvel")  # (count, nq), (count, nv)
        self.control = self.batch.bind("ctrl")

    def reset(self, seeds: Sequence[int]) -> np.ndarray:
        self.batch.reset(stage=mujoco.mjtStage.mjSTAGE_NONE)
        for i, seed in enumerate(seeds):
            self.env.reset(seed=seed)
            self.position[i], self.velocity[i] = self.walker.data.qpos, self.walker.data.qvel
        self.batch.forward()
        self.lengths[:] = 0
        return self._observed(self.position, self.velocity)

    def step(self, running: np.ndarray, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        before = self.position[running, 0]
        self.control[running] = actions
        self.batch.step(ids=running, nstep=self.walker.frame_skip)
        self.lengths[running] += 1
        position, velocity = self.position[running], self.velocity[running]
        healthy = self._healthy(position, velocity)
        rewards = (position[:, 0] - before) / self.walker.dt
        if self.task.healthy_z is not None:
            rewards = rewards + (1.0 if self.task.alive_at_the_end else healthy)
        rewards = rewards - self.task.control_weight * np.square(actions).sum(1)  # in float32, as Gymnasium has it
        return self._observed(position, velocity), rewards, ~healthy | (self.lengths[running] >= self.time_limit)

    def close(self) -> None:
        self.env.close()

    def _observed(self, position: np.ndarray, velocity: np.ndarray) -> np.ndarray:
        limit = self.task.velocity_limit
        return np.concatenate([position[:, 1:], np.clip(velocity, -limit, limit)], 1)

    def _healthy(self, position: np.ndarray, velocity: np.ndarray) -> np.ndarray:
        task = self.task
        if task.healthy_z is None:
            return np.ones(len(position), bool)
        z, angle = position[:, 1], position[:, 2]
        others = np.concatenate([position[:, 2:], velocity], 1)
        return (
            (task.healthy_z[0] < z)
            & (z < task.healthy_z[1])
            & (np.abs(angle) < task.healthy_angle)
            & ((np.abs(others) < task.healthy_state).all(1) | np.isinf(task.healthy_state))
        )
