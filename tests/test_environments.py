"""The environment table: which environment a dataset belongs to, made without warnings and with the right contacts."""

import sys
import warnings

import gymnasium
import mujoco
import numpy as np
import pytest

from corruptbench import environments
from corruptbench.data import home
from corruptbench.environments import (
    ENVIRONMENTS,
    environment,
    environment_of,
    make,
    make_flat,
    space,
    spelling,
    with_references,
)
from corruptbench.errors import DataError, UsageError


@pytest.mark.parametrize(
    ("dataset", "id", "model", "margin"),
    [
        ("d4rl:hopper-medium-replay-v2", "Hopper-v4", "hopper.xml", 0.5),
        ("d4rl:halfcheetah-random-v0", "HalfCheetah-v4", "half_cheetah.xml", 0.5),
        ("d4rl:walker2d-full-replay-v2", "Walker2d-v4", "walker2d.xml", 0.5),
        ("d4rl:ant-expert-v1", "D4RL/Ant", "ant.xml", 0.5),
        ("d4rl:pen-human-v1", "AdroitHandPen-v1", "adroit_pen.xml", 1.0),
        ("minari:D4RL/relocate/expert-v2", "AdroitHandRelocate-v1", "adroit_relocate.xml", 1.0),
        ("minari:mujoco/hopper/medium-v0", "Hopper-v5", "hopper.xml", 1.0),
        ("minari:mujoco/walker2d/expert-v0", "Walker2d-v5", "walker2d_v5.xml", 1.0),
        ("hopper-replay", "Hopper-v5", "hopper.xml", 1.0),
    ],
)
def test_where_a_dataset_belongs(dataset, id, model, margin):
    found = home(dataset)
    assert (found.id, found.model, found.contact_margin) == (id, model, margin)
    assert found.reference_min is not None
    assert not found.references_supplied


def test_a_dataset_that_nobody_knows():
    for name in ("file:x.hdf5", "minari:hopper/medium-v0", "minari:my/robot-v0", "d4rl:flow-ring-v0"):
        assert environment_of(name) is None


def test_references_are_those_of_d4rl():
    """d4rl/infos.py; the tests hold their own copy."""
    for name, low, high in (
        ("Hopper-v4", -20.272305, 3234.3),
        ("HalfCheetah-v5", -280.178953, 12135.0),
        ("Walker2d-v4", 1.629008, 4592.3),
        ("AdroitHandPen-v1", 96.262799, 3076.8331017826877),
    ):
        assert (ENVIRONMENTS[name].reference_min, ENVIRONMENTS[name].reference_max) == (low, high)
    assert environment_of("minari:mujoco/pusher/medium-v0").reference_min is None


@pytest.mark.parametrize("name", ["Hopper-v4", "HalfCheetah-v4", "Walker2d-v4", "Ant-v4", "D4RL/Ant"])
def test_v4_models_are_made_without_a_word(name):
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        make(ENVIRONMENTS[name]).close()
    assert [str(w.message) for w in seen] == []


def test_the_old_margin_is_half_of_todays():
    """With it the first contact comes when it came in the MuJoCo that D4RL was recorded with."""
    old, new = environment_of("d4rl:hopper-medium-v2"), environment("Hopper-v4")
    margins = [make(env).unwrapped.model.geom_margin for env in (old, new)]
    assert set(margins[1]) == {0.001}
    assert set(margins[0]) == {0.0005}


def test_older_mujocos_have_the_old_margin_already(monkeypatch):
    monkeypatch.setattr(mujoco, "__version__", "3.4.0")
    assert set(make(environment_of("d4rl:hopper-medium-v2")).unwrapped.model.geom_margin) == {0.001}
    monkeypatch.setattr(mujoco, "__version__", "3.5.0")
    assert set(make(environment_of("d4rl:hopper-medium-v2")).unwrapped.model.geom_margin) == {0.0005}


