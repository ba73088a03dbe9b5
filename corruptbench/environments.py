"""Where policies are evaluated: our own table, never a dataset's metadata, where an entry point can run any command."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import gymnasium
import mujoco
import numpy as np

from corruptbench.errors import DataError, UsageError, nearest, sentence, shown
from corruptbench.numerics import chunks
from corruptbench.types import Environment

_REFERENCES = {
    "hopper": (-20.272305, 3234.3),
    "halfcheetah": (-280.178953, 12135.0),
    "walker2d": (1.629008, 4592.3),
    "ant": (-325.6, 3879.7),
    "pen": (96.262799, 3076.8331017826877),
    "hammer": (-274.856578, 12794.134825156867),
    "door": (-56.512833, 2880.5693087298737),
    "relocate": (-6.425911, 4233.877797728884),
    "antmaze": (0.0, 1.0),
    "kitchen": (0.0, 4.0),
}
"""Returns of D4RL's random and expert policies (d4rl/infos.py). On v5 environments they are a scale, not a bridge."""

_ROWS = (
    ("Hopper-v4", "hopper.xml", "hopper"),
    ("Hopper-v5", "hopper.xml", "hopper"),
    ("HalfCheetah-v4", "half_cheetah.xml", "halfcheetah"),
    ("HalfCheetah-v5", "half_cheetah.xml", "halfcheetah"),
    ("Walker2d-v4", "walker2d.xml", "walker2d"),
    ("Walker2d-v5", "walker2d_v5.xml", "walker2d"),
    ("Ant-v4", "ant.xml", "ant"),
    ("Ant-v5", "ant.xml", "ant"),
    ("D4RL/Ant", "ant.xml", "ant"),
    ("AdroitHandPen-v1", "adroit_pen.xml", "pen"),
    ("AdroitHandHammer-v1", "adroit_hammer.xml", "hammer"),
    ("AdroitHandDoor-v1", "adroit_door.xml", "door"),
    ("AdroitHandRelocate-v1", "adroit_relocate.xml", "relocate"),
)
OLD_MARGIN = 0.5
"""D4RL's data saw contacts with the larger of a pair's margins; MuJoCo takes their sum since 3.5 (section 4)."""

ENVIRONMENTS = {name: Environment(name, model, 1.0, *_REFERENCES[family]) for name, model, family in _ROWS}
ENVIRONMENTS |= {
    f"D4RL/{name}": replace(ENVIRONMENTS[made], contact_margin=OLD_MARGIN)
    for name, made in (
        ("Hopper", "Hopper-v4"),
        ("HalfCheetah", "HalfCheetah-v4"),
        ("Walker2d", "Walker2d-v4"),
        ("Ant", "D4RL/Ant"),
    )
}
ENVIRONMENTS |= {
    name: Environment(name, "", 1.0, *_REFERENCES.get(family, (None, None)))
    for name, family in (
        ("D4RL/AntMaze", "antmaze"),
        ("D4RL/Kitchen", "kitchen"),
        ("Minari/AntMaze-UMaze", "antmaze"),
        ("Minari/AntMaze-Medium", "antmaze"),
        ("Minari/AntMaze-Large", "antmaze"),
        ("Minari/Kitchen", "kitchen"),
    )
}
ENVIRONMENTS |= {
    f"PointMaze_{maze}{reward}-v3": Environment(f"PointMaze_{maze}{reward}-v3", "")
    for maze in ("Open", "UMaze", "Medium", "Large")
    for reward in ("", "Dense")
}
"""What ``--env`` knows by name; D4RL's locomotion is the v4 models with the old contact margin."""

_ANT_MAZES = {
    "Minari/AntMaze-UMaze": ("AntMaze_UMaze-v4", "##### #..r# #.### #..g# #####"),
    "Minari/AntMaze-Medium": (
        "AntMaze_Medium-v4",
        "######## #r.##..# #..#...# ##...### #..#...# #.#..#.# #...#.g# ########",
    ),
    "Minari/AntMaze-Large": (
        "AntMaze_Large-v4",
        "############ #r...#.....# #.##.#.#.#.# #......#...# #.####.###.# "
        "#..#.#.....# ##.#.#.#.### #..#...#.g.# ############",
    ),
}
"""Where Minari's ``D4RL/antmaze`` is evaluated: the maze of each size with one start (r) and one goal (g)."""


