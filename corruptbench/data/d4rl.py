"""D4RL's datasets: which there are, where they lie, and the file of one, downloaded once or the user's own.

Names and addresses are those of d4rl/infos.py of Farama-Foundation/D4RL (arXiv 2004.07219), and of AntMaze's others
those under which d4rl/locomotion registers them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from corruptbench.data.download import fetch
from corruptbench.data.flat import expanded, open_flat
from corruptbench.data.ledger import check_or_record
from corruptbench.errors import DataError, IntegrityError, NetworkError, UsageError, nearest, shown
from corruptbench.links import without_links

HOST = "http://rail.eecs.berkeley.edu/datasets/offline_rl"
ULTRA = "https://github.com/ZhengyaoJiang/d4rl/releases/download/public"
"""Where D4RL has its largest AntMaze."""


@dataclass(frozen=True)
class Entry:
    """One dataset of D4RL."""

    name: str  # hopper-medium-replay-v2
    url: str
    horizon: int  # steps after which its environment ends an episode: D4RL counts to it where a file has no timeouts

    @property
    def file_name(self) -> str:
        """The last part of the URL, different for each dataset."""
        return self.url.rsplit("/", 1)[1]


def resolve(spelling: str) -> tuple[Entry, Path | None]:
    """The dataset that ``d4rl:<spelling>`` means, and the user's file where it is a path (has a / or ends in .hdf5).

    A file goes by D4RL's name for it. Raises UsageError for a dataset or a file name that is not in the table.
    """
    if "/" not in spelling and not spelling.endswith(".hdf5"):
        if spelling not in DATASETS:
            raise UsageError(
                f"unknown D4RL dataset {shown(spelling)}: none of the {len(DATASETS)} in the table"
                f"{nearest(spelling, DATASETS)}; `corruptbench data list d4rl` shows them"
            )
        return DATASETS[spelling], None
    path = expanded(spelling)
    by_file = {entry.file_name: entry for entry in DATASETS.values()}
    if path.name not in by_file:
        raise UsageError(
            f"--dataset d4rl:{spelling}: the file's name says which dataset it is, and {path.name!r} is none of the "
            f"{len(by_file)} in the table{nearest(path.name, by_file)}; `corruptbench data list d4rl` shows them"
        )
    return by_file[path.name], path


def file_of(entry: Entry, path: Path | None = None, *, cache: Path) -> tuple[Path, str]:
    """The file of a dataset and its SHA-256: ``path`` where the user has it, else one in ``cache/d4rl/``.

    The latter is downloaded if it is not there. The SHA-256 is recorded at the first reading and compared at later
    ones. Raises NetworkError, which tells the way without a network, DataError for a file that is missing or no HDF5,
    IntegrityError for another content than before, ResourceError where the disk is the trouble.
    """
    what = f"d4rl:{entry.name}"
    file = path or without_links(cache, cache / "d4rl" / entry.file_name)
    record = without_links(cache, cache / "sha256" / "d4rl" / f"{entry.name}.json")
    if path is None and not file.exists():
        try:
            fetch(entry.url, file)
        except NetworkError as error:
            raise NetworkError(f"{error}; with the file at hand say --dataset d4rl:PATH/{entry.file_name}") from error
    try:
        if file.is_file() and not record.exists():
            with open_flat(file):  # what cannot be read, a login page for one, is not worth recording
                pass
        return file, check_or_record(file, record, what)
    except (DataError, IntegrityError) as error:
        if path is not None:
            raise
        raise type(error)(f"{error}; without {file} it is downloaded anew") from error


def _entries() -> Iterator[Entry]:
    yield from _locomotion()
    yield from _antmaze()
    yield from _adroit()
    for name, file in {
        "complete": "mini_kitchen_microwave_kettle_light_slider",
        "partial": "kitchen_microwave_kettle_light_slider",
        "mixed": "kitchen_microwave_kettle_bottomburner_light",
    }.items():
        yield Entry(f"kitchen-{name}-v0", f"{HOST}/kitchen/{file}-v0.hdf5", 280)


def _locomotion() -> Iterator[Entry]:
    """In v0 replay data are called mixed, and Walker2d's lie under another name."""
    for agent in ("halfcheetah", "walker2d", "hopper", "ant"):
        mixed = "walker_mixed" if agent == "walker2d" else f"{agent}_mixed"
        for kind in ("random", "medium", "expert", "medium-replay", "medium-expert"):
            file = mixed if kind == "medium-replay" else f"{agent}_{kind.replace('-', '_')}"
            yield Entry(f"{agent}-{kind}-v0", f"{HOST}/gym_mujoco/{file}.hdf5", 1000)
        for version in ("v1", "v2"):
            for kind in ("random", "medium", "expert", "medium-replay", "full-replay", "medium-expert"):
                file = f"{agent}_{kind.replace('-', '_')}-{version}"
                yield Entry(f"{agent}-{kind}-{version}", f"{HOST}/gym_mujoco_{version}/{file}.hdf5", 1000)
    yield Entry("ant-random-expert-v0", f"{HOST}/gym_mujoco/ant_random_expert.hdf5", 1000)


