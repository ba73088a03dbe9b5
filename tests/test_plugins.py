"""Corruptions and algorithms from a file, an installed package or a module, and what is said where they break."""

import ast
import dataclasses
import importlib
import json
import logging
import os
import re
import shlex
import sys
import textwrap

import numpy as np
import pytest

from corruptbench import corrupting, training
from corruptbench import run as running
from corruptbench.cli import main
from corruptbench.cli import run as verb
from corruptbench.errors import PluginError, UsageError
from corruptbench.records import RunRecord
from corruptbench.registry import ALGORITHMS, CORRUPTIONS, PLUGIN_MODULE, load_plugin, source_sha256
from corruptbench.request import RunRequest
from corruptbench.weights import load_weights


@pytest.fixture(autouse=True)
def restored(monkeypatch, tmp_path):
    """The imported modules and the environment are after a test what they were before."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setattr(corrupting, "can_be_isolated", lambda *_: False)  # that has a file of tests to itself
    monkeypatch.setattr(training, "FINAL_EPISODES", 2)
    monkeypatch.setattr(training, "CURVE_EPISODES", 2)
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        origin = getattr(sys.modules[name], "__file__", None) or ""
        if origin.startswith(str(tmp_path)):
            del sys.modules[name]
    importlib.invalidate_caches()


CORRUPTION = """
    from dataclasses import dataclass
    from pathlib import Path

    import numpy as np

    from corruptbench.corruptions import Corrupted, Corruption, register


    @register("my-noise")
    @dataclass(frozen=True)
    class MyNoise(Corruption):
        '''Adds a constant to the rewards.'''

        shift: float = 0.5  # what is added
        words: tuple[str, ...] = ()

        element = "rew"
        mode = "random"

        def __call__(self, dataset, streams, surrogate=None):
            {body}
"""
GOOD = "return self.corrupted(dataset, 'rewards', dataset.rewards + self.shift, self.rows(dataset, streams), {})"

ALGORITHM = """
    from dataclasses import dataclass

    import torch

    from corruptbench.algos import Agent, Objective, init_mlp, mlp, register


    @register("my-bc")
    @dataclass(frozen=True)
    class MyBC(Agent):
        '''Behaviour cloning again.'''

        power: int = 2  # of the error

        def init(self, observation_dim, action_dim, streams):
            {init}

        @property
        def objectives(self):
            return (Objective("actor", "actor", self.actor_loss),)

        def actor_loss(self, actor, batch, targets):
            {loss}

        def act(self, state, observations):
            {act}
"""
INIT = "return {'actor': init_mlp(streams('actor'), (observation_dim, *self.hidden, action_dim))}"
LOSS = "return (torch.tanh(mlp(actor, batch.observations)) - batch.actions).abs().pow(self.power).sum(-1).mean(-1), {}"
ACT = "return torch.tanh(mlp(state['actor'], observations))"


def indented(text, by=12):
    return textwrap.indent(textwrap.dedent(text).strip(), " " * by).strip()


def corruption_source(body=GOOD):
    return textwrap.dedent(CORRUPTION.format(body=indented(body)))


def algorithm_source(init=INIT, loss=LOSS, act=ACT):
    return textwrap.dedent(ALGORITHM.format(init=indented(init), loss=indented(loss), act=indented(act)))


@pytest.fixture
def noise(tmp_path):
    """Writes a corruption's plug-in file and returns its path."""

    def write(body=GOOD, name="my_noise.py"):
        path = tmp_path / name
        path.write_text(corruption_source(body))
        return path

    return write


@pytest.fixture
def run(small_file, tmp_path, capsys):
    """Runs the command line with tiny networks; returns exit code, records by run id, and standard error."""

    def call(*arguments, algo="bc", corrupt="my-noise:rate=0.1"):
        words = ["run", "--algo", algo, "--corrupt", corrupt, "--dataset", f"file:{small_file}", "--env", "Hopper-v5"]
        words += ["--engine", "eager", "--steps", "5", f"--{algo}.hidden", "8", f"--{algo}.batch-size", "8"]
        words += ["--out", tmp_path / "out", *arguments]
        try:
            code = main([str(word) for word in words])
        except SystemExit as error:
            code = f"SystemExit({error.code})"
        records = [RunRecord.read(path) for path in tmp_path.glob("out/*/record.json")]
        return code, {record.run_id: record for record in records}, capsys.readouterr().err

    return call


@pytest.fixture
def plan_of(small_file):
    """Plans a run of the given plug-ins with tiny networks."""

    def planned(*plugins, algo="bc", corrupt="my-noise"):
        for path in plugins:
            load_plugin(path)
        return running.plan(RunRequest(algo, corrupt, dataset=f"file:{small_file}", env="Hopper-v5"))

    return planned


def only(records):
    (record,) = records.values()
    return record


# A corruption in a file


