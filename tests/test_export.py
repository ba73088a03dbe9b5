"""What leaves the benchmark: exported files, converted ones, descriptions; and what comes back from them."""

import csv
import io
import json

import numpy as np
import pytest
from builders_steps import slow_d4rl_rows, steps_of, write

from corruptbench.cli import main
from corruptbench.corrupting import corrupt, corruption_seed
from corruptbench.data import load, load_rows
from corruptbench.data.describe import describe, text
from corruptbench.data.export import fields_of, rows_of_corrupted, write_hdf5
from corruptbench.environments import Space, environment, space
from corruptbench.errors import ResourceError, UsageError
from corruptbench.numerics import episode_returns
from corruptbench.rng import unit_seeds
from corruptbench.types import HASHED

HOPPER, PENDULUM = environment("Hopper-v5"), environment("Pendulum-v1")
HOPPER_BOX, PENDULUM_BOX = space(HOPPER), space(PENDULUM)
EPISODES = ((3, "terminal"), (4, "timeout"), (1, "both"), (5, "cut"))


@pytest.fixture
def path(tmp_path):
    return write(tmp_path / "x.hdf5", steps_of(*EPISODES))


@pytest.fixture
def dataset(path):
    return load(f"file:{path}", HOPPER)


def exported(path, env, folder, threat="none"):
    """The fields of a file under a threat model, and the corrupted data."""
    loaded = load_rows(f"file:{path}", env)
    result = corrupt(loaded.dataset(), threat, seed=1)
    return fields_of(rows_of_corrupted(result, loaded.rows, loaded.space)), result.dataset


def run(*arguments, capsys):
    code = main([str(argument) for argument in arguments])
    return code, *capsys.readouterr()


# Exported files


def test_an_exported_dataset_is_read_back_to_the_byte(tmp_path, path, dataset):
    digest = write_hdf5(tmp_path / "y.hdf5", exported(path, HOPPER, tmp_path)[0])
    again = load_rows(f"file:{tmp_path / 'y.hdf5'}", HOPPER)
    assert again.file_sha256 == digest
    found = again.dataset()
    assert found.sha256 == dataset.sha256
    assert np.array_equal(found.episodes, dataset.episodes)


def test_timeouts_end_the_episodes_that_no_terminal_ends(tmp_path, path):
    fields, _ = exported(path, HOPPER, tmp_path)
    assert np.flatnonzero(fields["terminals"]).tolist() == [2, 7]
    assert np.flatnonzero(fields["timeouts"]).tolist() == [6, 12]


@pytest.mark.parametrize("threat", ["none", "obs-random", "act-random"])
def test_actions_are_exported_in_the_environments_own_units(tmp_path, threat):
    """Untouched ones to the byte, whatever the box."""
    steps = steps_of((200, "timeout"), widths=(3, 1))
    steps["actions"] = np.linspace(-2, 2, 200, dtype=np.float32)[:, None]
    path = write(tmp_path / "x.hdf5", steps)
    fields, corrupted = exported(path, PENDULUM, tmp_path, threat)
    clean = load(f"file:{path}", PENDULUM)
    same = (corrupted.actions == clean.actions)[:, 0]
    assert same.all() == (threat != "act-random")
    assert np.array_equal(fields["actions"][same], steps["actions"][same])
    np.testing.assert_allclose(fields["actions"], 2 * corrupted.actions, rtol=1e-6)


def test_scaling_there_and_back():
    box = Space(1, np.array([-1.0, 0.0, 5.0]), np.array([3.0, 10.0, 5.5]))
    unit = np.random.default_rng(0).uniform(-1, 1, (1000, 3)).astype(np.float32)
    found = box.from_unit(unit)
    assert (found >= box.low).all()
    assert (found <= box.high).all()
    np.testing.assert_allclose(box.to_unit(found), unit, atol=5e-6)


def test_an_unwritable_place(tmp_path, path):
    (tmp_path / "file").write_text("")
    target = tmp_path / "file" / "y.hdf5"
    fields, _ = exported(path, HOPPER, tmp_path)
    size = sum(values.nbytes for values in fields.values())
    with pytest.raises(ResourceError) as raised:
        write_hdf5(target, fields)
    assert str(raised.value).startswith(f"{target}: {size} bytes could not be written: ")


# corrupt


