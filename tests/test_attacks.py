"""Attacks from their words to a run: whose critics they move, what is cached, ensembles, export, the tables' flags."""

import dataclasses
import json
import shutil
from functools import partial

import h5py
import numpy as np
import pytest
import torch
from builders_runs import rewrite
from test_report import HOPPER, record, summary_of, tables

from corruptbench import corrupting, surrogates, training
from corruptbench.attempt import Setup
from corruptbench.cli import main
from corruptbench.corrupting import computed_or_cached, corrupt, corruption_spec, data_of, named_corruption
from corruptbench.corruptions.auto import ENSEMBLES, members
from corruptbench.data import load
from corruptbench.data.describe import audit_text
from corruptbench.errors import IntegrityError, ResourceError, UsageError
from corruptbench.registry import CORRUPTIONS
from corruptbench.request import RunRequest
from corruptbench.rng import unit_seeds
from corruptbench.run import execute, plan
from corruptbench.spec import CorruptionSpec
from corruptbench.store import check_manifest
from corruptbench.suites import Suite, threat_key
from corruptbench.tables.stats import worst_case
from corruptbench.types import HASHED
from corruptbench.versions import processor, versions

TINY = {"hidden": (8, 8), "batch_size": 16}
SEED = unit_seeds(0)[1]


@pytest.fixture(autouse=True)
def quick(monkeypatch, tmp_path):
    """Few episodes, a surrogate of 20 steps, a cache of its own."""
    monkeypatch.setattr(training, "FINAL_EPISODES", 2)
    monkeypatch.setattr(training, "CURVE_EPISODES", 1)
    monkeypatch.setattr(surrogates, "STEPS", 20)
    monkeypatch.setattr(surrogates, "write_surrogate", partial(surrogates.write_surrogate, engine="eager"))
    monkeypatch.setenv("CORRUPTBENCH_CACHE", str(tmp_path / "cache"))
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(name, "1")


@pytest.fixture
def dataset(small_file):
    return load(f"file:{small_file}", HOPPER)


def asked(file, corrupt="none", algo="iql", **changes):
    usual = {"dataset": f"file:{file}", "env": "Hopper-v5", "steps": 20, "algo_options": TINY}
    return RunRequest(algo, corrupt, **{**usual, **changes})


def done(request, out):
    return execute(plan(request, out, Setup(engine="eager")), out, Setup(engine="eager"))


def command(*arguments):
    return main([str(argument) for argument in arguments])


# Whose critics


def test_a_run_of_ones_own_is_attacked_by_its_folder_or_its_id(small_file, tmp_path):
    out = tmp_path / "results"
    mine = done(asked(small_file, algo="riql", unit=None, train_seed=1, corruption_seed=2), out)
    by_id = plan(asked(small_file, f"obs-adv:surrogate={mine.run_id}"), out)
    by_path = plan(asked(small_file, f"obs-adv:surrogate={out / mine.run_id}"), tmp_path / "elsewhere")
    usual = plan(asked(small_file, "obs-adv"), out)
    assert by_id.spec == by_path.spec
    assert by_id.spec.run_id != usual.spec.run_id
    assert by_id.spec.corruption.options == {"surrogate": mine.run_id}
    assert usual.spec.corruption.options == {}
    assert by_id.surrogate.sha256 == surrogates.sha256_file(out / mine.run_id / "agent.safetensors")
    assert f"--corrupt obs-adv:surrogate={mine.run_id} " in by_path.command
    assert str(tmp_path) not in by_path.command


def test_what_is_attacked_is_what_the_algorithm_trusts(small_file, dataset, tmp_path):
    """RIQL's quantile of its critics, IQL's minimum, on raw observations."""
    s, a = torch.tensor(dataset.observations[:20]), torch.tensor(dataset.actions[:20])
    for algo in ("iql", "riql"):
        mine = done(asked(small_file, algo=algo), tmp_path)
        surrogate, _ = surrogates.surrogate_of_run(mine.run_id, dataset, tmp_path)
        model = surrogate.model
        trusted = model.agent.q_statistic(model.state["critic"], model.normalisation(s), a)
        torch.testing.assert_close(surrogate.value(s, a), trusted, rtol=1e-5, atol=1e-6)
        assert surrogate.critics(s, a).shape == (20, 2 if algo == "iql" else 5)
    critics = surrogate.critics(s, a)
    torch.testing.assert_close(surrogate.value(s, a), torch.quantile(critics, 0.25, dim=-1))


