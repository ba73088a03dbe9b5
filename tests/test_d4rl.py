"""D4RL's table against a plain list, its files from a server of ours or the user's disk, and their recorded SHA-256."""

import hashlib
import json
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import h5py
import numpy as np
import pytest

from corruptbench.data.d4rl import DATASETS, Entry, file_of, resolve
from corruptbench.data.ledger import check_or_record
from corruptbench.errors import DataError, IntegrityError, NetworkError, ResourceError, UsageError

ELSEWHERE = """\
antmaze-ultra-diverse-v2 https://github.com/ZhengyaoJiang/d4rl/releases/download/public/Ant_maze_ultra_noisy_multistart_True_multigoal_True_sparse.hdf5
antmaze-ultra-play-v2 https://github.com/ZhengyaoJiang/d4rl/releases/download/public/Ant_maze_ultra_noisy_multistart_True_multigoal_False_sparse.hdf5
"""

URLS = """\
ant-expert-v0 gym_mujoco/ant_expert.hdf5
ant-expert-v1 gym_mujoco_v1/ant_expert-v1.hdf5
ant-expert-v2 gym_mujoco_v2/ant_expert-v2.hdf5
ant-full-replay-v1 gym_mujoco_v1/ant_full_replay-v1.hdf5
ant-full-replay-v2 gym_mujoco_v2/ant_full_replay-v2.hdf5
ant-medium-expert-v0 gym_mujoco/ant_medium_expert.hdf5
ant-medium-expert-v1 gym_mujoco_v1/ant_medium_expert-v1.hdf5
ant-medium-expert-v2 gym_mujoco_v2/ant_medium_expert-v2.hdf5
ant-medium-replay-v0 gym_mujoco/ant_mixed.hdf5
ant-medium-replay-v1 gym_mujoco_v1/ant_medium_replay-v1.hdf5
ant-medium-replay-v2 gym_mujoco_v2/ant_medium_replay-v2.hdf5
ant-medium-v0 gym_mujoco/ant_medium.hdf5
ant-medium-v1 gym_mujoco_v1/ant_medium-v1.hdf5
ant-medium-v2 gym_mujoco_v2/ant_medium-v2.hdf5
ant-random-expert-v0 gym_mujoco/ant_random_expert.hdf5
ant-random-v0 gym_mujoco/ant_random.hdf5
ant-random-v1 gym_mujoco_v1/ant_random-v1.hdf5
ant-random-v2 gym_mujoco_v2/ant_random-v2.hdf5
antmaze-eval-large-diverse-v0 ant_maze_new/Ant_maze_large_eval_noisy_multistart_True_multigoal_False_sparse.hdf5
antmaze-eval-large-play-v0 ant_maze_new/Ant_maze_large_eval_noisy_multistart_True_multigoal_True_sparse.hdf5
antmaze-eval-medium-diverse-v0 ant_maze_new/Ant_maze_medium_eval_noisy_multistart_True_multigoal_False_sparse.hdf5
antmaze-eval-medium-play-v0 ant_maze_new/Ant_maze_medium_eval_noisy_multistart_True_multigoal_True_sparse.hdf5
antmaze-eval-umaze-diverse-v0 ant_maze_new/Ant_maze_umaze_eval_noisy_multistart_True_multigoal_True_sparse.hdf5
antmaze-eval-umaze-v0 ant_maze_new/Ant_maze_umaze_eval_noisy_multistart_True_multigoal_False_sparse.hdf5
antmaze-large-diverse-v0 ant_maze_new/Ant_maze_hardest-maze_noisy_multistart_True_multigoal_True_sparse.hdf5
antmaze-large-diverse-v1 ant_maze_v1/Ant_maze_large_noisy_multistart_True_multigoal_True_sparse.hdf5
antmaze-large-diverse-v2 ant_maze_v2/Ant_maze_hardest-maze_noisy_multistart_True_multigoal_True_sparse_fixed.hdf5
antmaze-large-play-v0 ant_maze_new/Ant_maze_hardest-maze_noisy_multistart_True_multigoal_False_sparse.hdf5
antmaze-large-play-v1 ant_maze_v1/Ant_maze_large_noisy_multistart_True_multigoal_False_sparse.hdf5
antmaze-large-play-v2 ant_maze_v2/Ant_maze_hardest-maze_noisy_multistart_True_multigoal_False_sparse_fixed.hdf5
antmaze-medium-diverse-v0 ant_maze_new/Ant_maze_big-maze_noisy_multistart_True_multigoal_True_sparse.hdf5
antmaze-medium-diverse-v1 ant_maze_v1/Ant_maze_medium_noisy_multistart_True_multigoal_True_sparse.hdf5
antmaze-medium-diverse-v2 ant_maze_v2/Ant_maze_big-maze_noisy_multistart_True_multigoal_True_sparse_fixed.hdf5
antmaze-medium-play-v0 ant_maze_new/Ant_maze_big-maze_noisy_multistart_True_multigoal_False_sparse.hdf5
antmaze-medium-play-v1 ant_maze_v1/Ant_maze_medium_noisy_multistart_True_multigoal_False_sparse.hdf5
antmaze-medium-play-v2 ant_maze_v2/Ant_maze_big-maze_noisy_multistart_True_multigoal_False_sparse_fixed.hdf5
antmaze-umaze-diverse-v0 ant_maze_new/Ant_maze_u-maze_noisy_multistart_True_multigoal_True_sparse.hdf5
antmaze-umaze-diverse-v1 ant_maze_v1/Ant_maze_umaze_noisy_multistart_True_multigoal_True_sparse.hdf5
antmaze-umaze-diverse-v2 ant_maze_v2/Ant_maze_u-maze_noisy_multistart_True_multigoal_True_sparse_fixed.hdf5
antmaze-umaze-v0 ant_maze_new/Ant_maze_u-maze_noisy_multistart_False_multigoal_False_sparse.hdf5
antmaze-umaze-v1 ant_maze_v1/Ant_maze_umaze_noisy_multistart_False_multigoal_False_sparse.hdf5
antmaze-umaze-v2 ant_maze_v2/Ant_maze_u-maze_noisy_multistart_False_multigoal_False_sparse_fixed.hdf5
door-cloned-v0 hand_dapg/door-demos-v0-bc-combined.hdf5
door-cloned-v1 hand_dapg_v1/door-cloned-v1.hdf5
door-expert-v0 hand_dapg/door-v0_expert_clipped.hdf5
door-expert-v1 hand_dapg_v1/door-expert-v1.hdf5
door-human-v0 hand_dapg/door-v0_demos_clipped.hdf5
door-human-v1 hand_dapg_v1/door-human-v1.hdf5
halfcheetah-expert-v0 gym_mujoco/halfcheetah_expert.hdf5
halfcheetah-expert-v1 gym_mujoco_v1/halfcheetah_expert-v1.hdf5
halfcheetah-expert-v2 gym_mujoco_v2/halfcheetah_expert-v2.hdf5
halfcheetah-full-replay-v1 gym_mujoco_v1/halfcheetah_full_replay-v1.hdf5
halfcheetah-full-replay-v2 gym_mujoco_v2/halfcheetah_full_replay-v2.hdf5
halfcheetah-medium-expert-v0 gym_mujoco/halfcheetah_medium_expert.hdf5
halfcheetah-medium-expert-v1 gym_mujoco_v1/halfcheetah_medium_expert-v1.hdf5
halfcheetah-medium-expert-v2 gym_mujoco_v2/halfcheetah_medium_expert-v2.hdf5
halfcheetah-medium-replay-v0 gym_mujoco/halfcheetah_mixed.hdf5
halfcheetah-medium-replay-v1 gym_mujoco_v1/halfcheetah_medium_replay-v1.hdf5
halfcheetah-medium-replay-v2 gym_mujoco_v2/halfcheetah_medium_replay-v2.hdf5
halfcheetah-medium-v0 gym_mujoco/halfcheetah_medium.hdf5
halfcheetah-medium-v1 gym_mujoco_v1/halfcheetah_medium-v1.hdf5
halfcheetah-medium-v2 gym_mujoco_v2/halfcheetah_medium-v2.hdf5
halfcheetah-random-v0 gym_mujoco/halfcheetah_random.hdf5
halfcheetah-random-v1 gym_mujoco_v1/halfcheetah_random-v1.hdf5
halfcheetah-random-v2 gym_mujoco_v2/halfcheetah_random-v2.hdf5
hammer-cloned-v0 hand_dapg/hammer-demos-v0-bc-combined.hdf5
hammer-cloned-v1 hand_dapg_v1/hammer-cloned-v1.hdf5
hammer-expert-v0 hand_dapg/hammer-v0_expert_clipped.hdf5
hammer-expert-v1 hand_dapg_v1/hammer-expert-v1.hdf5
hammer-human-v0 hand_dapg/hammer-v0_demos_clipped.hdf5
hammer-human-v1 hand_dapg_v1/hammer-human-v1.hdf5
hopper-expert-v0 gym_mujoco/hopper_expert.hdf5
hopper-expert-v1 gym_mujoco_v1/hopper_expert-v1.hdf5
hopper-expert-v2 gym_mujoco_v2/hopper_expert-v2.hdf5
hopper-full-replay-v1 gym_mujoco_v1/hopper_full_replay-v1.hdf5
hopper-full-replay-v2 gym_mujoco_v2/hopper_full_replay-v2.hdf5
hopper-medium-expert-v0 gym_mujoco/hopper_medium_expert.hdf5
hopper-medium-expert-v1 gym_mujoco_v1/hopper_medium_expert-v1.hdf5
hopper-medium-expert-v2 gym_mujoco_v2/hopper_medium_expert-v2.hdf5
hopper-medium-replay-v0 gym_mujoco/hopper_mixed.hdf5
hopper-medium-replay-v1 gym_mujoco_v1/hopper_medium_replay-v1.hdf5
hopper-medium-replay-v2 gym_mujoco_v2/hopper_medium_replay-v2.hdf5
hopper-medium-v0 gym_mujoco/hopper_medium.hdf5
hopper-medium-v1 gym_mujoco_v1/hopper_medium-v1.hdf5
hopper-medium-v2 gym_mujoco_v2/hopper_medium-v2.hdf5
hopper-random-v0 gym_mujoco/hopper_random.hdf5
hopper-random-v1 gym_mujoco_v1/hopper_random-v1.hdf5
hopper-random-v2 gym_mujoco_v2/hopper_random-v2.hdf5
kitchen-complete-v0 kitchen/mini_kitchen_microwave_kettle_light_slider-v0.hdf5
kitchen-mixed-v0 kitchen/kitchen_microwave_kettle_bottomburner_light-v0.hdf5
kitchen-partial-v0 kitchen/kitchen_microwave_kettle_light_slider-v0.hdf5
pen-cloned-v0 hand_dapg/pen-demos-v0-bc-combined.hdf5
pen-cloned-v1 hand_dapg_v1/pen-cloned-v1.hdf5
pen-expert-v0 hand_dapg/pen-v0_expert_clipped.hdf5
pen-expert-v1 hand_dapg_v1/pen-expert-v1.hdf5
pen-human-v0 hand_dapg/pen-v0_demos_clipped.hdf5
pen-human-v1 hand_dapg_v1/pen-human-v1.hdf5
relocate-cloned-v0 hand_dapg/relocate-demos-v0-bc-combined.hdf5
relocate-cloned-v1 hand_dapg_v1/relocate-cloned-v1.hdf5
relocate-expert-v0 hand_dapg/relocate-v0_expert_clipped.hdf5
relocate-expert-v1 hand_dapg_v1/relocate-expert-v1.hdf5
relocate-human-v0 hand_dapg/relocate-v0_demos_clipped.hdf5
relocate-human-v1 hand_dapg_v1/relocate-human-v1.hdf5
walker2d-expert-v0 gym_mujoco/walker2d_expert.hdf5
walker2d-expert-v1 gym_mujoco_v1/walker2d_expert-v1.hdf5
walker2d-expert-v2 gym_mujoco_v2/walker2d_expert-v2.hdf5
walker2d-full-replay-v1 gym_mujoco_v1/walker2d_full_replay-v1.hdf5
walker2d-full-replay-v2 gym_mujoco_v2/walker2d_full_replay-v2.hdf5
walker2d-medium-expert-v0 gym_mujoco/walker2d_medium_expert.hdf5
walker2d-medium-expert-v1 gym_mujoco_v1/walker2d_medium_expert-v1.hdf5
walker2d-medium-expert-v2 gym_mujoco_v2/walker2d_medium_expert-v2.hdf5
walker2d-medium-replay-v0 gym_mujoco/walker_mixed.hdf5
walker2d-medium-replay-v1 gym_mujoco_v1/walker2d_medium_replay-v1.hdf5
walker2d-medium-replay-v2 gym_mujoco_v2/walker2d_medium_replay-v2.hdf5
walker2d-medium-v0 gym_mujoco/walker2d_medium.hdf5
walker2d-medium-v1 gym_mujoco_v1/walker2d_medium-v1.hdf5
walker2d-medium-v2 gym_mujoco_v2/walker2d_medium-v2.hdf5
walker2d-random-v0 gym_mujoco/walker2d_random.hdf5
walker2d-random-v1 gym_mujoco_v1/walker2d_random-v1.hdf5
walker2d-random-v2 gym_mujoco_v2/walker2d_random-v2.hdf5
"""
"""Name and path below the host, from d4rl/infos.py of Farama-Foundation/D4RL."""