def test_corrupt_writes_what_run_trains_on(tmp_path, path, dataset, capsys):
    out = tmp_path / "c.hdf5"
    named = ("corrupt", "--dataset", f"file:{path}", "--env", "Hopper-v5", "--corrupt", "mix-random:rate=0.5")
    code, printed, _ = run(*named, "--unit", 3, "--out", out, capsys=capsys)
    expected = corrupt(dataset, "mix-random:rate=0.5", unit_seeds(3)[1])
    assert code == 0
    lines = printed.splitlines()
    assert lines[0] == f"{out}: 13 transitions, SHA-256 of the content {expected.dataset.sha256}"
    assert [line.split(":")[0] for line in lines[1:]] == [f"audit of {e}" for e in ("act", "dyn", "mix", "obs", "rew")]
    again = load(f"file:{out}", HOPPER)
    assert again.sha256 == expected.dataset.sha256
    with np.load(tmp_path / "c.hdf5.masks.npz") as masks:
        assert set(masks) == set(expected.masks)
        for field in masks:
            assert np.array_equal(masks[field], expected.masks[field])
    card = json.loads((tmp_path / "c.hdf5.audit.json").read_text())
    assert card["audit"] == expected.audit
    assert (card["sha256"], card["dataset_sha256"]) == (expected.dataset.sha256, dataset.sha256)
    code, _, err = run(*named, "--out", out, capsys=capsys)
    assert (code, err) == (
        2,
        f"corruptbench corrupt: --out {out}: {out} exists already, and nothing is overwritten\n",
    )


def test_which_seed_is_meant():
    assert corruption_seed() == unit_seeds(0)[1]
    assert corruption_seed(unit=2) == unit_seeds(2)[1]
    assert corruption_seed(seed=5) == 5
    for unit, seed, said in (
        (-1, None, "--unit is -1, allowed is 0 and above"),
        (None, -5, "--corruption-seed is -5, allowed is 0 and above"),
        (1, 5, "--unit stands for a corruption seed: say --unit or --corruption-seed"),
    ):
        with pytest.raises(UsageError) as raised:
            corruption_seed(unit, seed)
        assert str(raised.value) == said


def test_corrupt_says_what_is_wrong_before_it_reads_anything(tmp_path, capsys):
    code, _, err = run(
        "corrupt", "--dataset", "file:nowhere", "--corrupt", "obs-rndom", "--out", tmp_path / "x.hdf5", capsys=capsys
    )
    assert code == 2
    assert err.startswith("corruptbench corrupt: unknown corruption 'obs-rndom'")
    code, _, err = run("corrupt", "--corrupt", "obs-random", "--out", tmp_path / "x.csv", capsys=capsys)
    assert (code, err) == (2, f"corruptbench corrupt: --out {tmp_path / 'x.csv'} must end in .hdf5, or be minari:ID\n")


# convert


