"""Records all that a learner sees on its way from nothing to a medium policy, or in a number of steps."""

import contextlib
import dataclasses
import logging
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box
from numpy.random import PCG64

from corruptbench.bars import progress
from corruptbench.checkpoints import Checkpoint, Checkpoints
from corruptbench.collect.config import CollectConfig, Evaluation, reached, recent_mean
from corruptbench.collect.explorers import Explorer, Learner, Uniform, evaluate
from corruptbench.collect.steps import FIELDS, Replay
from corruptbench.engine import resolve_engine
from corruptbench.environments import environment, make
from corruptbench.errors import DataError, unknown
from corruptbench.rng import seed_from
from corruptbench.versions import processor, versions

log = logging.getLogger(__name__)

POLICIES = ("random", "sac")


def collect(
    config: CollectConfig, *, engine: str = "auto", checkpoints: Checkpoints | None = None
) -> tuple[Replay, list[Evaluation]]:
    """Trains SAC from nothing, one update a step, and returns all it saw and how good it was on the way.

    With the policy ``random`` nothing is trained. Ends with the episode in which the target is found to be reached; at
    ``max_steps`` the last episode, which may be the only one of an environment whose episodes never end, is cut off
    and marked as a timeout. With ``checkpoints`` it goes on from the newest one. Raises DataError for an environment
    that cannot be collected, UsageError for an unknown policy or engine and for another collection's checkpoint,
    Diverged where the policy's return is not finite.
    """
    if config.policy not in POLICIES:
        raise unknown("policy", config.policy, POLICIES)
    engine = resolve_engine(engine)
    identity = identity_of(config, engine)
    with contextlib.closing(make(environment(config.env))) as env:
        collection = _Collection(config, engine, env)
        replay, evaluations = collection.replay, collection.evaluations
        checkpoint = checkpoints.newest(identity) if checkpoints else None
        if checkpoint:
            collection.restore(checkpoint)
        due = checkpoints.due(replay.size) if checkpoints else config.max_steps
        medium = False
        with progress(total=config.max_steps, initial=replay.size, unit="step", smoothing=0.01) as bar:
            while replay.size < config.max_steps:
                over = collection.step()
                if isinstance(collection.explorer, Learner) and replay.size % config.eval_every == 0:
                    bar.set_postfix_str(collection.evaluate(collection.explorer))
                    medium = reached(config, evaluations)
                bar.update()
                if over and medium:
                    break
                if over:
                    collection.next_episode()
                    if checkpoints and due <= replay.size < config.max_steps:
                        due = checkpoints.due(replay.size)
                        if collection.resumes():
                            checkpoints.save(collection.state(), identity)
    return replay, evaluations


def identity_of(config: CollectConfig, engine: str) -> dict[str, Any]:
    """All that the bytes of a collection depend on; ``engine`` is compiled or eager."""
    return {**dataclasses.asdict(config), "engine": engine, "cpu": processor(), "versions": versions()}


def spaces(env: gymnasium.Env) -> tuple[int, np.ndarray, np.ndarray]:
    """Width of an observation, and the box of the actions, ``(da,)`` each; raises DataError for other spaces."""
    name, observations, actions = env.spec.id if env.spec else "", env.observation_space, env.action_space
    if not isinstance(observations, Box) or len(observations.shape) != 1:
        raise DataError(f"{name} observes {observations}, and only one-dimensional Boxes can be collected")
    if not isinstance(actions, Box) or len(actions.shape) != 1 or actions.dtype.kind != "f":
        raise DataError(f"{name} has {actions} for actions, and only one-dimensional Boxes of floats can be collected")
    if not (actions.low < actions.high).all():
        raise DataError(f"{name} has {actions} for actions, and one of them has a single value only")
    return observations.shape[0], actions.low, actions.high