def message(error, call, *arguments, **options):
    with pytest.raises(error) as raised:
        call(*arguments, **options)
    assert type(raised.value) is error
    assert "\n" not in str(raised.value)
    return str(raised.value)


def small(path, value=0.0):
    """The least that opens as HDF5."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["rewards"] = np.full(3, value, np.float32)
    return path


def digits(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder and the address it is served at."""
    monkeypatch.setenv("no_proxy", "*")
    folder = tmp_path / "site"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def medium(url):
    return Entry("hopper-medium-v2", f"{url}/hopper_medium-v2.hdf5", 1000)


# The table


def test_table():
    expected = dict(line.split() for line in URLS.splitlines())
    host = "http://rail.eecs.berkeley.edu/datasets/offline_rl/"
    urls = {n: host + path for n, path in expected.items()} | dict(line.split() for line in ELSEWHERE.splitlines())
    assert {name: entry.url for name, entry in DATASETS.items()} == urls
    assert all(entry.name == name for name, entry in DATASETS.items())
    assert len(DATASETS) == 122


def test_a_file_name_is_one_dataset():
    assert len({entry.file_name for entry in DATASETS.values()}) == len(DATASETS)


def test_horizons():
    horizons = {"kitchen": 280, "pen": 100, "hammer": 200, "door": 200, "relocate": 200}
    for name, entry in DATASETS.items():
        umaze, ultra = name.startswith(("antmaze-umaze", "antmaze-eval-umaze")), name.startswith("antmaze-ultra")
        expected = 700 if umaze else 2000 if ultra else horizons.get(name.split("-")[0], 1000)
        assert entry.horizon == expected, name