def test_white_box_attacks_the_learner_itself(small_file, tmp_path, caplog):
    """Its own algorithm, optimizer and unit on the clean data, as a run that stands beside it and is found again."""
    white = asked(small_file, "act-adv:surrogate=white-box,rate=0.2", algo="riql", optimizer="sam", unit=3)
    with caplog.at_level("INFO"):
        planned = plan(white, tmp_path, Setup(engine="eager"))
    assert "white-box: riql is trained on the clean data first" in caplog.text
    clean = plan(dataclasses.replace(white, corrupt="none"), tmp_path)
    assert clean.spec.train_seed == planned.spec.train_seed
    assert clean.spec.optimizer == planned.spec.optimizer
    weights = tmp_path / clean.spec.run_id / "agent.safetensors"
    before = weights.stat().st_mtime_ns
    assert planned.surrogate.sha256 == surrogates.sha256_file(weights)
    assert planned.spec.corruption.options == {"surrogate": "white-box"}
    found = execute(planned, tmp_path, Setup(engine="eager"))
    assert found.outcome == "ok"
    assert found.corruption["audit"]["act"]["value_after"] < found.corruption["audit"]["act"]["value_before"]
    assert plan(white, tmp_path, Setup(engine="eager")).spec == planned.spec
    assert weights.stat().st_mtime_ns == before
    assert "--corrupt act-adv:rate=0.2,surrogate=white-box" in planned.command


def test_white_box_has_the_settings_of_the_learner_that_is_attacked(small_file, tmp_path):
    """A preset has a row for the attack and none for the clean data: the surrogate takes that of the attack."""
    request = asked(small_file, "dyn-adv:surrogate=white-box", algo="riql", preset="riql-oracle")
    planned = plan(request, tmp_path, Setup(engine="eager"))
    assert planned.agent.alpha == 0.5
    assert planned.surrogate.model.agent == planned.agent


def test_what_cannot_be_attacked_is_said(small_file, dataset, tmp_path, capsys):
    bc = done(asked(small_file, algo="bc"), tmp_path)
    wrong = {
        "nowhere": f"surrogate=nowhere: no run lies in nowhere or in {tmp_path / 'nowhere'}",
        bc.run_id: f"surrogate={bc.run_id}: bc has no critics to attack",
    }
    for name, message in wrong.items():
        with pytest.raises(UsageError) as raised:
            plan(asked(small_file, f"obs-adv:surrogate={name}"), tmp_path)
        assert str(raised.value) == message
    with pytest.raises(UsageError) as raised:
        plan(asked(small_file, "obs-adv:surrogate=white-box", algo="bc"), tmp_path)
    assert str(raised.value) == "--corrupt obs-adv: bc has no critics to attack"
    with pytest.raises(UsageError) as raised:
        corrupt(dataset, "obs-adv:surrogate=white-box", SEED)
    assert str(raised.value) == ("surrogate=white-box attacks the learner of a run: it is for `corruptbench run` alone")
    mine = done(asked(small_file), tmp_path)
    narrow = dataset.replace(actions=dataset.actions[:, :2])
    with pytest.raises(UsageError) as raised:
        surrogates.surrogate_of_run(mine.run_id, narrow, tmp_path)
    assert str(raised.value) == f"surrogate={mine.run_id}: its critics take 14 values, and {dataset.id} has 13"


# The cache


def cached(dataset, text="obs-adv:rate=0.1", seed=SEED):
    name, corruption = named_corruption(text)
    surrogate = surrogates.surrogate_for(dataset)
    spec = corruption_spec(name, corruption, dataset, surrogate)
    return computed_or_cached(corruption, spec, dataset, seed, surrogate)


def same(one, other):
    assert one.dataset.sha256 == other.dataset.sha256
    assert one.audit == other.audit
    assert one.masks.keys() == other.masks.keys()
    assert all(np.array_equal(one.masks[field], other.masks[field]) for field in one.masks)
    assert all(getattr(other.dataset, f).dtype == getattr(one.dataset, f).dtype for f in HASHED)


def test_corrupted_data_come_from_the_cache_as_they_were(dataset, monkeypatch):
    texts = ("mix-adv:rate=0.1", "obs-adv:rate=0.1,preset=rdt2025")
    first = [cached(dataset, text) for text in texts]
    monkeypatch.setattr(corrupting, "apply", lambda *_: pytest.fail("it was computed again"))
    for text, computed in zip(texts, first, strict=True):
        same(computed, cached(dataset, text))


