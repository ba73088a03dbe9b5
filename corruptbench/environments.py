"""Where policies are evaluated: our own table, never a dataset's metadata, where an entry point can run any command."""

import math
from dataclasses import replace

import gymnasium
import mujoco

from corruptbench.errors import DataError, UsageError, nearest
from corruptbench.types import Environment

_REFERENCES = {
    "hopper": (-20.272305, 3234.3),
    "halfcheetah": (-280.178953, 12135.0),
    "walker2d": (1.629008, 4592.3),
}
"""Returns of D4RL's random and expert policies (d4rl/infos.py). On v5 environments they are a scale, not a bridge."""

ENVIRONMENTS = {
    "Hopper-v5": Environment("Hopper-v5", "hopper.xml", 1.0, *_REFERENCES["hopper"]),
    "HalfCheetah-v5": Environment("HalfCheetah-v5", "half_cheetah.xml", 1.0, *_REFERENCES["halfcheetah"]),
    "Walker2d-v5": Environment("Walker2d-v5", "walker2d_v5.xml", 1.0, *_REFERENCES["walker2d"]),
}

mujoco.set_mju_user_warning(lambda message: None)  # MuJoCo 4 would write MUJOCO_LOG.TXT where the user stands


def environment(name: str, reference_min: float | None = None, reference_max: float | None = None) -> Environment:
    """The environment called ``name``, with references of the user's where both are given.

    Any Gymnasium id with Box actions will do; one that is not in the table has no references of its own. Raises
    UsageError for an unknown id, for one reference without the other, and for references that are not in order.
    """
    if name in ENVIRONMENTS:
        known = ENVIRONMENTS[name]
    elif name in gymnasium.registry:
        known = Environment(name, "")
    else:
        raise UsageError(f"--env {name!r} is no Gymnasium environment{nearest(name, gymnasium.registry)}")
    if reference_min is None and reference_max is None:
        return known
    if reference_min is None or reference_max is None:
        raise UsageError("--ref-min and --ref-max belong together: give both or none")
    if not (math.isfinite(reference_min) and math.isfinite(reference_max) and reference_min < reference_max):
        raise UsageError(f"--ref-min {reference_min} and --ref-max {reference_max}: the first must be the lower one")
    return replace(known, reference_min=reference_min, reference_max=reference_max, references_supplied=True)


def make(env: Environment) -> gymnasium.Env:
    """The environment itself; raises DataError where it cannot be made or its actions are not a bounded Box."""
    try:
        made = gymnasium.make(env.id, disable_env_checker=True)
    except (ImportError, gymnasium.error.Error) as error:
        raise DataError(f"{env.id} cannot be made: {' '.join(str(error).split())}") from error
    space = made.action_space
    if not isinstance(space, gymnasium.spaces.Box) or not space.is_bounded():
        raise DataError(f"{env.id} has {space} for actions, and only a bounded Box can be used")
    if env.contact_margin != 1.0:
        made.unwrapped.model.geom_margin[:] *= env.contact_margin  # type: ignore[attr-defined]
    return made