# Spellings


@pytest.mark.parametrize("name", DATASETS)
def test_resolve(name):
    entry = DATASETS[name]
    assert resolve(name) == (entry, None)
    for path in (entry.file_name, f"./{entry.file_name}", f"/some where/{entry.file_name}"):
        assert resolve(path) == (entry, Path(path))


@pytest.mark.parametrize(
    ("spelling", "hint"),
    [
        ("hopper-medium-v3", " (did you mean 'hopper-medium-v2'?)"),
        ("Hopper-medium-v2", " (did you mean 'hopper-medium-v2'?)"),
        ("antmaze-umaze-v3", " (did you mean 'antmaze-umaze-v2'?)"),
        ("xyz", ""),
        ("", ""),
    ],
)
def test_unknown_dataset(spelling, hint):
    assert message(UsageError, resolve, spelling) == (
        f"unknown D4RL dataset {spelling!r}: none of the 122 in the table{hint}; "
        "`corruptbench data list d4rl` shows them"
    )


@pytest.mark.parametrize(
    ("spelling", "name", "hint"),
    [
        ("hopper_medium-v3.hdf5", "hopper_medium-v3.hdf5", " (did you mean 'hopper_medium-v2.hdf5'?)"),
        ("../x/hopper_medium-v2", "hopper_medium-v2", " (did you mean 'hopper_medium-v2.hdf5'?)"),
        ("../..", "..", ""),
    ],
)
def test_unknown_file(spelling, name, hint):
    assert message(UsageError, resolve, spelling) == (
        f"--dataset d4rl:{spelling}: the file's name says which dataset it is, and {name!r} is none of the "
        f"122 in the table{hint}; `corruptbench data list d4rl` shows them"
    )