def test_the_cache_forgets_nothing(dataset, tmp_path, monkeypatch):
    """The reference attack's cache forgets the seed; here everything has its part in the key."""
    other = dataset.replace(rewards=-dataset.rewards)
    thread = monkeypatch.context
    cached(dataset)
    folder = tmp_path / "cache" / "corrupted"
    assert len(list(folder.iterdir())) == 1
    cached(dataset, seed=SEED + 1)
    cached(dataset, "obs-adv:rate=0.1,scale=0.5")
    cached(dataset, "obs-adv:rate=0.2")
    cached(dataset, "obs-adv:rate=0.1,preset=riql2024")
    cached(dataset, "act-adv:rate=0.1")
    cached(other)
    with thread() as patch:
        patch.setattr(corrupting, "platform", lambda *_: {"versions": {"torch": "9.9"}, "cpu": "X", "threads": 1})
        cached(dataset)
    assert len(list(folder.iterdir())) == 8
    cut = dataset.replace(episodes=np.arange(len(dataset)) // 7)
    assert cut.sha256 == dataset.sha256  # which does not tell where episodes end
    for text in ("obs-targeted:rate=0.1", "obs-adv:rate=0.1,preset=rdt2025", "mix-adv:rate=0.1,preset=rdt2025"):
        whole, parted = cached(dataset, text), cached(cut, text)
        assert not all(np.array_equal(whole.masks[f], parted.masks[f]) for f in whole.masks), text
    for entry in folder.iterdir():
        check_manifest(entry)


def test_a_damaged_entry_is_named_and_computed_again(dataset, tmp_path, caplog):
    first = cached(dataset)
    (entry,) = (tmp_path / "cache" / "corrupted").iterdir()
    path = entry / "corrupted.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    same(first, cached(dataset))
    assert f"{path}: its content is not what" in caplog.text
    check_manifest(entry)
    caplog.clear()
    same(first, cached(dataset))
    assert not caplog.text


def test_without_a_place_for_it_there_is_no_cache_and_no_failure(dataset, tmp_path, caplog, monkeypatch):
    first = cached(dataset)
    shutil.rmtree(tmp_path / "cache" / "corrupted")
    (tmp_path / "cache" / "corrupted").write_text("in the way")
    same(first, cached(dataset))
    assert "going on without the cache" in caplog.text


def test_a_plug_in_is_never_cached(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(corrupting, "can_be_isolated", lambda *_: False)  # it is a built-in under a false name
    _, corruption = named_corruption("obs-adv:rate=0.1")
    surrogate = surrogates.surrogate_for(dataset)
    spec = CorruptionSpec("obs-adv", 0.1, 1.0, {}, surrogate.sha256, "f" * 64)
    computed_or_cached(corruption, spec, dataset, SEED, surrogate)
    assert not (tmp_path / "cache" / "corrupted").exists()


def test_where_episodes_end_is_part_of_a_run_that_depends_on_it(small_file, dataset, tmp_path):
    """Two files whose rows are the same and whose timeouts differ."""
    other = tmp_path / small_file.name
    shutil.copy(small_file, other)
    with h5py.File(other, "r+") as file:
        assert not file["timeouts"][10]
        assert not file["terminals"][10]
        file["timeouts"][10] = True
        del file["final_observations"]
        file["next_observations"] = dataset.next_observations
    one, two = (plan(asked(path, "rew-targeted"), tmp_path).spec for path in (small_file, other))
    assert one.dataset_sha256 == two.dataset_sha256
    assert one.run_id != two.run_id
    one, two = (plan(asked(path, "rew-adv"), tmp_path).spec for path in (small_file, other))
    assert one.run_id == two.run_id


def test_a_surrogate_without_a_place_is_a_sentence(dataset, tmp_path):
    (tmp_path / "cache").write_text("in the way")
    with pytest.raises(ResourceError) as raised:
        surrogates.surrogate_for(dataset)
    work = surrogates.cache_folder(dataset)
    assert str(raised.value) == f"{work.with_name(f'.{work.name}')}: could not be made: Not a directory"


def test_a_surrogate_is_trained_once_whatever_the_number_of_threads(dataset, monkeypatch):
    trained = []
    write = surrogates.write_surrogate
    monkeypatch.setattr(surrogates, "write_surrogate", lambda *a, **k: trained.append(1) or write(*a, **k))
    for threads in (2, 1):
        torch.set_num_threads(threads)
        surrogates.surrogate_for(dataset)
        assert torch.get_num_threads() == threads
    assert trained == [1]


def test_a_damaged_surrogate_in_the_cache_is_named_and_trained_again(dataset, caplog):
    first = surrogates.surrogate_for(dataset)
    path = surrogates.cache_folder(dataset) / surrogates.WEIGHTS
    path.unlink()
    assert surrogates.surrogate_for(dataset).sha256 == first.sha256
    assert f"{path}: its content is not what" in caplog.text


def test_a_surrogates_place_depends_on_all_that_its_bytes_depend_on(dataset, monkeypatch):
    usual = surrogates.cache_folder(dataset)
    for name, value in (("SEED", 1), ("STEPS", 21)):
        with monkeypatch.context() as patch:
            patch.setattr(surrogates, name, value)
            assert surrogates.cache_folder(dataset) != usual
    for changed in ({"cpu": "X"}, {"source": "x"}, {"versions": {"torch": "9.9"}}):
        with monkeypatch.context() as patch:
            patch.setattr(surrogates, "platform", lambda *_, changed=changed: {**corrupting.platform(), **changed})
            assert surrogates.cache_folder(dataset) != usual
    monkeypatch.setattr(surrogates, "resolve_engine", lambda engine: "another")
    assert surrogates.cache_folder(dataset) != usual
    assert surrogates.cache_folder(dataset.replace(rewards=-dataset.rewards)) != usual


# Made again for a finished run


@pytest.fixture
def attacked(small_file, tmp_path):
    """The record of a run under a small attack."""
    return done(asked(small_file, "obs-adv:rate=0.1"), tmp_path / "results")


def otherwise(found, **audit):
    """The record of a run that was attacked elsewhere: with other last bits, and maybe another audit."""
    numbers = {**found.corruption["audit"]["obs"], **audit}
    corruption = {"sha256": "0" * 64, "audit": {"obs": numbers}}
    return dataclasses.replace(found, corruption=corruption, execution={**found.execution, "cpu": "X"})


def test_the_data_of_a_run_are_made_again(attacked, dataset):
    clean, found = data_of(attacked, clean=dataset, exactly=True)
    assert clean is dataset
    assert found.dataset.sha256 == attacked.corruption["sha256"]


def test_an_attack_that_another_cpu_rounds_otherwise_is_told_of_and_never_taken_for_the_same(attacked, dataset, caplog):
    value = attacked.corruption["audit"]["obs"]["value_after"]
    elsewhere = otherwise(attacked, value_after=value * (1 + 1e-6))
    _, found = data_of(elsewhere, clean=dataset)
    here = attacked.corruption["sha256"]
    assert found.dataset.sha256 == here
    numbers = ", ".join(f"{name} {versions()[name]}" for name in ("corruptbench", "torch", "numpy"))
    words = (
        f"the SHA-256 of the obs-adv data of run {attacked.run_id} is {here[:16]}... here ({processor()}, {numbers}), "
        f"and was {'0' * 16}... where it was trained (X, {numbers})"
    )
    assert caplog.messages[-1].startswith(f"{words}: an attack is rounded in another way there")
    with pytest.raises(IntegrityError) as raised:
        data_of(elsewhere, clean=dataset, exactly=True)
    assert str(raised.value) == f"{words}: a report is kept of the record's own data alone"


def test_other_data_than_a_runs_are_refused(small_file, attacked, dataset, tmp_path):
    """An attack with another audit, one with other bits from the same stack, and noise, whose bits are no CPU's."""
    value = attacked.corruption["audit"]["obs"]["value_after"]
    at_home = {"execution": attacked.execution}
    noise = done(asked(small_file, "obs-random:rate=0.1"), tmp_path / "results")
    for wrong in (
        otherwise(attacked, value_after=value * 1.01),
        otherwise(attacked, another=1.0),
        dataclasses.replace(otherwise(attacked), **at_home),
        otherwise(noise),
    ):
        with pytest.raises(IntegrityError, match=r"^the SHA-256 of the obs-(adv|random) data of run "):
            data_of(wrong, clean=dataset)


def test_a_run_that_was_attacked_with_another_surrogate_is_refused_and_nothing_is_cached(
    attacked, dataset, tmp_path, monkeypatch
):
    shutil.rmtree(tmp_path / "cache")
    monkeypatch.setattr(surrogates, "STEPS", 21)
    other = surrogates.surrogate_for(dataset).sha256
    mine = attacked.spec.corruption.surrogate_sha256
    assert other != mine
    with pytest.raises(IntegrityError) as raised:
        data_of(attacked, clean=dataset)
    assert str(raised.value) == (
        f"the SHA-256 of the surrogate on {dataset.id} is {other[:16]}... here, and run {attacked.run_id} was attacked "
        f"with {mine[:16]}..."
    )
    assert not (tmp_path / "cache" / "corrupted").exists()


def test_no_surrogate_is_trained_for_a_run_of_another_cpu(attacked, dataset, tmp_path, monkeypatch):
    shutil.rmtree(tmp_path / "cache")
    monkeypatch.setattr(surrogates, "write_surrogate", lambda *_: pytest.fail("it is trained"))
    with pytest.raises(
        IntegrityError, match=rf"^the surrogate of {dataset.id} is not at hand, and one that is trained"
    ):
        data_of(otherwise(attacked), clean=dataset)


def test_a_run_whose_data_cannot_be_made_again_is_named_before_one_is_measured(
    small_file, attacked, tmp_path, monkeypatch, capsys
):
    own = done(asked(small_file, "act-adv:surrogate=white-box,rate=0.1"), tmp_path / "results")
    monkeypatch.setattr("corruptbench.sharpness.report_of_run", lambda *arguments, **more: pytest.fail("it measures"))
    both = [tmp_path / "results" / found.run_id for found in (attacked, own)]
    capsys.readouterr()
    assert command("sharpness", *both, "--dataset", f"file:{small_file}") == 2
    expected = f"run {own.run_id} attacked its own learner, whose data are not made again"
    assert capsys.readouterr() == ("", f"corruptbench sharpness: {expected}\n")


def test_a_report_is_kept_beside_a_run_only_if_it_is_of_its_very_data(small_file, attacked, tmp_path, capsys, caplog):
    """By ``sharpness --save`` and by ``run --track-sharpness`` for a run that is finished."""
    folder = tmp_path / "results" / attacked.run_id
    elsewhere = otherwise(attacked)
    rewrite(folder, record=elsewhere.text())
    few = ["--rows", 64, "--iterations", 2, "--probes", 2, "--directions", 2, "--dataset", f"file:{small_file}"]
    capsys.readouterr()
    assert command("sharpness", folder, *few) == 0
    assert "obs-adv:rate=0.1, unit 0" in capsys.readouterr().out
    assert command("sharpness", folder, *few, "--save") == 4
    out, err = capsys.readouterr()
    assert out == ""
    assert f"the SHA-256 of the obs-adv data of run {attacked.run_id} is " in err
    setup = Setup(engine="eager", track_sharpness=20)
    execute(plan(asked(small_file, "obs-adv:rate=0.1"), tmp_path / "results"), tmp_path / "results", setup)
    assert caplog.messages[-1].startswith(f"run {attacked.run_id} has no sharpness after 20 steps: the SHA-256 of the ")
    assert not (folder / "sharpness.json").exists()


def test_a_run_on_minari_data_that_our_table_does_not_know_is_measured_as_it_is_named(
    small_file, tmp_path, monkeypatch, capsys
):
    """Its record has the environment, which the data need to be read."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    source = ["--dataset", f"file:{small_file}", "--env", "Hopper-v5"]
    assert command("corrupt", *source, "--corrupt", "none", "--out", "minari:mine/few-v0") == 0
    mine = asked(small_file, "obs-random:rate=0.1", dataset="minari:mine/few-v0", env="Hopper-v5")
    found = done(mine, tmp_path / "results")
    few = ["--rows", 64, "--iterations", 2, "--probes", 2, "--directions", 2]
    assert command("sharpness", tmp_path / "results" / found.run_id, *few) == 0
    assert "minari:mine/few-v0" in capsys.readouterr().out


# Exported data


def test_the_card_of_exported_data_names_a_run_by_its_id_and_no_path(small_file, tmp_path):
    mine = done(asked(small_file), tmp_path / "secret")
    source = ["--dataset", f"file:{small_file}", "--env", "Hopper-v5"]
    threat = f"act-adv:surrogate={tmp_path / 'secret' / mine.run_id}"
    assert command("corrupt", *source, "--corrupt", threat, "--out", tmp_path / "x.hdf5") == 0
    card = (tmp_path / "x.hdf5.audit.json").read_text()
    assert json.loads(card)["corruption"] == f"act-adv:surrogate={mine.run_id}"
    assert str(tmp_path) not in card


@pytest.mark.parametrize("threat", ["obs-adv:rate=0.2", "mix-adv:rate=0.2", "obs-random:preset=rdt2025", "act-swap"])
def test_who_trains_on_the_exported_data_gets_the_policy_of_the_run(threat, small_file, tmp_path, capsys):
    """To the byte: corrupt --out F, data check file:F, run --dataset file:F --corrupt none."""
    source = ["--dataset", f"file:{small_file}", "--env", "Hopper-v5"]
    file = tmp_path / "corrupted.hdf5"
    assert command("corrupt", *source, "--corrupt", threat, "--out", file) == 0
    assert command("data", "check", f"file:{file}", "--env", "Hopper-v5") == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("SHA-256 of the content ")
    settings = ["--algo", "iql", "--iql.hidden", "8,8", "--steps", "20", "--engine", "eager"]
    out = {"run": tmp_path / "a", "file": tmp_path / "b"}
    assert command("run", *settings, *source, "--corrupt", threat, "--out", out["run"]) == 0
    exported = ["--dataset", f"file:{file}", "--env", "Hopper-v5", "--corrupt", "none"]
    assert command("run", *settings, *exported, "--out", out["file"]) == 0
    policies = [next(folder.glob("*/policy.safetensors")).read_bytes() for folder in out.values()]
    assert policies[0] == policies[1]
    records = [json.loads(next(folder.glob("*/record.json")).read_text()) for folder in out.values()]
    assert records[0]["corruption"]["sha256"] == records[1]["corruption"]["sha256"]
    assert records[0]["evaluation"] == records[1]["evaluation"]
    beside = json.loads((tmp_path / "corrupted.hdf5.audit.json").read_text())
    assert beside["surrogate_sha256"] == records[0]["spec"]["corruption"]["surrogate_sha256"]
    assert beside["audit"] == records[0]["corruption"]["audit"]
    with np.load(tmp_path / "corrupted.hdf5.masks.npz") as masks:
        assert all(masks[name].dtype == bool for name in masks)


@pytest.mark.parametrize("threat", ["none", "act-adv:rate=0.2", "rew-random", "obs-random:preset=rdt2025"])
def test_minari_holds_what_still_continues(threat, small_file, dataset, tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    source = ["--dataset", f"file:{small_file}", "--env", "Hopper-v5"]
    assert command("corrupt", *source, "--corrupt", threat, "--out", "minari:mine/attacked-v0") == 0
    held, expected = load("minari:mine/attacked-v0", HOPPER), corrupt(dataset, threat, SEED).dataset
    for field in HASHED:
        assert np.array_equal(getattr(held, field), getattr(expected, field)), field
    data = tmp_path / "minari" / "mine" / "attacked-v0" / "data"
    assert json.loads((data / "corrupted.audit.json").read_text())["corruption"] == threat
    assert (data / "corrupted.masks.npz").is_file()


@pytest.mark.parametrize("threat", ["obs-random", "dyn-swap", "mix-random"])
def test_minari_cannot_hold_the_rest_and_the_error_names_the_form_that_can(
    threat, small_file, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    source = ["--dataset", f"file:{small_file}", "--env", "Hopper-v5"]
    assert command("corrupt", *source, "--corrupt", threat, "--out", "minari:mine/attacked-v0") == 3
    said = capsys.readouterr().err.splitlines()[-1]
    assert said == (
        f"corruptbench corrupt: minari:mine/attacked-v0: under {threat} the next observation is not the following "
        "row's observation, and Minari stores none of their own; HDF5 holds such data: --out FILE.hdf5"
    )
    assert not (tmp_path / "minari" / "mine" / "attacked-v0").exists()


def test_info_shows_the_audit(small_file, dataset, capsys):
    assert command("data", "info", f"file:{small_file}", "--env", "Hopper-v5", "--corrupt", "obs-adv:rate=0.1") == 0
    shown = capsys.readouterr().out.splitlines()[-1]
    audit = corrupt(dataset, "obs-adv:rate=0.1", SEED).audit["obs"]
    assert shown.startswith(f"audit of obs: rate {audit['rate']:.4g}, largest z ")
    for name in ("value_before", "value_under_noise", "value_after"):
        assert f"{name.replace('_', ' ')} {audit[name]:.4g}" in shown
    assert ("surrogate-weak" in shown) == audit["surrogate_weak"]


def test_the_audit_of_a_plug_in_is_shown_whatever_it_says():
    assert audit_text({"obs": {"sensors": ["a"], "rate": 0.25}, "own": 3}) == (
        "audit of obs: rate 0.25, sensors ['a']\naudit of own: figure 3\n"
    )


# Ensembles


def test_members_are_threat_models_of_one_element_with_the_published_ones_among_them():
    for name, attacks in ENSEMBLES.items():
        element = name.removesuffix("-auto")
        assert name not in CORRUPTIONS.names()
        assert len({threat_key(attack) for attack in attacks}) == len(attacks)
        assert {f"{element}-random", f"{element}-adv"} <= set(attacks)
        assert all(CORRUPTIONS.get(attack.partition(":")[0]).element == element for attack in attacks)


def test_an_ensembles_rate_and_scale_are_its_members():
    assert members("obs-adv:rate=0.1") == ("obs-adv:rate=0.1",)
    assert members("rew-auto:rate=0.1,scale=0.5") == (
        "rew-random:rate=0.1,scale=0.5",
        "rew-zero:rate=0.1",
        "rew-swap:rate=0.1",
        "rew-adv:rate=0.1,scale=0.5",
        "rew-targeted:rate=0.1,scale=0.5",
    )
    assert "obs-targeted:by=advantage,rate=0.1" in members("obs-auto:rate=0.1")
    for text in members("obs-auto:rate=0.1,scale=2"):
        named_corruption(text)
    with pytest.raises(UsageError) as raised:
        members("obs-auto:preset=riql2024")
    assert str(raised.value) == (
        "--corrupt 'obs-auto:preset=riql2024': obs-auto has no option 'preset', allowed are rate and scale"
    )
    with pytest.raises(UsageError) as raised:
        named_corruption("rew-auto")
    assert str(raised.value) == (
        "rew-auto is an ensemble of threat models, and one is needed here: "
        "rew-random, rew-zero, rew-swap, rew-adv, rew-targeted"
    )


def test_run_takes_an_ensemble_member_by_member_and_ends_with_the_worst(small_file, tmp_path, capsys):
    source = ["--dataset", f"file:{small_file}", "--env", "Hopper-v5"]
    settings = ["--algo", "bc", "--bc.hidden", "8,8", "--steps", "20", "--engine", "eager"]
    assert command("run", *settings, *source, "--corrupt", "rew-auto", "--out", tmp_path / "out") == 0
    shown = capsys.readouterr().out.splitlines()
    begin = next(i for i, line in enumerate(shown) if line.startswith("rew-auto: bc"))
    table = shown[begin + 1 :]
    assert [line.split()[0] for line in table[:5]] == list(ENSEMBLES["rew-auto"])
    scores = [float(line.split()[1]) for line in table[:5]]
    assert table[5].split()[:2] == ["worst", "case:"]
    assert float(table[5].split()[-1]) == min(scores)
    assert len(list((tmp_path / "out").iterdir())) == 5
    assert command("run", *settings, *source, "--corrupt", "rew-auto", "--out", tmp_path / "out", "--json") == 0
    records = json.loads(capsys.readouterr().out)
    assert [found["spec"]["corruption"]["name"] for found in records] == list(ENSEMBLES["rew-auto"])


def test_the_worst_case_is_the_lowest_mean_and_its_interval_takes_the_minimum_again():
    rng = np.random.default_rng(0)
    table = {name: rng.normal(50, 10, 10).tolist() for name in "abc"}
    found = worst_case(table, "x")
    means = {name: np.mean(scores) for name, scores in table.items()}
    assert found.attack == min(means, key=means.get)
    assert found.mean == pytest.approx(min(means.values()))
    low, high = found.bounds
    assert low < found.mean < high
    chosen = np.random.default_rng(1).integers(0, 10, (20_000, 10))
    replicates = np.min([np.array(scores)[chosen].mean(1) for scores in table.values()], axis=0)
    assert (low, high) == pytest.approx(tuple(np.quantile(replicates, [0.025, 0.975])), abs=0.4)
    single = np.quantile(np.array(table[found.attack])[chosen].mean(1), 0.975)
    assert high < single  # the minimum of noisy means lies lower than the mean of the attack that is lowest here
    assert worst_case({name: scores[:4] for name, scores in table.items()}, "x").bounds is None
    assert worst_case(table, "x") == found


# Flags and worst cases in the tables

OBS = Suite("obs", 1, ("hopper-replay",), ("obs-random", "obs-adv"), ("iql",), units=12)
AUTO = Suite("auto", 1, ("hopper-replay",), ("rew-auto",), ("iql", "bc"), units=12)


def pairs(difference, units=6):
    found = []
    for unit in range(units):
        found += [
            record(unit=unit, score=20.0 + unit),
            record(unit=unit, score=20.0 + unit + difference, threat="obs-adv"),
        ]
    return found


@pytest.mark.parametrize(("difference", "units", "flags"), [
    (5, 6, "preliminary;transfer-weak"), (-5, 6, "preliminary"), (0, 6, "preliminary"), (5, 4, "incomplete"),
    (5, 10, "transfer-weak"),
])  # fmt: skip
def test_an_attack_under_which_learners_do_better_than_under_noise_is_flagged(difference, units, flags):
    assert summary_of(pairs(difference, units), OBS, corruption="obs-adv")["flags"] == flags


def test_an_attack_that_did_less_than_noise_to_its_surrogate_is_flagged():
    weak = record(threat="obs-adv")
    weak = dataclasses.replace(weak, corruption={**weak.corruption, "audit": {"obs": {"surrogate_weak": True}}})
    assert summary_of([weak, record()], OBS, corruption="obs-adv")["flags"] == "incomplete;surrogate-weak"


def test_a_table_reports_each_attack_and_the_worst_case():
    records = []
    for unit in range(5):
        for i, threat in enumerate(ENSEMBLES["rew-auto"]):
            records.append(record(unit=unit, score=30.0 - i + unit, threat=threat))
            if threat != "rew-swap":
                records.append(record("bc", unit=unit, score=10.0, threat=threat))
    rows = tables(records, AUTO)[1]
    worst = [row for row in rows if row["corruption"] == "rew-auto"]
    assert [row["algo"] for row in worst] == ["iql"]  # bc lacks a member, and a worst case over fewer would flatter it
    (row,) = worst
    assert (row["n"], row["rate"], row["scale"], row["preset"]) == ("5", "0.3", "1", "")
    assert float(row["mean"]) == pytest.approx(30 - 4 + 2, abs=1e-3)
    assert float(row["ci_low"]) < float(row["mean"]) <= float(row["ci_high"])
    assert row["flags"] == "incomplete;worst=rew-targeted"
    assert {r["corruption"] for r in rows} == {*ENSEMBLES["rew-auto"], "rew-auto"}


def test_a_worst_case_is_over_the_units_that_every_attack_has():
    records = [
        record(unit=unit, score=30.0 + 10 * unit, threat=threat)
        for threat in ENSEMBLES["rew-auto"]
        for unit in range(3 if threat == "rew-zero" else 5)
    ]
    row = summary_of(records, AUTO, corruption="rew-auto")
    assert (row["n"], float(row["mean"])) == ("3", pytest.approx(40.0, abs=1e-3))


def test_presets_stand_in_their_column():
    legacy = record(threat="obs-adv", options={"corruption.preset": "riql2024"})
    legacy = dataclasses.replace(
        legacy,
        spec=dataclasses.replace(legacy.spec, corruption=CorruptionSpec("obs-adv", 0.3, 1.0, {"preset": "riql2024"})),
    )
    selected = Suite("x", 1, ("hopper-replay",), ("obs-adv:preset=riql2024",), ("iql",), units=1)
    (row,) = tables([legacy, record(threat="obs-adv")], selected)[1]
    assert (row["corruption"], row["preset"], row["options"]) == ("obs-adv", "riql2024", "")


def test_on_the_oracle_track_attack_and_noise_have_settings_of_their_own_and_are_compared():
    found = []
    for unit in range(6):
        for threat, score, delta in (("obs-random", 20.0 + unit, "0.5"), ("obs-adv", 25.0 + unit, "1.0")):
            found.append(record(unit=unit, score=score, threat=threat, options={"iql.beta": delta}, track="oracle"))
    assert summary_of(found, OBS, corruption="obs-adv")["flags"] == "incomplete;transfer-weak"
    assert summary_of(found, OBS, corruption="obs-random")["flags"] == "incomplete"


@pytest.mark.parametrize("everywhere", [False, True])
def test_failed_runs_are_part_of_a_worst_case(everywhere):
    """They count with the floor of their cell; where a cell has no sound run, there is no mean, and the row stays."""
    records = []
    for unit in range(5):
        for threat in ENSEMBLES["rew-auto"]:
            failed = threat == "rew-zero" and (everywhere or unit == 0)
            how = {"outcome": "diverged", "score": None} if failed else {"score": 30.0 + unit}
            records.append(record(unit=unit, threat=threat, **how))
    row = summary_of(records, AUTO, corruption="rew-auto")
    assert row["failed"] == ("5" if everywhere else "1")
    if everywhere:
        assert (row["mean"], row["flags"]) == ("", "incomplete")
    else:
        assert float(row["mean"]) == pytest.approx((0 + 31 + 32 + 33 + 34) / 5, abs=1e-3)
        assert row["flags"] == "incomplete;worst=rew-zero"