def test_a_corruption_in_a_file_runs_and_shows_its_options(noise, run, small_file, tmp_path, capsys):
    plugin = noise()
    code, records, said = run("--plugin", plugin, corrupt="my-noise:rate=0.2,shift=3,words=a")
    record = only(records)
    assert (code, record.outcome) == (0, "ok")
    spec = record.spec.corruption
    assert (spec.name, spec.rate, spec.options) == ("my-noise", 0.2, {"shift": 3.0, "words": ["a"]})
    assert record.options["corruption.shift"] == "3.0"
    assert record.corruption["audit"]["rew"]["rate"] == pytest.approx(0.2, abs=0.03)
    assert record.corruption["sha256"] != record.spec.dataset_sha256
    assert re.fullmatch(rf"\S+: [\d,]+ transitions of Hopper-v5, run {record.run_id}\n", said)

    assert main(["list", "corruptions", "--plugin", str(plugin)]) == 0
    out = capsys.readouterr().out
    assert "my-noise     Adds a constant to the rewards.\n" in out
    assert "rate=0.3  scale=1.0  shift=0.5" in out


def test_a_wrong_option_of_a_plugin_gets_the_nearest_right_name(noise, run):
    code, records, said = run("--plugin", noise(), corrupt="my-noise:shfit=3")
    assert (code, records) == (2, {})
    assert said == (
        "corruptbench run: --corrupt my-noise: unknown option 'shfit': known are rate, scale, shift, words "
        "(did you mean 'shift'?)\n"
    )


def test_without_the_plugin_its_name_is_unknown(run):
    code, records, said = run()
    assert (code, records) == (2, {})
    assert said.startswith("corruptbench run: unknown corruption 'my-noise': known are act-adv, ")
    assert said.count("\n") == 1


def test_a_rate_is_checked_for_plugins_too(noise, run):
    code, records, said = run("--plugin", noise(), corrupt="my-noise:rate=1.5")
    assert (code, records, said) == (2, {}, "corruptbench run: my-noise: rate is 1.5, allowed is 0 to 1\n")


def test_a_finished_run_of_a_plugin_is_found_again(noise, run, caplog):
    caplog.set_level(logging.INFO)
    assert run("--plugin", noise())[0] == 0
    code, records, _ = run("--plugin", noise())
    assert (code, len(records)) == (0, 1)
    assert any("holds this run already (ok)" in message for message in caplog.messages)


# The hash of the source


def test_the_hash_of_the_source_is_in_the_spec(noise, plan_of):
    import hashlib

    plugin = noise()
    spec = plan_of(plugin).spec
    assert spec.corruption.source_sha256 == hashlib.sha256(plugin.read_bytes()).hexdigest()
    assert spec.algorithm.source_sha256 is None
    for registry in (ALGORITHMS, CORRUPTIONS):
        for name in set(registry.names()) - {"my-noise"}:
            assert source_sha256(registry.get(name)) is None


def test_an_edited_plugin_is_another_run_and_a_moved_one_is_not(noise, plan_of, tmp_path):
    plugin = noise()
    before = plan_of(plugin).spec
    plugin.write_text(plugin.read_text() + "\n# a remark\n")
    after = plan_of(plugin).spec
    assert after.run_id != before.run_id
    assert dataclasses.replace(after, corruption=before.corruption) == before

    elsewhere = tmp_path / "folder" / "renamed.py"
    elsewhere.parent.mkdir()
    elsewhere.write_text(corruption_source())
    del CORRUPTIONS._classes["my-noise"]
    assert plan_of(elsewhere).spec.run_id == before.run_id