# Files


def test_downloaded_once(site, tmp_path):
    folder, url = site
    source, cache = small(folder / "hopper_medium-v2.hdf5"), tmp_path / "cache"
    content = source.read_bytes()
    path, sha256 = file_of(medium(url), cache=cache)
    assert path == cache / "d4rl" / "hopper_medium-v2.hdf5"
    assert path.read_bytes() == content
    assert sha256 == hashlib.sha256(content).hexdigest()
    record = cache / "sha256" / "d4rl" / "hopper-medium-v2.json"
    assert json.loads(record.read_text()) == {"sha256": sha256, "size": len(content)}
    source.unlink()
    assert file_of(medium(url), cache=cache) == (path, sha256)


def test_a_given_file_stays_where_it_is(tmp_path):
    given, cache = small(tmp_path / "hopper_medium-v2.hdf5"), tmp_path / "cache"
    entry, path = resolve(str(given))
    assert file_of(entry, path, cache=cache) == (given, digits(given))
    assert not (cache / "d4rl").exists()
    assert (cache / "sha256" / "d4rl" / "hopper-medium-v2.json").is_file()


def test_no_download_tells_the_way_without_a_network(site, tmp_path):
    entry = medium(site[1])
    assert message(NetworkError, file_of, entry, cache=tmp_path / "cache") == (
        f"{entry.url}: not downloaded: the server answered 404 File not found; the same command tries again; "
        "with the file at hand say --dataset d4rl:PATH/hopper_medium-v2.hdf5"
    )