@pytest.mark.parametrize("last", ["terminal", "timeout", "both", "cut"])
@pytest.mark.parametrize("layout", ["next_observations", "neither"])
def test_d4rl_to_minari_and_back(tmp_path, monkeypatch, capsys, last, layout):
    """The rows of section 1 are the same to the byte; a dropped timeout row supplies the final observation."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    monkeypatch.setenv("CORRUPTBENCH_CACHE", str(tmp_path / "cache"))
    episodes = ((3, "terminal"), (4, "timeout"), (2, "timeout"), (1, "terminal"), (5, last))
    steps = steps_of(*episodes)
    there = write(tmp_path / "hopper_medium_replay-v2.hdf5", steps, layout)
    clean = load(f"d4rl:{there}")
    rows = slow_d4rl_rows(steps, stored=layout == "next_observations")
    assert np.array_equal(clean.next_observations, np.array([row[3] for row in rows]))

    code, _, err = run("data", "convert", f"d4rl:{there}", "minari:test/hopper-v0", capsys=capsys)
    assert code == 0, err
    held = load("minari:test/hopper-v0", HOPPER)
    back = tmp_path / "back.hdf5"
    code, _, err = run("data", "convert", "minari:test/hopper-v0", back, "--env", "Hopper-v5", capsys=capsys)
    assert code == 0, err
    for found in (held, load(f"file:{back}", HOPPER)):
        for field in HASHED:
            assert np.array_equal(getattr(found, field), getattr(clean, field)), field
        assert np.array_equal(np.diff(found.episodes) > 0, np.diff(clean.episodes) > 0)
    code, _, err = run("data", "convert", "minari:test/hopper-v0", back, "--env", "Hopper-v5", capsys=capsys)
    assert (code, err) == (2, f"corruptbench data: convert: {back} exists already, and nothing is overwritten\n")


def test_data_that_do_not_continue_cannot_be_held_by_minari(tmp_path, monkeypatch, path, capsys):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    out = tmp_path / "c.hdf5"
    run(
        "corrupt",
        "--dataset",
        f"file:{path}",
        "--env",
        "Hopper-v5",
        "--corrupt",
        "obs-random",
        "--out",
        out,
        capsys=capsys,
    )
    code, _, err = run("data", "convert", f"file:{out}", "minari:test/x-v0", "--env", "Hopper-v5", capsys=capsys)
    assert code == 3
    assert err.splitlines()[-1].startswith(
        "corruptbench data: minari:test/x-v0: the next observation is not the following row's observation"
    )
    assert not (tmp_path / "minari" / "test" / "x-v0").exists()


def test_a_target_of_no_known_kind(path, capsys):
    code, _, err = run("data", "convert", f"file:{path}", "x.csv", "--env", "Hopper-v5", capsys=capsys)
    assert code == 2
    assert err == "corruptbench data: convert: 'x.csv' is no target, allowed are minari:ID and PATH.hdf5\n"


# info


def test_episodes(dataset):
    returns, lengths = episode_returns(dataset.rewards, dataset.episodes)
    assert lengths.tolist() == [3, 4, 1, 5]
    slow = [sum(map(float, dataset.rewards[a:b])) for a, b in ((0, 3), (3, 7), (7, 8), (8, 13))]
    np.testing.assert_allclose(returns, slow)


def test_figures(dataset):
    found = describe(dataset, HOPPER_BOX)
    assert (found["transitions"], found["episodes"], found["terminations"]) == (13, 4, 2)
    assert found["lengths"] == {"mean": 3.25, "q0": 1, "q25": 2.5, "q50": 3.5, "q75": 4.25, "q100": 5}
    column = dataset.observations[:, 4].astype(np.float64)
    expected = {"min": column.min(), "mean": column.mean(), "std": column.std(), "max": column.max()}
    assert found["features"]["observations"][4] == pytest.approx(expected, rel=1e-6)
    returns, _ = episode_returns(dataset.rewards, dataset.episodes)
    assert found["normalized_mean"] == pytest.approx(HOPPER.normalized(returns.mean()))


def test_actions_are_shown_in_the_units_of_the_environment(dataset):
    column = describe(dataset, PENDULUM_BOX)["features"]["actions"][0]
    assert column["max"] == pytest.approx(2 * dataset.actions[:, 0].max())  # Pendulum's torque goes from -2 to 2
    assert describe(dataset, HOPPER_BOX)["features"]["actions"][0]["max"] == dataset.actions[:, 0].max()


def test_columns_of_figures_stay_apart(dataset):
    found = describe(dataset, HOPPER_BOX)
    found["features"]["rewards"] = [dict.fromkeys(("min", "mean", "std", "max"), -0.00012345)]
    (line,) = [line for line in text(found).splitlines() if line.startswith("rewards")]
    assert line.split() == ["rewards", *["-0.0001234"] * 4]


def test_before_and_after(path, dataset, capsys, tmp_path):
    result = corrupt(dataset, "rew-random", unit_seeds(0)[1])
    shown = text(describe(dataset, HOPPER_BOX), describe(result.dataset, HOPPER_BOX), "rew-random").splitlines()
    lines = [i for i, line in enumerate(shown) if line.startswith("  rew-random")]
    assert [shown[i - 1].split()[0] for i in lines] == ["returns", "rewards"]  # and nothing else changes
    named = ("data", "info", f"file:{path}", "--env", "Hopper-v5", "--corrupt", "rew-random")
    code, out, _ = run(*named, capsys=capsys)
    assert code == 0
    figures = result.audit["rew"]
    audit = f"audit of rew: rate {figures['rate']:.4g}, mean change {figures['mean_change']:.4g}"
    assert out.splitlines() == [*shown, audit]
    code, out, _ = run(*named, "--json", capsys=capsys)
    assert set(json.loads(out)) == {"clean", "rew-random"}
    assert json.loads(out)["rew-random"]["audit"] == result.audit
    picture = tmp_path / "x.png"
    code, _, err = run(*named, "--plot", picture, capsys=capsys)
    assert (code, err.splitlines()[-1]) == (0, f"drawn: {picture}")
    assert picture.read_bytes().startswith(b"\x89PNG")
    code, _, err = run(*named, "--plot", tmp_path / "x.nope", capsys=capsys)
    assert code == 2
    assert err == f"corruptbench data: --plot {tmp_path / 'x.nope'} must end in .png, .svg or .pdf\n"


def test_a_csv_of_episodes_of_the_card_is_what_info_counts():
    """The shipped card and ``data info`` agree."""
    dataset = load("hopper-replay")
    returns, lengths = episode_returns(dataset.rewards, dataset.episodes)
    from corruptbench.data import ASSETS

    rows = csv.DictReader(io.StringIO((ASSETS / "hopper-replay" / "episodes.csv").read_text()))
    kept = [row for row in rows if row["kept"] == "1"]
    assert [int(row["steps"]) for row in kept] == lengths.tolist()
    np.testing.assert_allclose(returns, [float(row["return"]) for row in kept], atol=1e-2)