def test_an_edited_plugin_runs_as_edited(noise, plan_of, monkeypatch):
    """Even where size and time of change are the same, by which Python takes a compiled file for a fresh one."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    plugin = noise()
    times = (1_000_000_000, 1_000_000_000)
    os.utime(plugin, times)
    before = plan_of(plugin)
    assert before.corruption.shift == 0.5
    plugin.write_text(plugin.read_text().replace("shift: float = 0.5", "shift: float = 0.7"))
    os.utime(plugin, times)
    after = plan_of(plugin)
    assert after.spec.run_id != before.spec.run_id
    assert after.corruption.shift == 0.7


def test_a_plugin_leaves_nothing_beside_its_file(noise, plan_of, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    folder = tmp_path / "mine"
    folder.mkdir()
    plan_of(noise(name="mine/my_noise.py"))
    assert [path.name for path in folder.iterdir()] == ["my_noise.py"]


def test_two_plugins_with_one_file_name_keep_their_own_sources(tmp_path, plan_of):
    first, second = tmp_path / "a" / "mine.py", tmp_path / "b" / "mine.py"
    for path, source in ((first, corruption_source()), (second, algorithm_source())):
        path.parent.mkdir()
        path.write_text(source)
    before = plan_of(first, second, algo="my-bc").spec
    assert before.corruption.source_sha256 != before.algorithm.source_sha256
    first.write_text(first.read_text() + "# edited\n")
    assert plan_of(first, second, algo="my-bc").spec.run_id != before.run_id


def test_the_command_of_the_record_names_the_plugins(tmp_path, monkeypatch, small_file):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "noise and.py").write_text(corruption_source())
    (tmp_path / "learner.py").write_text(algorithm_source())
    (tmp_path / small_file.name).symlink_to(small_file)

    def planned(words):
        found = []
        with monkeypatch.context() as patch:
            patch.setattr(
                verb, "run", lambda options, arguments: found.append(running.plan(verb.request_of(options))) or 0
            )
            assert main(words) == 0
        return found[0]

    words = ["--algo", "my-bc", "--my-bc.power", "3", "--corrupt", "my-noise:shift=2,words=x", "--unit", "2", "--sam"]
    words += ["--plugin", str(tmp_path / "noise and.py"), "--plugin", "learner.py"]
    asked = planned(["run", *words, "--dataset", f"file:{small_file.name}", "--env", "Hopper-v5"])
    assert str(tmp_path) not in asked.command
    again = planned(shlex.split(asked.command)[1:])
    assert (again.spec, again.command) == (asked.spec, asked.command)


def test_a_plugin_with_both_kinds_is_named_once_or_twice_and_loads(tmp_path, run):
    plugin = tmp_path / "both.py"
    plugin.write_text(corruption_source() + algorithm_source())
    code, records, _ = run("--plugin", plugin, algo="my-bc")
    assert code == 0
    code, again, _ = run("--plugin", plugin, "--plugin", plugin, algo="my-bc")
    assert code == 0
    assert again.keys() == records.keys()


# A corruption that breaks its contract


BROKEN = {
    "raises": ("raise KeyError('the word')", "raised KeyError: 'the word'"),
    "raises with many lines": (r"raise RuntimeError('one\n  two')", "raised RuntimeError: one two"),
    "exits": ("raise SystemExit(0)", "raised SystemExit: 0"),
    "returns None": ("pass", "returned a NoneType, needed is a Corrupted"),
    "returns a dataset": ("return dataset", "returned a TransitionDataset, needed is a Corrupted"),
    "wrong shape": (
        "return Corrupted(dataset.replace(rewards=dataset.rewards[:, None]), {}, {})",
        "returned rewards float32 (N, 1), needed is float32 (N,)",
    ),
    "rows missing": (
        "return Corrupted(dataset.replace(actions=dataset.actions[:7]), {}, {})",
        "returned actions float32 (7, 3), needed is float32 (N, 3)",
    ),
    "columns missing": (
        "return Corrupted(dataset.replace(observations=dataset.observations[:, :5]), {}, {})",
        "returned observations float32 (N, 5), needed is float32 (N, 11)",
    ),
    "wrong dtype": (
        "return Corrupted(dataset.replace(next_observations=dataset.next_observations.astype(float)), {}, {})",
        "returned next_observations float64 (N, 11), needed is float32 (N, 11)",
    ),
    "NaN": (
        """
        values = np.array(dataset.rewards)
        values[[3, 5]] = np.nan
        return Corrupted(dataset.replace(rewards=values), {'rewards': np.ones(len(values), bool)}, {})
        """,
        "returned rewards with 2 values that are not finite",
    ),
    "infinite": (
        """
        values = np.array(dataset.actions)
        values[3] = -np.inf
        return Corrupted(dataset.replace(actions=values), {'actions': np.ones(len(values), bool)}, {})
        """,
        "returned actions with 3 values that are not finite",
    ),
    "rows outside the mask": (
        """
        rows = np.zeros(len(dataset), bool)
        rows[:5] = True
        return Corrupted(dataset.replace(rewards=dataset.rewards + 1), {'rewards': rows}, {})
        """,
        "changed {N - 5} rows of rewards that its mask does not name",
    ),
    "no mask": (
        "return Corrupted(dataset.replace(actions=-dataset.actions), {}, {})",
        "changed {moved} rows of actions that its mask does not name",
    ),
    "mask of another field": (
        """
        rows = np.ones(len(dataset), bool)
        return Corrupted(dataset.replace(actions=-dataset.actions), {'rewards': rows}, {})
        """,
        "changed {moved} rows of actions that its mask does not name",
    ),
    "mask of numbers": (
        "return Corrupted(dataset, {'rewards': np.ones(len(dataset))}, {})",
        "returned a mask of rewards float64 (N,), needed is bool (N,)",
    ),
    "mask of row numbers": (
        "return Corrupted(dataset, {'rewards': np.arange(3)}, {})",
        "returned a mask of rewards int64 (3,), needed is bool (N,)",
    ),
    "mask of values": (
        "return Corrupted(dataset, {'actions': np.ones(dataset.actions.shape, bool)}, {})",
        "returned a mask of actions bool (N, 3), needed is bool (N,)",
    ),
    "terminations": (
        """
        rows = np.ones(len(dataset), bool)
        return Corrupted(dataset.replace(terminations=~dataset.terminations), {'terminations': rows}, {})
        """,
        "changed terminations, which are never corrupted",
    ),
    "one termination": (
        """
        ends = np.array(dataset.terminations)
        ends[0] = True
        return Corrupted(dataset.replace(terminations=ends), {}, {})
        """,
        "changed 1 rows of terminations that its mask does not name",
    ),
    "writes into its input": (
        "dataset.rewards[:] = 0",
        "raised ValueError: assignment destination is read-only",
    ),
    "adds to its input": (
        """
        rewards = dataset.rewards
        rewards += 1
        """,
        "raised ValueError: output array is read-only",
    ),
    "unlocks its input": (
        """
        dataset.rewards.setflags(write=True)
        dataset.rewards[3] += 1
        return Corrupted(dataset, {}, {})
        """,
        "changed its input: rewards is no longer what it was",
    ),
    "unlocks its input, and the result is sound": (
        """
        sound = self.corrupted(dataset, 'rewards', dataset.rewards + 1.0, self.rows(dataset, streams), {})
        dataset.observations.setflags(write=True)
        dataset.observations[-1, -1] += 1
        return sound
        """,
        "changed its input: observations is no longer what it was",
    ),
    "changes what lies below its input": (
        """
        dataset.actions.base[:] = 0
        return Corrupted(dataset, {}, {})
        """,
        "changed its input: actions is no longer what it was",
    ),
    "puts NaN below its input": (
        """
        dataset.rewards.base[0] = np.nan
        return Corrupted(dataset, {}, {})
        """,
        "changed its input: rewards is no longer what it was",
    ),
    "changes terminations below its input": (
        """
        dataset.terminations.base[:] = True
        return Corrupted(dataset, {}, {})
        """,
        "changed its input: terminations is no longer what it was",
    ),
}


@pytest.mark.parametrize(("body", "message"), BROKEN.values(), ids=BROKEN)
def test_a_corruption_that_breaks_its_contract_is_named(body, message, noise, run, hopper, plan_of, tmp_path, capsys):
    plugin = noise(body)
    code, records, said = run("--plugin", plugin)
    record = only(records)
    clean = plan_of(corrupt="none").dataset
    moved = int((clean.actions != 0).any(axis=1).sum())
    for word, number in (("{N - 5}", len(clean) - 5), ("{moved}", moved), ("(N", f"({len(clean)}")):
        message = message.replace(word, str(number))
    assert record.reason == f"corruption 'my-noise' {message}"
    assert (code, record.outcome, record.step) == (1, "failed", 0)
    assert (record.evaluation, record.score) == (None, None)
    assert record.corruption == {"sha256": None, "audit": {}}
    folder = tmp_path / "out" / record.run_id
    assert {path.name for path in folder.iterdir()} == {"record.json", "timing.json", "manifest.json"}
    assert [path.name for path in folder.parent.iterdir()] == [record.run_id]
    assert re.fullmatch(rf"\S+: [\d,]+ transitions of Hopper-v5, run {record.run_id}\n", said)


def test_the_failure_is_printed(noise, run, small_file, tmp_path, capsys):
    plugin = noise("raise KeyError('the word')")
    words = ["run", "--algo", "bc", "--corrupt", "my-noise", "--dataset", f"file:{small_file}", "--env", "Hopper-v5"]
    assert main([*words, "--plugin", str(plugin), "--out", str(tmp_path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "failed: corruption 'my-noise' raised KeyError: 'the word'" in lines


UNSOUND = {
    "no dataset": "return Corrupted(None, {}, {})",
    "no masks": "return Corrupted(dataset, None, {})",
    "a mask that is a list": "return Corrupted(dataset, {'rewards': [True] * len(dataset)}, {})",
    "no audit": "return Corrupted(dataset, {}, None)",
    "an audit with NaN": "return Corrupted(dataset, {}, {'rew': {'share': float('nan')}})",
    "an audit with an array": "return Corrupted(dataset, {}, {'rew': {'shares': np.ones(3)}})",
    "an audit with a number of numpy's": "return Corrupted(dataset, {}, {'rew': {'share': np.float32(0.5)}})",
    "an audit with a path": "return Corrupted(dataset, {}, {'rew': Path('.')})",
}


@pytest.mark.parametrize("body", UNSOUND.values(), ids=UNSOUND)
def test_whatever_a_corruption_returns_one_whole_record_is_left_and_names_it(body, noise, run):
    code, records, _ = run("--plugin", noise(body))
    record = only(records)
    assert (code, record.outcome) == (1, "failed")
    assert "'my-noise'" in record.reason


# Saying it again


def test_saying_a_failed_run_again_retries_it(noise, run, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    flag = tmp_path / "broken"
    body = f"if Path({str(flag)!r}).exists(): raise RuntimeError('the flag is up')\n{GOOD}"
    plugin = noise(body)
    flag.touch()
    code, records, _ = run("--plugin", plugin)
    failed = only(records)
    assert (code, failed.reason) == (1, "corruption 'my-noise' raised RuntimeError: the flag is up")
    assert not any("again" in message for message in caplog.messages)

    code, records, _ = run("--plugin", plugin)  # it is still broken
    assert (code, only(records).text()) == (1, failed.text())

    flag.unlink()
    code, records, _ = run("--plugin", plugin)
    record = only(records)
    assert (code, record.outcome, record.run_id) == (0, "ok", failed.run_id)
    assert (
        f"{tmp_path / 'out' / record.run_id} holds a run that failed or has no score: trying it again"
        in caplog.messages
    )
    assert [path.name for path in (tmp_path / "out").iterdir()] == [record.run_id]

    flag.touch()  # a finished run stands, and is not tried again
    code, records, _ = run("--plugin", plugin)
    assert (code, only(records).text()) == (0, record.text())


# Files that cannot be loaded


UNLOADABLE = {
    "raises": ("raise ValueError('no luck')", 1, "importing it raised ValueError: no luck"),
    "lacks a package": (
        "import no_such_package",
        1,
        "importing it raised ModuleNotFoundError: No module named 'no_such_package'",
    ),
    "is no Python": ("def (:", 1, r"importing it raised SyntaxError: .+"),
    "exits": ("import sys; sys.exit(0)", 1, "importing it raised SystemExit: 0"),
    "raises with many lines": (r"raise ValueError('one\ntwo')", 1, "importing it raised ValueError: one two"),
}


@pytest.mark.parametrize(("source", "expected", "message"), UNLOADABLE.values(), ids=UNLOADABLE)
@pytest.mark.parametrize(
    "words", [["run", "--algo", "bc", "--corrupt", "none"], ["list", "algos"]], ids=["run", "list"]
)
def test_a_file_that_cannot_be_imported_is_named(words, source, expected, message, tmp_path, capsys):
    plugin = tmp_path / "mine.py"
    plugin.write_text(source)
    try:
        code = main([*words, "--plugin", str(plugin)])
    except SystemExit as error:
        code = f"SystemExit({error.code})"
    assert code == expected
    said = capsys.readouterr()
    assert said.out == ""
    assert re.fullmatch(rf"corruptbench {words[0]}: --plugin {re.escape(str(plugin))}: {message}\n", said.err)


def test_a_file_that_is_no_python_by_name_is_a_usage_error(tmp_path, capsys):
    plugin = tmp_path / "mine.txt"
    plugin.write_text(corruption_source())
    assert main(["list", "algos", "--plugin", str(plugin)]) == 2
    message = f"corruptbench list: --plugin {plugin}: not a Python file (its name must end in .py)\n"
    assert capsys.readouterr().err == message


@pytest.mark.parametrize(
    ("source", "ours", "message"),
    [
        (corruption_source(), "obs-random", "corruption 'obs-random' of {module} is already defined by {owner}.noise"),
        (algorithm_source(), "iql", "algorithm 'iql' of {module} is already defined by {owner}.iql"),
    ],
    ids=["corruption", "algorithm"],
)
def test_a_name_that_a_built_in_has_is_refused(source, ours, message, tmp_path, run):
    plugin = tmp_path / "mine.py"
    plugin.write_text(source.replace("my-noise", ours).replace("my-bc", ours))
    owner = "corruptbench.corruptions" if "random" in ours else "corruptbench.algos"
    code, records, said = run("--plugin", plugin, corrupt="none")
    assert (code, records) == (2, {})
    assert said == f"corruptbench run: {message.format(module=PLUGIN_MODULE + 'mine', owner=owner)}\n"
    assert CORRUPTIONS.get("obs-random").__module__ == "corruptbench.corruptions.noise"
    assert ALGORITHMS.get("iql").__module__ == "corruptbench.algos.iql"


def test_a_name_that_another_plugin_has_is_refused(noise, run):
    first, second = noise(), noise(name="other.py")
    code, records, said = run("--plugin", first, "--plugin", second)
    assert (code, records) == (2, {})
    modules = (f"{PLUGIN_MODULE}other", f"{PLUGIN_MODULE}my_noise")
    assert said == "corruptbench run: corruption 'my-noise' of {} is already defined by {}\n".format(*modules)


SHAPELESS = {
    "function": "@register('my-noise')\ndef noise(dataset, streams, surrogate): ...",
    "class of another kind": "@register('my-noise')\nclass Noise: ...",
    "dataclass of another kind": "@register('my-noise')\n@dataclass(frozen=True)\nclass Noise:\n    rate: float = 0.3",
    "abstract": "@register('my-noise')\n@dataclass(frozen=True)\nclass Noise(Corruption): ...",
    "no default": "@register('my-noise')\n@dataclass(frozen=True, kw_only=True)\nclass Noise(Corruption):\n"
    "    size: int\n    element = 'rew'\n    mode = 'random'\n    def __call__(self, *_): ...",
    "unreadable hint": "@register('my-noise')\n@dataclass(frozen=True)\nclass Noise(Corruption):\n"
    "    size: 'NoSuchType' = 0\n    element = 'rew'\n    mode = 'random'\n    def __call__(self, *_): ...",
    "checks that raise": "@register('my-noise')\n@dataclass(frozen=True)\nclass Noise(Corruption):\n"
    "    element = 'rew'\n    mode = 'random'\n    def __call__(self, *_): ...\n"
    "    def __post_init__(self): raise ValueError('never')",
}


@pytest.mark.parametrize("source", SHAPELESS.values(), ids=SHAPELESS)
def test_what_is_no_corruption_is_one_line_that_names_it(source, tmp_path, run):
    head = "from dataclasses import dataclass\nfrom corruptbench.corruptions import Corruption, register\n"
    plugin = tmp_path / "mine.py"
    plugin.write_text(head + source + "\n")
    assert_named("my-noise", *run("--plugin", plugin, corrupt="my-noise"))


def assert_named(name, code, records, said):
    """Either nothing was run and one line names the plug-in, or one failed record does."""
    if records:
        assert (code, only(records).outcome) == (1, "failed")
        assert name in only(records).reason
    else:
        assert code in (1, 2)
        assert re.fullmatch(rf"corruptbench run: .*{re.escape(name)}.*\n", said)


# An algorithm in a file


@pytest.fixture
def learner(tmp_path):
    """Writes an algorithm's plug-in file and returns its path."""

    def write(**parts):
        path = tmp_path / "my_bc.py"
        path.write_text(algorithm_source(**parts))
        return path

    return write


