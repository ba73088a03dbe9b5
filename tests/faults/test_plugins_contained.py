"""A plug-in's corruption that breaks takes its own run with it, by name, and nothing else."""

import contextlib
import dataclasses
import importlib.util
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from builders import random_dataset

from corruptbench import corrupting, surrogates
from corruptbench.algos.iql import IQL
from corruptbench.cli import main
from corruptbench.contract import apply, check
from corruptbench.corrupting import computed_or_cached, corruption_spec, named_corruption
from corruptbench.corruptions import Corrupted, Corruption
from corruptbench.corruptions.noise import ObservationNoise
from corruptbench.errors import PluginError, ResourceError, UsageError
from corruptbench.isolation import importable
from corruptbench.optimizers import Optimizer
from corruptbench.records import read_records
from corruptbench.registry import CORRUPTIONS, load_plugin
from corruptbench.store import check_manifest
from corruptbench.train import Learner
from corruptbench.types import Streams

SEED = 3
LIMIT = 120.0
"""Seconds, where none are to be waited for."""

SOURCE = """
    import ctypes, os, random, subprocess, sys, time
    {imports}
    from dataclasses import dataclass

    import numpy as np

    from corruptbench.corruptions import Corrupted, Corruption, register


    @register("odd")
    @dataclass(frozen=True)
    class Odd(Corruption):
        '''A constant on the rewards.'''

        shift: float = 0.5
        words: tuple[str, ...] = ()

        element = "rew"
        mode = "random"

        def plus(self, dataset, streams, shift, audit={{}}):
            return self.corrupted(dataset, "rewards", dataset.rewards + shift, self.rows(dataset, streams), audit)

        def __call__(self, dataset, streams, surrogate=None):
            {body}
"""


def source(body, imports=""):
    body = textwrap.indent(textwrap.dedent(body).strip(), " " * 12).strip()
    return textwrap.dedent(SOURCE.format(body=body, imports=imports))


@pytest.fixture(autouse=True)
def restored(monkeypatch, tmp_path):
    """The imported modules and the environment are after a test what they were before."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("cb_test_"):
            del sys.modules[name]
    assert not list(tmp_path.glob("corruptbench-*")), "what was handed over is left behind"


@pytest.fixture
def plugin(tmp_path):
    """Writes the plug-in's file, with what its corruption does, and loads it."""

    def write(body, imports=""):
        path = tmp_path / "odd.py"
        path.write_text(source(body, imports))
        load_plugin(path)
        return path

    return write


def computed(text="odd", surrogate=None, timeout=LIMIT):
    name, corruption = named_corruption(text)
    dataset = random_dataset().replace(provenance={"gate": {"seen": 1}})
    spec = corruption_spec(name, corruption, dataset, surrogate)
    return computed_or_cached(corruption, spec, dataset, SEED, surrogate, plugin_timeout=timeout)


def in_this_process(text, surrogate=None):
    name, corruption = named_corruption(text)
    dataset = random_dataset().replace(provenance={"gate": {"seen": 1}})
    return apply(corruption, name, dataset, Streams(SEED), surrogate)


def assert_same(one, other):
    assert one.dataset.sha256 == other.dataset.sha256
    assert one.audit == other.audit
    assert one.masks.keys() == other.masks.keys()
    assert all(np.array_equal(one.masks[field], other.masks[field]) for field in one.masks)


# In processes of their own


@pytest.fixture
def elsewhere(monkeypatch):
    """Fails where a corruption is called in this process."""
    monkeypatch.setattr(corrupting, "apply", lambda *_: pytest.fail("it was called in this process"))


def test_a_sound_plugin_gets_all_it_needs_and_gives_what_it_gives_here(plugin, elsewhere, capfd):
    plugin("""
        print("what it prints")
        audit = {
            "seen": [dataset.id, dataset.environment.id, dataset.provenance["gate"], int(dataset.episodes[-1])],
            "settings": [self.rate, self.shift, self.words == ("a", "b")],
            "threads": os.environ["OMP_NUM_THREADS"],
        }
        return self.plus(dataset, streams, self.shift, audit)
    """)
    here = in_this_process("odd:rate=0.1,shift=0.7")
    capfd.readouterr()
    assert_same(computed("odd:rate=0.1,shift=0.7"), here)
    assert capfd.readouterr() == ("", "what it prints\n")