@dataclass(frozen=True)
class Space:
    """What a row of an environment's data looks like."""

    observations: int | None  # values of an observation, None where that is not known
    low: np.ndarray  # (da,) float64, the box of the actions
    high: np.ndarray  # (da,) float64

    @property
    def is_unit(self) -> bool:
        """Whether the box is [-1, 1] already."""
        return bool((self.low == -1).all() and (self.high == 1).all())

    def to_unit(self, actions: np.ndarray) -> np.ndarray:
        """From the box to [-1, 1], ``(N, da)``: (2a - (low + high)) / (high - low), rounded once; as is where it is."""
        return self._mapped(actions, lambda a: (2 * a - (self.low + self.high)) / (self.high - self.low))

    def from_unit(self, actions: np.ndarray) -> np.ndarray:
        """From [-1, 1] to the box, ``(N, da)``; as is where the box is that."""
        return self._mapped(actions, lambda a: (a * (self.high - self.low) + (self.low + self.high)) / 2)

    def _mapped(self, actions: np.ndarray, rule: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        if self.is_unit:
            return actions
        mapped = np.empty_like(actions)
        for part in chunks(len(actions)):
            mapped[part] = rule(actions[part].astype(np.float64))
        return mapped


_UNIT_BOXES: dict[str, tuple[int | None, int]] = {
    "AdroitHandPen-v1": (45, 24),
    "AdroitHandHammer-v1": (46, 26),
    "AdroitHandDoor-v1": (39, 28),
    "AdroitHandRelocate-v1": (39, 30),
    "D4RL/AntMaze": (29, 8),
    "D4RL/Kitchen": (60, 9),
    "Minari/Kitchen": (None, 9),
    **dict.fromkeys(_ANT_MAZES, (31, 8)),
    **{name: (8, 2) for name in ENVIRONMENTS if name.startswith("PointMaze_")},
}
"""Values of an observation and of an action, box [-1, 1], where it takes an extra, or nothing at all, to ask."""

_UNSCORED = ("D4RL/AntMaze", "D4RL/Kitchen", "Minari/Kitchen")
"""D4RL's AntMaze moved another ant through a mirrored maze, and what follows its kitchen breaks under MuJoCo 4."""
_NEEDS_ROBOTICS = tuple(name for name in _UNIT_BOXES if name not in _UNSCORED)

_V5 = {
    "ant": "Ant-v5",
    "halfcheetah": "HalfCheetah-v5",
    "hopper": "Hopper-v5",
    "humanoid": "Humanoid-v5",
    "humanoidstandup": "HumanoidStandup-v5",
    "inverteddoublependulum": "InvertedDoublePendulum-v5",
    "invertedpendulum": "InvertedPendulum-v5",
    "pusher": "Pusher-v5",
    "reacher": "Reacher-v5",
    "swimmer": "Swimmer-v5",
    "walker2d": "Walker2d-v5",
}
"""Minari's ``mujoco/<family>`` and the environment they were collected in."""

_D4RL = {
    "hopper": "D4RL/Hopper",
    "halfcheetah": "D4RL/HalfCheetah",
    "walker2d": "D4RL/Walker2d",
    "ant": "D4RL/Ant",
    "antmaze": "D4RL/AntMaze",
    "kitchen": "D4RL/Kitchen",
}
_MINARI = {
    "antmaze/umaze": "Minari/AntMaze-UMaze",
    "antmaze/medium": "Minari/AntMaze-Medium",
    "antmaze/large": "Minari/AntMaze-Large",
    "kitchen/complete": "Minari/Kitchen",
    "kitchen/mixed": "Minari/Kitchen",
    "kitchen/partial": "Minari/Kitchen",
    "pointmaze/open": "PointMaze_Open-v3",
    "pointmaze/open-dense": "PointMaze_OpenDense-v3",
    "pointmaze/umaze": "PointMaze_UMaze-v3",
    "pointmaze/umaze-dense": "PointMaze_UMazeDense-v3",
    "pointmaze/medium": "PointMaze_Medium-v3",
    "pointmaze/medium-dense": "PointMaze_MediumDense-v3",
    "pointmaze/large": "PointMaze_Large-v3",
    "pointmaze/large-dense": "PointMaze_LargeDense-v3",
}
"""Minari's ``D4RL/<name>-vN``; for AntMaze the size of the maze, which data of all starts and goals share."""
_ADROIT = {name: f"AdroitHand{name.capitalize()}-v1" for name in ("pen", "hammer", "door", "relocate")}

mujoco.set_mju_user_warning(lambda message: None)  # MuJoCo 4 would write MUJOCO_LOG.TXT where the user stands


def environment_of(dataset: str) -> Environment | None:
    """The environment of a ``d4rl:`` or ``minari:`` dataset (section 4), None for one that the table does not know.

    D4RL's locomotion data belong to the v4 models and the old contact margin, Minari's to v5 as it is.
    """
    source, _, name = dataset.partition(":")
    family = (
        name.split("-")[0] if source == "d4rl" else name.removeprefix("D4RL/").removeprefix("mujoco/").split("/")[0]
    )
    if source == "d4rl" and family in _D4RL:
        return ENVIRONMENTS[_D4RL[family]]
    if source == "minari" and name.startswith("D4RL/"):
        task = re.sub(r"-v\d+$", "", name.removeprefix("D4RL/"))
        task = task.split("-")[0] if family == "antmaze" else task
        if task in _MINARI:
            return ENVIRONMENTS[_MINARI[task]]
    if family in _ADROIT and (source == "d4rl" or name.startswith("D4RL/")):
        return ENVIRONMENTS[_ADROIT[family]]
    if source == "minari" and name.startswith("mujoco/") and family in _V5:
        return ENVIRONMENTS.get(_V5[family], Environment(_V5[family], ""))
    return None


def environment(name: str, reference_min: float | None = None, reference_max: float | None = None) -> Environment:
    """The environment called ``name``, with references of the user's where both are given.

    Any Gymnasium id with Box actions will do; one that is not in the table has no references of its own. Raises
    UsageError for an unknown id, for one reference without the other, and for references that are not in order.
    """
    if name in ENVIRONMENTS:
        known = ENVIRONMENTS[name]
    elif name in gymnasium.registry or _registers(name):
        known = Environment(name, "")
    else:
        raise UsageError(
            f"--env {shown(name)} is no Gymnasium environment{nearest(name, [*gymnasium.registry, *ENVIRONMENTS])}"
        )
    return with_references(known, reference_min, reference_max)


def with_references(env: Environment, reference_min: float | None, reference_max: float | None) -> Environment:
    """``env`` with references of the user's, where both are given; the record shows that they were supplied."""
    if reference_min is None and reference_max is None:
        return env
    if reference_min is None or reference_max is None:
        raise UsageError("--ref-min and --ref-max belong together: give both or none")
    if not (math.isfinite(reference_min) and math.isfinite(reference_max) and reference_min < reference_max):
        raise UsageError(f"--ref-min {reference_min} and --ref-max {reference_max}: the first must be the lower one")
    return replace(env, reference_min=reference_min, reference_max=reference_max, references_supplied=True)


def space(env: Environment) -> Space:
    """Widths and action box of an environment's data; raises DataError as :func:`make` does.

    Data of environments that need the extra ``robotics`` are understood without it.
    """
    if env.id in _UNIT_BOXES:
        observed, acted = _UNIT_BOXES[env.id]
        return Space(observed, -np.ones(acted), np.ones(acted))
    made = make_flat(env)
    width, box = made.observation_space.shape, made.action_space
    made.close()
    if width is None or len(width) != 1:
        raise DataError(f"{env.id} observes {made.observation_space}, and only one-dimensional Boxes can be used")
    low, high = box.low.astype(np.float64), box.high.astype(np.float64)  # type: ignore[attr-defined]
    if low.ndim != 1 or not (low < high).all():
        raise DataError(f"{env.id} has {box} for actions, and only one-dimensional Boxes with low < high can be used")
    return Space(width[0], low, high)


def make(env: Environment) -> gymnasium.Env:
    """The environment itself; raises DataError where it cannot be made or its actions are not a bounded Box."""
    if env.id in _UNSCORED:
        raise DataError(
            f"{env.id} has no environment to act in: --env names another one, and run --no-score needs none"
        )
    made_from = "Ant-v4" if env.id == "D4RL/Ant" else env.id
    options: dict[str, Any] = {}
    if env.id in _ANT_MAZES:  # an episode ends at the goal, so its return is 1 or 0, as in D4RL
        made_from, maze = _ANT_MAZES[env.id]
        cells: dict[str, int | str] = {"#": 1, ".": 0}
        rows = [[cells.get(cell, cell) for cell in row] for row in maze.split()]
        options = {"maze_map": rows, "continuing_task": False}
    if env.id in _NEEDS_ROBOTICS and made_from not in gymnasium.registry:
        _register_robotics(env.id)
    try:  # the specification instead of its name: Gymnasium would warn of v4, which is meant here
        made = gymnasium.make(gymnasium.spec(made_from), disable_env_checker=True, **options)
    except (ImportError, gymnasium.error.Error) as error:
        raise DataError(f"{env.id} cannot be made: {' '.join(str(error).split())}") from error
    except Exception as error:  # some are broken by a newer MuJoCo, each in its own way
        raise DataError(f"{env.id} cannot be made: {sentence(error)}") from error
    if env.id == "D4RL/Ant":
        made = _WithoutContactForces(made)
    box = made.action_space
    if not isinstance(box, gymnasium.spaces.Box) or not box.is_bounded():
        raise DataError(f"{env.id} has {box} for actions, and only a bounded Box can be used")
    if env.contact_margin != 1.0 and _margins_are_summed():
        made.unwrapped.model.geom_margin[:] *= env.contact_margin  # type: ignore[attr-defined]
    return made


def make_flat(env: Environment) -> gymnasium.Env:
    """As :func:`make`, with the parts of a Dict observation side by side in the order of their keys."""
    made = make(env)
    is_dict = isinstance(made.observation_space, gymnasium.spaces.Dict)
    return gymnasium.wrappers.FlattenObservation(made) if is_dict else made


class _WithoutContactForces(gymnasium.ObservationWrapper):
    """Ant-v4 with 84 zeros behind its 27 values: D4RL's Ant has contact forces there, and MuJoCo 2.0 left them at 0."""

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (111,), np.float64)

    def observation(self, observation: np.ndarray) -> np.ndarray:
        return np.concatenate([observation, np.zeros(84)])


def _margins_are_summed() -> bool:
    """Since 3.5 MuJoCo adds the margins of a pair; before, the larger one counted, and there is nothing to undo."""
    major, minor = re.findall(r"\d+", mujoco.__version__)[:2]
    return (int(major), int(minor)) >= (3, 5)


def _registers(name: str) -> bool:
    """Whether the extra ``robotics`` is there and has the environment."""
    try:
        _register_robotics(name)
    except DataError:
        return False
    return name in gymnasium.registry


def spelling(env: Environment) -> str:
    """What ``--env`` calls an environment, whatever references it was given."""
    key = (env.id, env.model, env.contact_margin)
    return next(
        (name for name, known in ENVIRONMENTS.items() if (known.id, known.model, known.contact_margin) == key), env.id
    )


def _register_robotics(name: str) -> None:
    try:
        import gymnasium_robotics
    except ImportError as error:
        raise DataError(
            f"{name} needs the extra 'robotics': pip install 'corruptbench[robotics]' (run --no-score needs none)"
        ) from error
    gymnasium.register_envs(gymnasium_robotics)