def _antmaze() -> Iterator[Entry]:
    mazes = {
        "umaze": ("u-maze", False, False),
        "umaze-diverse": ("u-maze", True, True),
        "medium-play": ("big-maze", True, False),
        "medium-diverse": ("big-maze", True, True),
        "large-play": ("hardest-maze", True, False),
        "large-diverse": ("hardest-maze", True, True),
    }
    for version, folder, end in (("v0", "ant_maze_new", "sparse"), ("v2", "ant_maze_v2", "sparse_fixed")):
        for kind, (maze, starts, goals) in mazes.items():
            file = f"Ant_maze_{maze}_noisy_multistart_{starts}_multigoal_{goals}_{end}"
            yield Entry(f"antmaze-{kind}-{version}", f"{HOST}/{folder}/{file}.hdf5", 700 if maze == "u-maze" else 1000)
    for kind, (_, starts, goals) in mazes.items():
        maze, horizon = kind.split("-")[0], 700 if kind.startswith("umaze") else 1000
        file = f"Ant_maze_{maze}_noisy_multistart_{starts}_multigoal_{goals}_sparse"
        yield Entry(f"antmaze-{kind}-v1", f"{HOST}/ant_maze_v1/{file}.hdf5", horizon)
        several = kind in ("umaze-diverse", "medium-play", "large-play")  # as registered
        file = f"Ant_maze_{maze}_eval_noisy_multistart_True_multigoal_{several}_sparse"
        yield Entry(f"antmaze-eval-{kind}-v0", f"{HOST}/ant_maze_new/{file}.hdf5", horizon)
    for kind, goals in {"play": False, "diverse": True}.items():
        file = f"Ant_maze_ultra_noisy_multistart_True_multigoal_{goals}_sparse"
        yield Entry(f"antmaze-ultra-{kind}-v2", f"{ULTRA}/{file}.hdf5", 2000)


def _adroit() -> Iterator[Entry]:
    files = {"human": "v0_demos_clipped", "cloned": "demos-v0-bc-combined", "expert": "v0_expert_clipped"}
    for task in ("pen", "hammer", "relocate", "door"):
        horizon = 100 if task == "pen" else 200
        for kind, file in files.items():
            yield Entry(f"{task}-{kind}-v0", f"{HOST}/hand_dapg/{task}-{file}.hdf5", horizon)
            yield Entry(f"{task}-{kind}-v1", f"{HOST}/hand_dapg_v1/{task}-{kind}-v1.hdf5", horizon)


DATASETS = {entry.name: entry for entry in _entries()}
"""By name, 122 of them: locomotion, AntMaze, Kitchen and Adroit."""