def test_an_algorithm_in_a_file_runs_with_its_options_and_with_sam(learner, run, tmp_path):
    code, records, _ = run("--plugin", learner(), "--my-bc.power", "4", "--sam", algo="my-bc", corrupt="none")
    record = only(records)
    assert (code, record.outcome, record.step) == (0, "ok", 5)
    spec = record.spec.algorithm
    assert (spec.name, spec.options["power"], spec.options["hidden"]) == ("my-bc", 4, [8])
    assert len(spec.source_sha256) == 64
    assert record.spec.optimizer.on == ("actor",)
    policy = load_weights(tmp_path / "out" / record.run_id / "policy.safetensors")
    assert (policy.agent.name, policy.agent.power) == ("my-bc", 4)


def test_the_same_learner_as_a_plugin_and_built_in_gives_the_same_score(learner, run):
    """The built-in one's actor follows a cosine, which five steps of a declared five do not hide: so must ours."""
    plugin = learner()
    plugin.write_text(plugin.read_text().replace("self.actor_loss),)", "self.actor_loss, cosine=True),)"))
    scores = []
    for algo, more in (("bc", []), ("my-bc", ["--plugin", plugin])):
        code, records, _ = run(*more, algo=algo, corrupt="none")
        assert code == 0
        scores += [record.evaluation["returns"] for record in records.values() if record.spec.algorithm.name == algo]
    assert scores[0] == pytest.approx(scores[1], rel=1e-6)