class _Collection:
    """A collection under way: environment, explorer, and what there is so far."""

    def __init__(self, config: CollectConfig, engine: str, env: gymnasium.Env) -> None:
        observed, low, high = spaces(env)
        self.config, self.env = config, env
        self.center, self.half = (low + high) / 2, (high - low) / 2
        self.explorer: Explorer
        if config.policy == "sac":
            self.explorer = Learner(config, observed, self.center, self.half, engine)
        else:
            self.explorer = Uniform(config, len(low))
        self.replay = Replay(observed, len(low), config.max_steps)
        self.evaluations: list[Evaluation] = []
        self.observation = _first_reset(env, config)
        self.generator: dict[str, Any] | None = None  # the environment's, before its last reset
        if env.spec is None or env.spec.max_episode_steps is None:
            log.info(
                "%s has no time limit: an episode that does not end is cut off at step %d, in an evaluation after "
                "%d steps, and there are checkpoints only where an episode ends",
                *(config.env, config.max_steps, config.eval_steps),
            )

    def step(self) -> bool:
        """One step of the environment and what is learned from it; True where it ended an episode."""
        number = self.replay.size + 1
        action = (self.center + self.half * self.explorer.act(self.observation, number)).astype(np.float32)
        following, reward, terminal, timeout, _ = self.env.step(action)
        cut = number == self.config.max_steps
        self.replay.add(self.observation, action, float(reward), following, terminal, (timeout or cut) and not terminal)
        self.explorer.learn(self.replay, number)
        self.observation = following
        return bool(terminal or timeout)

    def evaluate(self, learner: Learner) -> str:
        """Adds an evaluation; the short form of where the policy stands."""
        config, step = self.config, self.replay.size
        self.evaluations.append(evaluate(learner.agent, config, step, self.center, self.half))
        recent, count = recent_mean(config, self.evaluations), min(config.eval_window, len(self.evaluations))
        log.info(
            "step %d: return %.1f, mean of the last %d %.1f", step, self.evaluations[-1].mean_return, count, recent
        )
        return (
            f"return={recent:.0f}"
            if config.target_return is None
            else f"medium={recent:.0f}/{config.target_return:.0f}"
        )

    def next_episode(self) -> None:
        """Resets the environment, whose generator goes on from where it stands."""
        self.generator = _generator(self.env)
        self.observation, _ = self.env.reset()

    def state(self) -> Checkpoint:
        """What the present episode began with; no step of it may have been taken."""
        arrays = {f"replay.{name}": values for name, values in self.replay.recorded().items()}
        arrays |= {f"learned.{name}": tensor.numpy() for name, tensor in self.explorer.tensors().items()}
        notes = {
            "evaluations": self.evaluations,
            "exploration": self.explorer.exploration.bit_generator.state,
            "environment": self.generator,
        }
        return Checkpoint(self.replay.size, arrays, notes)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Stands where :meth:`state` was asked for."""
        arrays, notes = checkpoint.arrays, checkpoint.notes
        self.replay.restore({name: arrays[f"replay.{name}"] for name in FIELDS})
        for name, tensor in self.explorer.tensors().items():
            tensor.copy_(torch.from_numpy(arrays[f"learned.{name}"]))
        self.evaluations += [Evaluation(*values) for values in notes["evaluations"]]
        self.explorer.exploration.bit_generator.state = notes["exploration"]
        self.observation = _resumed(self.env, notes["environment"])

    def resumes(self) -> bool:
        """Whether a new environment with the generator's state begins the present episode as this one did."""
        if self.generator is not None:
            with contextlib.closing(make(environment(self.config.env))) as env:
                _first_reset(env, self.config)
                if np.array_equal(_resumed(env, self.generator), self.observation):
                    return True
        log.warning(
            "step %d: no checkpoint, for %s carries more from episode to episode than its random generator's state",
            *(self.replay.size, self.config.env),
        )
        return False


def _first_reset(env: gymnasium.Env, config: CollectConfig) -> np.ndarray:
    return env.reset(seed=seed_from(f"collect/{config.seed}/env"))[0]


def _generator(env: gymnasium.Env) -> dict[str, Any] | None:
    """The state of the environment's PCG64, Gymnasium's own; None where it has another generator."""
    bits = getattr(getattr(env.unwrapped, "np_random", None), "bit_generator", None)
    return dict(bits.state) if isinstance(bits, PCG64) else None


def _resumed(env: gymnasium.Env, generator: dict[str, Any]) -> np.ndarray:
    """The first observation ``(do,)`` of the episode that began with this state; ``env`` was reset once before."""
    env.unwrapped.np_random.bit_generator.state = generator
    return env.reset()[0]