def test_a_login_page_is_not_recorded(site, tmp_path):
    folder, url = site
    cache = tmp_path / "cache"
    (folder / "hopper_medium-v2.hdf5").write_text("<html>Welcome to our hotel</html>")
    file = cache / "d4rl" / "hopper_medium-v2.hdf5"
    said = message(DataError, file_of, medium(url), cache=cache)
    assert said.startswith(f"{file}: not readable as HDF5: ")  # the library's own words follow
    assert said.endswith(f"; without {file} it is downloaded anew")
    assert not (cache / "sha256").exists()
    file.unlink()
    small(folder / "hopper_medium-v2.hdf5")
    assert file_of(medium(url), cache=cache)[0] == file


def test_a_given_file_that_is_missing(tmp_path):
    path = tmp_path / "hopper_medium-v2.hdf5"
    said = message(DataError, file_of, DATASETS["hopper-medium-v2"], path, cache=tmp_path)
    assert said == f"{path}: no such file, and d4rl:hopper-medium-v2 was to be read from it"


def test_another_content_than_before(site, tmp_path):
    folder, url = site
    cache = tmp_path / "cache"
    small(folder / "hopper_medium-v2.hdf5")
    path, first = file_of(medium(url), cache=cache)
    given = small(tmp_path / "hopper_medium-v2.hdf5", 1.0)
    record = cache / "sha256" / "d4rl" / "hopper-medium-v2.json"

    def changed(file):
        return (
            f"{file}: its SHA-256 begins with {digits(file)[:16]}, and at the first reading of d4rl:hopper-medium-v2 "
            f"it was {first[:16]}; if the new content is meant, delete {record}"
        )

    assert message(IntegrityError, file_of, medium(url), given, cache=cache) == changed(given)
    path.write_bytes(b"cut")
    said = message(IntegrityError, file_of, medium(url), cache=cache)
    assert said == f"{changed(path)}; without {path} it is downloaded anew"
    path.unlink()
    assert file_of(medium(url), cache=cache) == (path, first)
    record.unlink()
    assert file_of(medium(url), given, cache=cache) == (given, digits(given))


# The ledger


def test_recorded_then_compared(tmp_path):
    path, record = tmp_path / "x", tmp_path / "new" / "x.json"
    path.write_bytes(b"abc")
    sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, B.1
    assert check_or_record(path, record, "x") == sha256
    assert json.loads(record.read_text()) == {"sha256": sha256, "size": 3}
    before = record.stat().st_mtime_ns
    assert check_or_record(path, record, "x") == sha256
    assert record.stat().st_mtime_ns == before
    path.write_bytes(b"abd")
    assert message(IntegrityError, check_or_record, path, record, "the thing") == (
        f"{path}: its SHA-256 begins with a52d159f262b2c6d, and at the first reading of the thing it was "
        f"ba7816bf8f01cfea; if the new content is meant, delete {record}"
    )


@pytest.mark.parametrize("text", ["[]", "{}", '{"sha256": 1}', '{"sha256": "ba78"}'])
def test_a_damaged_record(tmp_path, text):
    path, record = tmp_path / "x", tmp_path / "x.json"
    path.write_bytes(b"abc")
    record.write_text(text)
    said = message(IntegrityError, check_or_record, path, record, "the thing")
    assert said == f"{record}: holds no SHA-256 of the thing; delete it and the next reading writes it anew"


def test_a_record_that_cannot_be_written(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"abc")
    record = path / "x.json"
    said = message(ResourceError, check_or_record, path, record, "x")
    assert said == f"{record}: 94 bytes could not be written: File exists"