def test_the_margin_moves_a_trajectory():
    visited = []
    for env in (environment_of("d4rl:hopper-medium-v2"), environment("Hopper-v4")):
        made = make(env)
        made.reset(seed=3)
        visited.append(np.array([made.step(np.zeros(3, np.float32))[0] for _ in range(40)]))
    assert not np.array_equal(*visited)
    first = int(np.flatnonzero((visited[0] != visited[1]).any(1))[0])
    assert first > 0  # until the first contact they are the same


def test_ant_sees_no_contact_forces():
    env = make(ENVIRONMENTS["D4RL/Ant"])
    observation, _ = env.reset(seed=0)
    for _ in range(30):
        observation, *_ = env.step(np.ones(8, np.float32))
    assert observation.shape == (111,)
    assert not observation[27:].any()
    assert observation[:27].all()
    assert space(ENVIRONMENTS["D4RL/Ant"]).observations == 111


def without_robotics(monkeypatch):
    """As it is where the extra is not installed."""
    monkeypatch.setitem(sys.modules, "gymnasium_robotics", None)
    for name in list(gymnasium.registry):
        if name.startswith(("Adroit", "AntMaze", "PointMaze")):
            monkeypatch.delitem(gymnasium.registry, name)


def test_data_of_robotics_are_understood_without_it(monkeypatch):
    found = space(environment_of("d4rl:door-cloned-v1"))
    assert (found.observations, len(found.low), set(found.low), set(found.high)) == (39, 28, {-1.0}, {1.0})
    without_robotics(monkeypatch)
    with pytest.raises(DataError) as raised:
        make(environment_of("d4rl:door-cloned-v1"))
    assert str(raised.value) == (
        "AdroitHandDoor-v1 needs the extra 'robotics': pip install 'corruptbench[robotics]' (run --no-score needs none)"
    )


@pytest.mark.parametrize(
    ("dataset", "name", "widths"),
    [
        ("d4rl:antmaze-umaze-v2", "D4RL/AntMaze", (29, 8)),
        ("d4rl:kitchen-mixed-v0", "D4RL/Kitchen", (60, 9)),
        ("minari:D4RL/kitchen/mixed-v2", "Minari/Kitchen", (None, 9)),
    ],
)
def test_datasets_without_an_environment_to_score_in(dataset, name, widths):
    env = environment_of(dataset)
    assert env == environment(name)  # so that what is exported can be read back
    assert (space(env).observations, len(space(env).low)) == widths
    with pytest.raises(DataError) as raised:
        make(env)
    expected = f"{name} has no environment to act in: --env names another one, and run --no-score needs none"
    assert str(raised.value) == expected


@pytest.mark.parametrize(
    ("dataset", "name"),
    [
        ("D4RL/antmaze/umaze-v1", "Minari/AntMaze-UMaze"),
        ("D4RL/antmaze/umaze-diverse-v1", "Minari/AntMaze-UMaze"),
        ("D4RL/antmaze/medium-play-v1", "Minari/AntMaze-Medium"),
        ("D4RL/antmaze/large-diverse-v2", "Minari/AntMaze-Large"),
        ("D4RL/pointmaze/large-dense-v2", "PointMaze_LargeDense-v3"),
        ("D4RL/pointmaze/open-v2", "PointMaze_Open-v3"),
    ],
)
def test_mazes_of_minari_are_understood_without_robotics_and_scored_with_it(dataset, name, monkeypatch):
    env = environment_of(f"minari:{dataset}")
    assert env == environment(name)
    assert (space(env).observations, len(space(env).low)) == ((31, 8) if "Ant" in name else (8, 2))
    without_robotics(monkeypatch)
    with pytest.raises(DataError) as raised:
        make(env)
    assert str(raised.value).startswith(f"{name} needs the extra 'robotics'")


def test_an_unknown_maze_has_no_environment():
    for name in ("D4RL/antmaze/tiny-v1", "D4RL/pointmaze/umaze-sparse-v2", "antmaze/umaze-v1"):
        assert environment_of(f"minari:{name}") is None


