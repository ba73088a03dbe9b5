"""Small files of steps, made by the tests, and the slow loops they are compared with."""

import h5py
import numpy as np
from hypothesis import strategies as st

LAYOUTS = ("final_observations", "next_observations", "neither")
ENDINGS = ("terminal", "timeout", "both")


def steps_of(*episodes, widths=(11, 3), seed=0):
    """A file's fields from pairs (number of steps, how the episode ends); ``cut``: the file ends before it does."""
    do, da = widths
    rng = np.random.default_rng(seed)
    found = {name: [] for name in ("terminals", "timeouts", "observations", "next_observations", "final_observations")}
    for length, ending in episodes:
        visited = rng.normal(size=(length + 1, do)).astype(np.float32)  # one state more than there are steps
        found["observations"] += list(visited[:-1])
        found["next_observations"] += list(visited[1:])
        found["final_observations"] += [visited[-1]] * (ending != "cut")
        found["terminals"] += [False] * (length - 1) + [ending in ("terminal", "both")]
        found["timeouts"] += [False] * (length - 1) + [ending in ("timeout", "both")]
    count = len(found["terminals"])
    found["actions"] = rng.uniform(-1, 1, size=(count, da)).astype(np.float32)
    found["rewards"] = rng.normal(size=count).astype(np.float32)
    return {name: np.array(values) for name, values in found.items()}


def write(path, steps, layout="next_observations"):
    """The steps as an HDF5 file of one of the three layouts."""
    with h5py.File(path, "w") as file:
        for name, values in steps.items():
            if name not in LAYOUTS or name == layout:
                file[name] = values
    return path


def slow_d4rl_rows(steps, stored):
    """D4RL's qlearning_dataset with section 1's s' of terminal rows, one step at a time."""
    rows, episode = [], 0
    for i in range(len(steps["rewards"]) - 1):
        terminal, timeout = bool(steps["terminals"][i]), bool(steps["timeouts"][i])
        if stored:
            following = steps["next_observations"][i]
        else:
            following = steps["observations"][i] if terminal else steps["observations"][i + 1]
        if not timeout:
            rows.append([steps[n][i] for n in ("observations", "actions", "rewards")] + [following, terminal, episode])
        episode += terminal or timeout
    return rows


DAMAGE = {
    "cut": st.one_of(st.just(0), st.integers(0)),
    "flips": st.lists(st.tuples(st.integers(0), st.integers(0, 7)), max_size=4),
}
"""What hypothesis draws to damage a file's bytes with :func:`damaged`."""


def damaged(content, cut, flips):
    """Bytes without some at their end, and with some bits turned round."""
    found = bytearray(content[: len(content) - cut % len(content)])
    for position, bit in flips:
        found[position % len(found)] ^= 1 << bit
    return bytes(found)