def test_an_edited_algorithm_is_another_run(learner, plan_of):
    plugin = learner()
    before = plan_of(plugin, algo="my-bc", corrupt="none").spec.run_id
    plugin.write_text(plugin.read_text() + "# edited\n")
    assert plan_of(plugin, algo="my-bc", corrupt="none").spec.run_id != before


def test_an_algorithm_and_its_optimizer_have_two_names(learner, run):
    plugin = learner()
    plugin.write_text(plugin.read_text().replace("my-bc", "gsam"))
    words = "--algo gsam has the name of its optimizer, and --gsam.x could mean either: rename it"
    for more in (["--optimizer", "gsam"], ["--optimizer", "gsam", "--help"]):
        assert run("--plugin", plugin, *more, algo="gsam", corrupt="none") == (2, {}, f"corruptbench run: {words}\n")
    assert run("--plugin", plugin, "--optimizer", "asam", algo="gsam", corrupt="none")[0] == 0


def test_help_lists_the_options_of_a_plugin(learner, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["run", "--algo", "my-bc", "--plugin", str(learner()), "--help"])
    assert ended.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "--my-bc.power POWER [2]" in text
    assert "--my-bc.learning-rate LEARNING_RATE [0.0003]" in text


def test_an_unknown_option_of_a_plugin_gets_the_nearest_right_name(learner, run):
    code, records, said = run("--plugin", learner(), "--my-bc.powr", "4", algo="my-bc", corrupt="none")
    assert (code, records) == ("SystemExit(2)", {})
    assert said == (
        "corruptbench run: unknown option '--my-bc.powr' (did you mean '--my-bc.power'?); see corruptbench run --help\n"
    )