def test_an_attack_in_a_module_gets_its_surrogate(tmp_path, elsewhere, monkeypatch):
    """A class that is named as ``module:Class``, and whose result needs every bit of the critics."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "cb_test_attack.py").write_text(
        "from dataclasses import dataclass\n\nfrom corruptbench.corruptions.attack import ActionAttack\n\n\n"
        "@dataclass(frozen=True)\nclass Mine(ActionAttack):\n    '''Another.'''\n"
    )
    monkeypatch.syspath_prepend(tmp_path / "site")
    learner = Learner(IQL(hidden=(16, 8)), Optimizer(), random_dataset(), seed=1, steps=1, engine="eager")
    surrogate = surrogates.TrainedCritics(learner.policy(), "0" * 64)
    text = "cb_test_attack:Mine:rate=0.2,clip=true"
    assert_same(computed(text, surrogate), in_this_process(text, surrogate))


def test_where_a_fresh_process_cannot_find_a_class_it_runs_here(monkeypatch):
    class Hidden(ObservationNoise):
        """Its module would be found, and it is not in it."""

    made_here = type("ObservationNoise", (ObservationNoise,), {"__module__": __name__})
    assert [importable(cls) for cls in (Hidden, made_here)] == [False] * 2
    assert importable(ObservationNoise)
    assert importable(Declared)
    name, built_in = named_corruption("obs-random")
    dataset = random_dataset()
    spec = dataclasses.replace(corruption_spec(name, built_in, dataset, None), source_sha256="0" * 64)
    monkeypatch.setattr(corrupting, "apply_isolated", lambda *_: pytest.fail("it was given processes"))
    assert_same(computed_or_cached(Hidden(), spec, dataset, SEED, None), built_in(dataset, Streams(SEED)))


BROKEN = {
    "raises": ("raise KeyError('the word')", "raised KeyError: 'the word'"),
    "interrupts": ("raise KeyboardInterrupt", "raised KeyboardInterrupt: "),
    "exits": ("sys.exit(0)", "raised SystemExit: 0"),
    "leaves": ("print('farewell'); sys.stdout.flush(); os._exit(0)",
               "ended its process with exit code 0 before it returned; it last wrote: farewell"),
    "crashes": ("ctypes.string_at(0)", "was ended by SIGSEGV before it returned"),
    "aborts": ("os.abort()", "was ended by SIGABRT before it returned"),
    "asks": ("input()", "raised EOFError: EOF when reading a line"),
    "hangs": ("time.sleep(60)", "was still running after 2 seconds, which --plugin-timeout allows"),
    "hangs for one": (
        "time.sleep(60 * int(os.environ['PYTHONHASHSEED'] == '2')); return self.plus(dataset, streams, 1)",
        "was still running after 2 seconds, which --plugin-timeout allows",
    ),
    "changes its input": (
        "dataset.rewards.base[:] = 0; return self.plus(dataset, streams, 1)",
        "changed its input: rewards is no longer what it was",
    ),
    "returns NaN": (
        "return self.plus(dataset, streams, np.nan)",
        r"returned rewards with \d+ values that are not finite",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("body", "message"), BROKEN.values(), ids=BROKEN)
def test_whatever_a_plugin_does_is_an_error_that_names_it(body, message, plugin):
    plugin(body)
    with pytest.raises(PluginError) as raised:
        computed(timeout=2 if "2 seconds" in message else LIMIT)
    assert re.fullmatch(f"corruption 'odd' {message}", str(raised.value))


UNSTEADY = {
    "time": ("return self.plus(dataset, streams, time.time_ns() % 10**6)", "rows of rewards differ"),
    "order of hashes": (
        "return self.plus(dataset, streams, float(''.join({'1', '2', '3', '4', '5', '6'})))",
        "rows of rewards differ",
    ),
    "numpy's global state": ("return self.plus(dataset, streams, np.random.uniform())", "rows of rewards differ"),
    "random's": (
        "return self.corrupted(dataset, 'rewards', dataset.rewards, np.array([random.random() < 0.3 for _ in "
        "dataset.rewards]), {})",
        "rows of the mask of rewards differ",
    ),
    "torch's": ("return self.plus(dataset, streams, float(torch.rand(())))", "rows of rewards differ"),
    "audit": ("return self.plus(dataset, streams, 1, {'seconds': time.perf_counter()})", "the audits differ"),
}


@pytest.mark.parametrize(("body", "message"), UNSTEADY.values(), ids=UNSTEADY)
def test_two_results_are_none(body, message, plugin):
    plugin(body, "import torch" if "torch" in body else "")
    with pytest.raises(PluginError) as raised:
        computed()
    beginning = r"corruption 'odd' gave two results in two processes: (\d+ )?"
    assert re.fullmatch(beginning + message, str(raised.value))


def test_an_error_of_ours_keeps_its_kind(plugin):
    """An attack without a surrogate is a wrong command, also where another process says so."""
    plugin("self.needed(surrogate, dataset)")
    with pytest.raises(UsageError, match="odd needs a surrogate, and dataset 'test:random' came with none"):
        computed()


def test_a_lack_of_memory_is_no_outcome_of_a_run(plugin):
    plugin("raise MemoryError")
    with pytest.raises(ResourceError, match=r"^not enough memory: MemoryError: $"):
        computed()


def test_a_plugin_that_is_edited_while_the_run_is_under_way_fails(plugin):
    path = plugin("return self.plus(dataset, streams, 1)")
    path.write_text(path.read_text() + "# edited\n")
    with pytest.raises(PluginError) as raised:
        computed()
    assert str(raised.value) == "corruption 'odd': its source changed while the run was under way"


def test_a_crash_leaves_a_whole_failed_record(plugin, small_file, tmp_path, capsys):
    path, out = plugin("ctypes.string_at(0)"), tmp_path / "out"
    words = ["run", "--algo", "bc", "--dataset", f"file:{small_file}", "--env", "Hopper-v5", "--out", str(out)]
    assert main([*words, "--plugin", str(path), "--corrupt", "odd"]) == 1
    (record,) = read_records(out)
    reason = "corruption 'odd' was ended by SIGSEGV before it returned"
    assert (record.outcome, record.reason) == ("failed", reason)
    assert f"failed: {reason}\n" in capsys.readouterr().out
    check_manifest(out / record.run_id)


def test_a_class_of_the_program_itself_is_none_that_a_fresh_process_finds(tmp_path, monkeypatch):
    """As in ``python FOLDER``, whose ``__main__.py`` would be found, and is another module in another process."""
    path = tmp_path / "__main__.py"
    path.write_text("class Mine: ...\n")
    spec = importlib.util.spec_from_file_location("__main__", path)
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "__main__", program)
        patch.syspath_prepend(tmp_path)
        assert not importable(program.Mine)


def alive(pid):
    """Whether a process runs; one that nobody has waited for does not."""
    with contextlib.suppress(OSError):
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat")
        return not state.exists() or state.read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL and process groups")
def test_children_end_with_their_parent_however_it_ends(tmp_path):
    """The parent is killed; both children, and what they started, are gone within seconds."""
    path = tmp_path / "odd.py"
    path.write_text(
        source(f"""
            started = subprocess.Popen(["sleep", "600"])
            path = {str(tmp_path)!r} + f"/{{os.getpid()}}.pids"
            with open(path + "~", "w") as file:
                file.write(f"{{os.getpid()}} {{started.pid}}")
            os.rename(path + "~", path)
            time.sleep(600)
        """)
    )
    script = (
        "import sys, pathlib\nsys.path[:0] = sys.argv[2:]\nimport test_plugins_contained as tests\n"
        "tests.load_plugin(pathlib.Path(sys.argv[1]))\ntests.computed()\n"
    )
    folders = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]
    environment = {**os.environ, "TMPDIR": str(tmp_path / "parent")}
    (tmp_path / "parent").mkdir()
    parent = subprocess.Popen([sys.executable, "-c", script, str(path), *folders], env=environment)
    pids = []
    try:
        until = time.monotonic() + LIMIT
        while len(list(tmp_path.glob("*.pids"))) < 2 and time.monotonic() < until and parent.poll() is None:
            time.sleep(0.05)
        pids = [int(pid) for found in tmp_path.glob("*.pids") for pid in found.read_text().split()]
        assert len(pids) == 4
        assert all(map(alive, pids))
        parent.kill()
        parent.wait()
        until = time.monotonic() + 10
        while any(map(alive, pids)) and time.monotonic() < until:
            time.sleep(0.05)
        assert not any(map(alive, pids))
    finally:
        parent.kill()
        parent.wait()
        for pid in filter(alive, pids):
            os.kill(pid, signal.SIGKILL)


def verbs(small_file, tmp_path):
    data = ["--env", "Hopper-v5"]
    named = ["--dataset", f"file:{small_file}", *data]
    return {
        "run": ["run", "--algo", "bc", *named, "--out", str(tmp_path / "out")],
        "corrupt": ["corrupt", *named, "--out", str(tmp_path / "out.hdf5")],
        "data": ["data", "info", f"file:{small_file}", *data],
    }


@pytest.mark.parametrize("verb", ["run", "corrupt", "data"])
def test_the_time_limit_is_an_option(verb, plugin, small_file, tmp_path, monkeypatch, capsys):
    path, found = plugin("pass"), []

    def isolated(*arguments):
        found.append(arguments[-1])
        raise PluginError("it was asked for")

    monkeypatch.setattr(corrupting, "apply_isolated", isolated)
    words = [*verbs(small_file, tmp_path)[verb], "--plugin", str(path), "--corrupt", "odd"]
    assert main(words) == 1
    assert main([*words, "--plugin-timeout", "7.5"]) == 1
    assert found == [3600, 7.5]
    capsys.readouterr()
    for wrong in ("0", "nan"):
        assert main([*words, "--plugin-timeout", wrong]) == 2
        message = f"--plugin-timeout is {wrong}, allowed is any number of seconds above 0"
        assert capsys.readouterr().err == f"corruptbench {verb}: {message}\n"


# What is checked of a result, in whatever process it was made


class Declared(Corruption):
    """A corruption that returns what it is given; what it declares is changed by each test."""

    name = "declared"
    element = "obs"
    mode = "random"
    result: Corrupted

    def __call__(self, dataset, streams, surrogate=None):
        raise NotImplementedError


def declared(rate=0.3, **words):
    return type("Declared", (Declared,), words)(rate=rate)


def touched(dataset, rows, by=0.01, field="observations"):
    mask = np.zeros(len(dataset), bool)
    mask[rows] = True
    values = np.array(getattr(dataset, field))
    values[mask] += by
    return Corrupted(dataset.replace(**{field: values}), {field: mask}, {})


def refused(corruption, result, dataset):
    with pytest.raises(PluginError) as raised:
        check(corruption, dataset, result, "it")
    return str(raised.value)


def test_a_field_that_is_not_declared_is_refused():
    dataset = random_dataset()
    rows = slice(0, 120)
    along = touched(dataset, rows, field="next_observations")
    assert refused(declared(), along, dataset) == (
        "it touched 120 rows of next_observations, and its class declares observations"
    )
    check(declared(element="dyn"), dataset, along, "it")
    check(declared(fields=("observations", "next_observations")), dataset, along, "it")
    for element in ("mix", "sensor"):  # any field
        check(declared(element=element), dataset, along, "it")
    none = CORRUPTIONS.get("none")()
    assert refused(none, along, dataset) == "it touched 120 rows of next_observations, and its class declares no field"


def test_a_name_that_is_no_field_is_refused_with_the_nearest():
    dataset = random_dataset()
    sound = touched(dataset, slice(0, 120))
    known = "known are observations, actions, rewards, next_observations (did you mean 'rewards'?)"
    assert refused(declared(fields=("reward",)), sound, dataset) == f"it declares a field 'reward': {known}"
    assert refused(declared(radii={"reward": 1}), sound, dataset) == f"it declares a field 'reward': {known}"
    masks = {**sound.masks, "action": sound.masks["observations"]}
    message = "it returned a mask of 'action', which is no field (did you mean 'actions'?)"
    assert refused(declared(), Corrupted(sound.dataset, masks, {}), dataset) == message


@pytest.mark.parametrize("what", ["episodes", "id", "environment"])
def test_what_the_dataset_is_called_and_where_episodes_end_stay(what):
    dataset = random_dataset()
    other = {"episodes": dataset.episodes + 1, "id": "mine", "environment": type(dataset.environment)("Mine-v0", "")}
    changed = touched(dataset.replace(**{what: other[what]}), slice(0, 120))
    said = "episodes" if what == "episodes" else "the dataset's id or environment"
    assert refused(declared(), changed, dataset) == f"it changed {said}, which are never corrupted"


@pytest.mark.parametrize(("rate", "fewest", "most"), [(0.3, 60, 180), (0.0, 0, 0), (1.0, 400, 400), (0.001, 0, 10)])
def test_the_share_of_touched_rows_is_what_luck_allows(rate, fewest, most):
    """Six standard deviations of a binomial draw and six rows; no luck where nothing or everything is drawn."""
    dataset = random_dataset(400)
    corruption = declared(rate)
    for count in (fewest, most):
        check(corruption, dataset, touched(dataset, slice(0, count)), "it")
    if most < 400:
        said = f"it touched {most + 1} of 400 rows of observations, too many for a rate of {rate}"
        assert refused(corruption, touched(dataset, slice(0, most + 1)), dataset) == said
    if fewest:
        said = f"it touched {fewest - 1} of 400 rows, too few for a rate of {rate}"
        assert refused(corruption, touched(dataset, slice(0, fewest - 1)), dataset) == said
    check(declared(rate, rated=False), dataset, touched(dataset, slice(0, 200)), "it")


def test_fields_are_touched_at_the_rate_together_or_each():
    """A mixture may touch other rows of each field, as many as the rate says in all or of each."""
    dataset = random_dataset(400)
    one, other = touched(dataset, slice(0, 120)), touched(dataset, slice(120, 240), field="actions")
    both = dataset.replace(observations=one.dataset.observations, actions=other.dataset.actions)
    result = Corrupted(both, {**one.masks, **other.masks}, {})
    for rate in (0.3, 0.6):
        check(declared(rate, element="mix"), dataset, result, "it")
    assert refused(declared(0.1, element="mix"), result, dataset).startswith("it touched 120 of 400 rows of obs")
    assert refused(declared(0.9, element="mix"), result, dataset).startswith("it touched 240 of 400 rows, too few")


def test_a_bound_is_kept_to_the_last_bits():
    dataset = random_dataset(400)
    std = dataset.observations.astype(np.float64).std(0)
    bounded = declared(radii={"observations": 0.5})
    check(bounded, dataset, touched(dataset, slice(0, 120), (0.5 * std).astype(np.float32)), "it")
    far = touched(dataset, slice(0, 120), (0.5001 * std).astype(np.float32))
    assert refused(bounded, far, dataset) == (
        "it moved observations by up to 0.5001 standard deviations, and its class declares 0.5"
    )
    check(declared(), dataset, far, "it")
    constant = dataset.replace(observations=np.ones_like(dataset.observations))
    moved = touched(constant, slice(0, 120))
    assert "by up to inf standard deviations" in refused(bounded, moved, constant)