def test_an_ant_in_its_maze_ends_at_the_goal():
    """Where the extra is installed: one start, one goal, and a return of 0 or 1."""
    pytest.importorskip("gymnasium_robotics")
    for name in environments._ANT_MAZES:
        made = make(environment(name))
        reset = [made.reset(seed=seed)[0] for seed in (0, 1)]
        noise = 4 * 0.25 + 0.1  # a cell of 4 m, and the start and the goal moved by up to a quarter of it
        for part in ("achieved_goal", "desired_goal"):
            assert np.abs(reset[0][part] - reset[1][part]).max() <= 2 * noise
        inner = made.unwrapped
        inner.goal = inner.unwrapped.ant_env.unwrapped.data.qpos[:2].copy()
        *_, reward, terminated, _, _ = made.step(np.zeros(8, np.float32))
        assert (reward, terminated) == (1.0, True)


def test_an_environment_that_breaks_is_a_sentence():
    def broken(**_):
        raise AssertionError("joint")

    gymnasium.register("CorruptBenchTest/Broken-v0", entry_point=broken)
    try:
        with pytest.raises(DataError) as raised:
            make(environment("CorruptBenchTest/Broken-v0"))
        assert str(raised.value).startswith("CorruptBenchTest/Broken-v0 cannot be made: AssertionError")
    finally:
        del gymnasium.registry["CorruptBenchTest/Broken-v0"]


def test_every_environment_of_the_table_has_a_spelling():
    for name, env in ENVIRONMENTS.items():
        assert environment(spelling(env)) == env, name
        supplied = with_references(env, 0.0, 1.0)
        assert spelling(supplied) == spelling(env)
    assert spelling(environment("Pendulum-v1")) == "Pendulum-v1"
    assert spelling(environment_of("d4rl:hopper-medium-v2")) == "D4RL/Hopper"


def test_references_of_ones_own():
    env = with_references(environment("Pendulum-v1"), -1600.0, -150.0)
    assert (env.reference_min, env.reference_max, env.references_supplied) == (-1600.0, -150.0, True)
    assert env.normalized(-150.0) == 100
    assert with_references(env, None, None) is env
    with pytest.raises(UsageError) as raised:
        with_references(env, 1.0, None)
    assert str(raised.value) == "--ref-min and --ref-max belong together: give both or none"


def test_widths_of_the_table_are_those_of_the_environments():
    """Where the extra is installed; its environments are the only ones that the table describes without asking."""
    pytest.importorskip("gymnasium_robotics")
    for name in environments._NEEDS_ROBOTICS:
        made, table = make_flat(ENVIRONMENTS[name]), space(ENVIRONMENTS[name])
        assert made.observation_space.shape == (table.observations,)
        assert made.action_space.shape == table.low.shape


def test_a_dict_of_observations_is_one_vector(monkeypatch):
    """As Minari's Dict observations are read: the parts side by side, in the order of their keys."""

    class Goal(gymnasium.Env):
        observation_space = gymnasium.spaces.Dict(
            {"observation": gymnasium.spaces.Box(-1, 1, (2,)), "achieved_goal": gymnasium.spaces.Box(-1, 1, (1,))}
        )
        action_space = gymnasium.spaces.Box(-1, 1, (1,))

        def reset(self, *, seed=None, options=None):
            return {"observation": np.float32([0.1, 0.2]), "achieved_goal": np.float32([0.3])}, {}

    gymnasium.register("CorruptBenchTest/Goal-v0", entry_point=Goal)
    try:
        env = environment("CorruptBenchTest/Goal-v0")
        assert space(env).observations == 3
        assert make_flat(env).reset()[0].tolist() == np.float32([0.3, 0.1, 0.2]).tolist()
    finally:
        del gymnasium.registry["CorruptBenchTest/Goal-v0"]