BROKEN_LEARNERS = {
    "loss raises": ({"loss": "raise RuntimeError('the loss broke')"}, "raised RuntimeError: the loss broke"),
    "init raises": ({"init": "raise KeyError('weights')"}, "raised KeyError: 'weights'"),
    "act raises": ({"act": "raise ZeroDivisionError('acting')"}, "raised ZeroDivisionError: acting"),
    "loss exits": ({"loss": "raise SystemExit(0)"}, "raised SystemExit: 0"),
    "loss is no pair": (
        {"loss": "return (mlp(actor, batch.observations) ** 2).mean()"},
        r"raised \w+: .+",
    ),
    "loss has an axis": (
        {"loss": "return (mlp(actor, batch.observations) ** 2).mean(-1), {}"},
        r"raised \w+: .+",
    ),
    "init returns nothing": ({"init": "return None"}, r"raised \w+: .+"),
    "actions of the wrong shape": ({"act": "return torch.zeros(len(observations), 2)"}, r".*\(2, 2\).*\(2, 3\).*"),
    "actions of no kind": ({"act": "return None"}, r"raised \w+: .+"),
}


@pytest.mark.parametrize(("parts", "message"), BROKEN_LEARNERS.values(), ids=BROKEN_LEARNERS)
def test_an_algorithm_that_breaks_is_named_in_one_whole_record(parts, message, learner, run, tmp_path):
    code, records, _ = run("--plugin", learner(**parts), algo="my-bc", corrupt="none")
    record = only(records)
    assert (code, record.outcome) == (1, "failed")
    assert re.fullmatch(f"algorithm 'my-bc' {message}", record.reason)
    assert (record.evaluation, record.score) == (None, None)
    assert not list((tmp_path / "out" / record.run_id).glob("*.safetensors"))


DIVERGING_LEARNERS = {
    "loss": {"loss": "return (mlp(actor, batch.observations) ** 2).mean() * float('nan'), {}"},
    "actions": {"act": "return torch.full((len(observations), 3), float('nan'))"},
}


@pytest.mark.parametrize("parts", DIVERGING_LEARNERS.values(), ids=DIVERGING_LEARNERS)
def test_an_algorithm_that_returns_nan_diverges(parts, learner, run):
    code, records, _ = run("--plugin", learner(**parts), algo="my-bc", corrupt="none")
    assert (code, only(records).outcome) == (1, "diverged")
    assert only(records).reason


def test_a_failed_algorithm_is_tried_again(learner, run, tmp_path):
    flag = tmp_path / "broken"
    lines = f"import pathlib\nif pathlib.Path({str(flag)!r}).exists(): raise RuntimeError('the flag is up')\n{LOSS}"
    plugin = learner(loss=lines)
    flag.touch()
    code, failed, _ = run("--plugin", plugin, algo="my-bc", corrupt="none")
    assert (code, only(failed).outcome) == (1, "failed")
    flag.unlink()
    code, records, _ = run("--plugin", plugin, algo="my-bc", corrupt="none")
    assert (code, only(records).outcome) == (0, "ok")
    assert records.keys() == failed.keys()


# Classes by name


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Writes a module of its own into an importable folder."""

    def write(name, source):
        (tmp_path / "site").mkdir(exist_ok=True)
        (tmp_path / "site" / f"{name}.py").write_text(source)
        monkeypatch.syspath_prepend(tmp_path / "site")
        return name

    return write


def undecorated(source):
    return re.sub(r"(?m)^@register\(.*\)\n", "", source)


def test_a_class_is_named_directly(module, run, plan_of):
    module("cb_test_noise", undecorated(corruption_source()))
    module("cb_test_bc", undecorated(algorithm_source()))
    assert not {"my-noise", "my-bc"} & set(CORRUPTIONS.names() + ALGORITHMS.names())
    algo, corrupt = "cb_test_bc:MyBC", "cb_test_noise:MyNoise"
    code, records, _ = run(f"--{algo}.power", "3", algo=algo, corrupt=f"{corrupt}:rate=0.1,shift=2")
    record = only(records)
    assert (code, record.outcome) == (0, "ok")
    assert (record.spec.algorithm.name, record.spec.algorithm.options["power"]) == (algo, 3)
    assert (record.spec.corruption.name, record.spec.corruption.rate) == (corrupt, 0.1)
    assert len(record.spec.algorithm.source_sha256) == len(record.spec.corruption.source_sha256) == 64
    assert plan_of(algo=algo, corrupt=corrupt).corruption.rate == 0.3


def test_a_class_that_is_named_directly_keeps_the_name_it_has(plan_of, monkeypatch):
    """Whoever names a class does not rename it: its messages and its other users keep the name they know."""
    noise = CORRUPTIONS.get("act-random")
    monkeypatch.setattr(noise, "name", noise.name)  # put back after the test
    planned = plan_of(corrupt="corruptbench.corruptions.noise:ActionNoise:clip=true")
    assert planned.corruption.clip is True
    assert noise.name == "act-random"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_module:Noise", "unknown corruption 'no_such_module:Noise': No module named 'no_such_module'"),
        ("json:Noise", "unknown corruption 'json:Noise': module 'json' has no attribute 'Noise'"),
    ],
)
def test_a_class_that_is_not_there_is_named(name, message, run):
    assert run(corrupt=name) == (2, {}, f"corruptbench run: {message}\n")


@pytest.mark.parametrize("name", ["json:dumps", "cb_test_things:Plain", "cb_test_things:Data"])
@pytest.mark.parametrize("kind", ["algo", "corrupt"])
def test_what_is_no_class_of_the_kind_is_one_line_that_names_it(name, kind, module, run):
    module(
        "cb_test_things",
        "from dataclasses import dataclass\n\n\nclass Plain: ...\n\n\n"
        "@dataclass\nclass Data:\n    hidden: tuple[int, ...] = ()\n    batch_size: int = 1\n    rate: float = 0.3\n",
    )
    assert_named(name, *run(**{"corrupt": "none", kind: name}))


# Installed packages


@pytest.fixture
def installed(module, tmp_path):
    """Makes a distribution with entry points, as an installed package leaves one."""

    def write(name, *points):
        folder = tmp_path / "site" / f"{name}-1.0.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        groups = sorted({group for group, _ in points})
        lines = [f"[{group}]\n" + "\n".join(point for g, point in points if g == group) for group in groups]
        (folder / "entry_points.txt").write_text("\n".join(lines) + "\n")
        importlib.invalidate_caches()

    return write


ALGOS, CORRUPTION_GROUP = "corruptbench.algos", "corruptbench.corruptions"


def test_an_installed_package_brings_corruptions_and_algorithms(module, installed, run, capsys):
    module("cb_test_package", undecorated(corruption_source() + algorithm_source()))
    installed(
        "cb_test_package",
        (CORRUPTION_GROUP, "their-noise = cb_test_package:MyNoise"),
        (ALGOS, "their-bc = cb_test_package:MyBC"),
    )
    code, records, _ = run("--their-bc.power", "3", algo="their-bc", corrupt="their-noise:shift=2")
    record = only(records)
    assert (code, record.outcome) == (0, "ok")
    assert (record.spec.algorithm.name, record.spec.corruption.name) == ("their-bc", "their-noise")
    assert len(record.spec.algorithm.source_sha256) == 64
    assert "--plugin" not in record.command

    for kind, line in (
        ("corruptions", "their-noise  Adds a constant to the rewards."),
        ("algos", "their-bc     Behaviour cloning again."),
    ):
        assert main(["list", kind]) == 0
        assert line in capsys.readouterr().out.splitlines()


def test_an_edited_package_is_another_run(module, installed, plan_of, tmp_path):
    module("cb_test_edited", undecorated(corruption_source()))
    installed("cb_test_edited", (CORRUPTION_GROUP, "their-noise = cb_test_edited:MyNoise"))
    before = plan_of(corrupt="their-noise").spec
    path = tmp_path / "site" / "cb_test_edited.py"
    path.write_text(path.read_text() + "# edited\n")
    after = plan_of(corrupt="their-noise").spec
    assert after.corruption.source_sha256 != before.corruption.source_sha256
    assert after.run_id != before.run_id


def test_a_wrong_name_gets_that_of_an_installed_package(module, installed, run):
    module("cb_test_near", undecorated(corruption_source()))
    installed("cb_test_near", (CORRUPTION_GROUP, "their-noise = cb_test_near:MyNoise"))
    code, _, said = run(corrupt="their-nosie")
    assert code == 2
    assert said.endswith("(did you mean 'their-noise'?)\n")
    assert "their-noise" in said.partition("known are ")[2]


def test_a_built_in_goes_before_an_entry_point_of_its_name(module, installed, plan_of):
    module("cb_test_thief", undecorated(corruption_source()))
    installed("cb_test_thief", (CORRUPTION_GROUP, "obs-random = cb_test_thief:MyNoise"))
    assert plan_of(corrupt="obs-random").spec.corruption.source_sha256 is None
    assert CORRUPTIONS.names().count("obs-random") == 1
    assert "cb_test_thief" not in sys.modules


BROKEN_POINTS = {
    "module": ("cb_test_not_there:Thing", "No module named 'cb_test_not_there'"),
    "attribute": ("json:Thing", "module 'json' has no attribute 'Thing'"),
    "raises": ("cb_test_raises:Thing", "out of order"),
    "no class": ("json:dumps", "corruption 'broken' is not what is needed, a frozen dataclass made from Corruption"),
}


@pytest.mark.parametrize(("value", "message"), BROKEN_POINTS.values(), ids=BROKEN_POINTS)
def test_a_broken_entry_point_is_warned_of_and_stops_nothing_else(
    value, message, module, installed, run, caplog, capsys
):
    module("cb_test_raises", "raise RuntimeError('out of order')\n")
    module("cb_test_sound", undecorated(corruption_source()))
    installed(
        "cb_test_broken",
        (CORRUPTION_GROUP, f"broken = {value}"),
        (CORRUPTION_GROUP, "their-noise = cb_test_sound:MyNoise"),
    )
    assert main(["list", "corruptions"]) == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()[::2]]
    assert "their-noise" in names
    assert "obs-random" in names
    assert "broken" not in names
    assert f"entry point 'broken' of {value} cannot be imported: {message}" in caplog.messages

    code, records, _ = run(corrupt="their-noise")
    assert (code, only(records).outcome) == (0, "ok")
    caplog.clear()
    code, more, said = run(corrupt="broken")
    assert (code, more) == (1, records)
    assert re.fullmatch(r"corruptbench run: corruption 'broken'.*\n", said)
    assert message in said


def test_an_entry_point_that_exits_is_a_broken_one(module, installed, capsys):
    module("cb_test_exits", "import sys\nsys.exit(0)\n")
    installed("cb_test_exits", (CORRUPTION_GROUP, "broken = cb_test_exits:Thing"))
    assert main(["list", "corruptions"]) == 0
    assert "obs-random" in capsys.readouterr().out


# The names themselves


def test_registering_again_from_the_same_place_is_no_clash(noise):
    for _ in range(2):
        load_plugin(noise())
    assert CORRUPTIONS.get("my-noise").__module__ == f"{PLUGIN_MODULE}my_noise"


def test_errors_of_the_registry_are_of_their_kind(tmp_path):
    with pytest.raises(UsageError, match="unknown algorithm 'nothing'"):
        ALGORITHMS.get("nothing")
    broken = tmp_path / "broken.py"
    broken.write_text("1 / 0")
    with pytest.raises(PluginError, match="ZeroDivisionError"):
        load_plugin(broken)


def test_the_sources_of_these_tests_are_what_they_seem(tmp_path):
    """A template that is no Python would make every broken plug-in fail for that alone."""
    for body, _ in BROKEN.values():
        assert ast.parse(corruption_source(body))
    for parts, _ in BROKEN_LEARNERS.values():
        assert ast.parse(algorithm_source(**parts))
    plugin = tmp_path / "mine.py"
    plugin.write_text(corruption_source())
    load_plugin(plugin)
    assert np.isclose(CORRUPTIONS.get("my-noise")().shift, 0.5)
    assert json.dumps(dataclasses.asdict(CORRUPTIONS.get("my-noise")()))
