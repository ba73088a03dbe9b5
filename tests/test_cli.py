"""The command line: every wrong input is one line on standard error and an exit code, before anything is trained."""

import dataclasses
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from corruptbench import attempt, settings
from corruptbench import run as running
from corruptbench.cli import main
from corruptbench.cli import run as verb
from corruptbench.corruptions.auto import ENSEMBLES
from corruptbench.optimizers import OPTIMIZERS
from corruptbench.registry import ALGORITHMS, CORRUPTIONS
from corruptbench.request import RunRequest, preset
from corruptbench.settings import names

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
KNOWN_CORRUPTIONS = (
    "act-adv, act-gauss, act-inflate, act-random, act-swap, act-targeted, act-zero, dyn-adv, dyn-gauss, dyn-inflate, "
    "dyn-random, dyn-swap, dyn-targeted, dyn-zero, mix-adv, mix-random, none, obs-adv, obs-gauss, obs-inflate, "
    "obs-random, obs-swap, obs-targeted, obs-zero, rew-adv, rew-random, rew-swap, rew-targeted, rew-zero"
)


@pytest.fixture(autouse=True)
def restored_threads(monkeypatch):
    """``main`` fixes the number of threads in the environment; other tests keep theirs."""
    for name in THREAD_VARIABLES:
        monkeypatch.setenv(name, "1")


@pytest.fixture
def untrained(monkeypatch):
    """Fails as soon as anything is about to be corrupted or trained."""

    def trained(*arguments, **settings):
        pytest.fail("a run began")

    for module, name in ((attempt, "computed_or_cached"), (attempt, "Learner"), (running, "with_surrogate")):
        monkeypatch.setattr(module, name, trained)


@pytest.fixture
def options(monkeypatch):
    """Maps arguments of ``run`` to what was parsed, without running it."""

    def parsed(*arguments):
        found = []
        with monkeypatch.context() as patch:
            patch.setattr(verb, "run", lambda namespace, arguments: found.append(namespace) or 0)
            assert main(["run", *map(str, arguments)]) == 0
        return found[0]

    return parsed


@pytest.fixture
def request_of(options):
    """Maps arguments of ``run`` to the request that they stand for."""
    return lambda *arguments: verb.request_of(options(*arguments))


def call(*arguments):
    """The exit code, whether it was returned or raised as argparse does."""
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as error:
        return error.code


def said(capsys):
    """Standard error, and nothing on standard output."""
    output = capsys.readouterr()
    assert output.out == ""
    return output.err


def fresh(code_or_module, *arguments, **settings):
    return subprocess.run(
        [sys.executable, *code_or_module, *arguments], capture_output=True, text=True, check=True, **settings
    )


# Wrong names


UNKNOWN = {
    "verb": (
        ["rnu"],
        "corruptbench: unknown verb 'rnu': known are run, sweep, leaderboard, sharpness, landscape, data, corrupt, "
        "list, verify, bench (did you mean 'run'?)",
    ),
    "algorithm": (
        ["run", "--algo", "rqil", "--corrupt", "none"],
        "corruptbench run: unknown algorithm 'rqil': known are bc, iql, riql (did you mean 'riql'?)",
    ),
    "algorithm far from all": (
        ["run", "--algo", "zzzzzz", "--corrupt", "none"],
        "corruptbench run: unknown algorithm 'zzzzzz': known are bc, iql, riql",
    ),
    "algorithm in a module that is not there": (
        ["run", "--algo", "no_such_module:Mine", "--corrupt", "none"],
        "corruptbench run: unknown algorithm 'no_such_module:Mine': No module named 'no_such_module'",
    ),
    "threat model": (
        ["run", "--algo", "iql", "--corrupt", "obs-rnd"],
        f"corruptbench run: unknown corruption 'obs-rnd': known are {KNOWN_CORRUPTIONS} (did you mean 'obs-random'?)",
    ),
    "threat model's option": (
        ["run", "--algo", "iql", "--corrupt", "act-random:rat=0.1"],
        "corruptbench run: --corrupt act-random: unknown option 'rat': known are clip, rate, scale "
        "(did you mean 'rate'?)",
    ),
    "option": (
        ["run", "--algo", "iql", "--corrupt", "none", "--stepz", "3"],
        "corruptbench run: unknown option '--stepz' (did you mean '--steps'?); see corruptbench run --help",
    ),
    "option with =": (
        ["run", "--algo", "iql", "--corrupt", "none", "--stepz=3"],
        "corruptbench run: unknown option '--stepz' (did you mean '--steps'?); see corruptbench run --help",
    ),
    "abbreviated option": (
        ["run", "--algo", "iql", "--corrupt", "none", "--step", "3"],
        "corruptbench run: unknown option '--step' (did you mean '--steps'?); see corruptbench run --help",
    ),
    "algorithm's option": (
        ["run", "--algo", "iql", "--corrupt", "none", "--iql.expectil", "0.3"],
        "corruptbench run: unknown option '--iql.expectil' (did you mean '--iql.expectile'?); "
        "see corruptbench run --help",
    ),
    "other algorithm's option": (
        ["run", "--algo", "iql", "--corrupt", "none", "--riql.beta", "0.3"],
        "corruptbench run: unknown option '--riql.beta': it needs --algo riql; see corruptbench run --help",
    ),
    "optimizer": (
        ["run", "--algo", "iql", "--corrupt", "none", "--optimizer", "samm"],
        "corruptbench run: unknown optimizer 'samm': known are adam, asam, double, esam, fsam, gsam, half, looksam, "
        "matched, msam, random, sam, swa, wd (did you mean 'sam'?)",
    ),
    "optimizer's option": (
        ["run", "--algo", "iql", "--corrupt", "none", "--optimizer", "gsam", "--gsam.alpa", "0.3"],
        "corruptbench run: unknown option '--gsam.alpa' (did you mean '--gsam.alpha'?); see corruptbench run --help",
    ),
    "other optimizer's option": (
        ["run", "--algo", "iql", "--corrupt", "none", "--sam", "--gsam.alpha", "0.3"],
        "corruptbench run: unknown option '--gsam.alpha': it needs --optimizer gsam; see corruptbench run --help",
    ),
    "option of neither": (
        ["run", "--algo", "iql", "--corrupt", "none", "--sam", "--gsam.alpa", "0.3"],
        "corruptbench run: unknown option '--gsam.alpa' (did you mean '--gsam.alpha'?); see corruptbench run --help",
    ),
    "option of an optimizer without any": (
        ["run", "--algo", "iql", "--corrupt", "none", "--optimizer", "matched", "--matched.steps", "3"],
        "corruptbench run: unknown option '--matched.steps'; see corruptbench run --help",
    ),
    "preset": (
        ["run", "--algo", "riql", "--corrupt", "none", "--preset", "riql-orcale"],
        "corruptbench run: unknown preset 'riql-orcale': known are riql-oracle (did you mean 'riql-oracle'?)",
    ),
    "environment": (
        ["run", "--algo", "iql", "--corrupt", "none", "--env", "Hoper-v5"],
        "corruptbench run: --env 'Hoper-v5' is no Gymnasium environment (did you mean 'Hopper-v5'?)",
    ),
    "objective": (
        ["run", "--algo", "iql", "--corrupt", "none", "--sam", "--sam-on", "V,Qq"],
        "corruptbench run: --sam-on 'Qq': iql has the objectives V, Q, actor (did you mean 'Q'?)",
    ),
    "option of list": (
        ["list", "algos", "--plugn", "x.py"],
        "corruptbench list: unknown option '--plugn' (did you mean '--plugin'?); see corruptbench list --help",
    ),
    "suite": (
        ["leaderboard", "build", "--suite", "cor", "--out", "out"],
        "corruptbench leaderboard: unknown suite 'cor': known are core, d4rl, flatness, flatness-controls, "
        "flatness-radius, flatness-variants, flatness-where, full, severity, smoke, tiny "
        "(did you mean 'core'?)",
    ),
}


@pytest.mark.parametrize(("arguments", "message"), UNKNOWN.values(), ids=UNKNOWN)
def test_an_unknown_name_is_one_line_with_the_nearest_right_one(
    arguments, message, tmp_path, monkeypatch, capsys, untrained
):
    monkeypatch.chdir(tmp_path)
    assert call(*arguments) == 2
    assert said(capsys) == message + "\n"


def test_an_unknown_dataset_is_one_line_with_the_nearest_right_one(tmp_path, capsys, untrained):
    assert call("run", "--algo", "iql", "--corrupt", "none", "--dataset", "hopper-repaly", "--out", tmp_path) == 2
    found = re.fullmatch(
        r"corruptbench run: unknown dataset 'hopper-repaly': known are (.*) \(did you mean 'hopper-replay'\?\)\n",
        said(capsys),
    )
    assert found
    assert "hopper-replay" in found[1].split(", ")


@pytest.mark.parametrize(
    ("arguments", "nearest"),
    [
        (["data", "collect", "--env", "Hopper-v5", "--name", "x", "--out", "x", "--sead", "3"], "--seed"),
        (["leaderboard", "build", "--out", "x", "--reckords", "y"], "--records"),
    ],
    ids=["data collect", "leaderboard build"],
)
def test_an_unknown_option_of_a_verb_below_a_verb_gets_its_own_nearest_name(arguments, nearest, capsys):
    assert call(*arguments) == 2
    verb = re.escape(" ".join(arguments[:2]))
    assert re.fullmatch(
        rf"corruptbench ({verb}|{arguments[0]}): unknown option '{arguments[-2]}' \(did you mean '{nearest}'\?\)"
        rf"; see corruptbench ({verb}|{arguments[0]}) --help\n",
        said(capsys),
    )


def test_the_built_in_names_that_messages_list_are_those_of_the_registries(capsys):
    """An entry point of an installed package would change the lists above."""
    assert ALGORITHMS.names() == ["bc", "iql", "riql"]
    assert CORRUPTIONS.names() == KNOWN_CORRUPTIONS.split(", ")


# Wrong values


WRONG = {
    "rate above 1": (["--corrupt", "obs-random:rate=1.5"], "obs-random: rate is 1.5, allowed is 0 to 1"),
    "rate below 0": (["--corrupt", "rew-adv:rate=-0.1"], "rew-adv: rate is -0.1, allowed is 0 to 1"),
    "rate of none": (["--corrupt", "none:rate=2"], "none: rate is 2.0, allowed is 0 to 1"),
    "rate of an attack": (["--corrupt", "obs-adv:rate=2"], "obs-adv: rate is 2.0, allowed is 0 to 1"),
    "rate not a number": (
        ["--corrupt", "obs-random:rate=nan"],
        "--corrupt obs-random: rate is 'nan', needed is a finite number",
    ),
    "rate not numeric": (
        ["--corrupt", "obs-random:rate=often"],
        "--corrupt obs-random: rate is 'often', needed is a value of type float",
    ),
    "scale 0": (["--corrupt", "obs-random:scale=0"], "obs-random: scale is 0.0, allowed is any number above 0"),
    "scale below 0": (["--corrupt", "mix-random:scale=-1"], "mix-random: scale is -1.0, allowed is any number above 0"),
    "scale infinite": (
        ["--corrupt", "obs-random:scale=inf"],
        "--corrupt obs-random: scale is 'inf', needed is a finite number",
    ),
    "setting twice": (
        ["--corrupt", "obs-random:rate=0.1,rate=0.2"],
        "--corrupt 'obs-random:rate=0.1,rate=0.2': 'rate=0.2' is not name=value, once each, with commas between",
    ),
    "setting without a value": (
        ["--corrupt", "obs-random:rate=0.1,scale"],
        "--corrupt 'obs-random:rate=0.1,scale': 'scale' is not name=value, once each, with commas between",
    ),
    "bool that is none": (
        ["--corrupt", "act-random:clip=1"],
        "--corrupt act-random: clip is '1', allowed are true and false",
    ),
    "zero steps": (["--steps", "0"], "--steps is 0, allowed is 1 and above"),
    "steps below 0": (["--steps", "-5"], "--steps is -5, allowed is 1 and above"),
    "steps not whole": (["--steps", "1.5"], "argument --steps: invalid int value: '1.5'"),
    "no value": (["--steps"], "argument --steps: expected one argument"),
    "no algorithm's name": (["--algo"], "argument --algo: expected one argument"),
    "option of the wrong type": (
        ["--iql.expectile", "high"],
        "--algo iql: expectile is 'high', needed is a value of type float",
    ),
    "option not whole": (["--iql.batch-size", "1.5"], "--algo iql: batch_size is '1.5', needed is a value of type int"),
    "option not all numbers": (["--iql.hidden", "16,x"], "--algo iql: hidden is 'x', needed is a value of type int"),
    "threads": (["--threads", "0"], "--threads is 0, allowed is 1 and above"),
    "workers": (["--workers", "0"], "--workers is 0, allowed is 1 and above"),
    "rho 0": (["--sam", "--rho", "0"], "--rho is 0.0, allowed is any number above 0"),
    "rho below 0": (["--sam", "--rho", "-0.1"], "--rho is -0.1, allowed is any number above 0"),
    "rho nan": (["--sam", "--rho", "nan"], "--rho is nan, allowed is any number above 0"),
    "rho infinite": (["--sam", "--rho", "inf"], "--rho is inf, allowed is any number above 0"),
    "rho without SAM": (["--rho", "0.1"], "--rho is the radius of SAM: add --sam"),
    "rho with Adam": (["--rho", "0.1", "--optimizer", "adam"], "--rho is the radius of SAM: add --sam"),
    "objectives without SAM": (["--sam-on", "V"], "--sam-on names objectives for SAM: add --sam"),
    "an objective twice": (["--sam", "--sam-on", "V,V"], "--sam-on names 'V' twice"),
    "radius of an optimizer without": (
        ["--optimizer", "wd", "--rho", "0.1"],
        "--rho is a radius, and --optimizer wd has none: those that do are sam, asam, gsam, fsam, msam, looksam, esam, "
        "random",
    ),
    "objectives of more updates": (
        ["--optimizer", "matched", "--sam-on", "V"],
        "--sam-on makes no sense with --optimizer matched, which is on all objectives alike",
    ),
    "optimizer's option of the wrong type": (
        ["--optimizer", "gsam", "--gsam.alpha", "high"],
        "--optimizer gsam: alpha is 'high', needed is a value of type float",
    ),
    "optimizer's option out of range": (
        ["--optimizer", "swa", "--swa.start", "1"],
        "--swa.start is 1.0, allowed is 0 and above, and under 1",
    ),
    "one step of half": (
        ["--optimizer", "half", "--steps", "1"],
        "--steps is 1, and with --optimizer half allowed is 2 and above",
    ),
    "two optimizers": (["--sam", "--optimizer", "adam"], "--sam and --optimizer adam contradict each other"),
    "seed alone": (["--seed", "3"], "--seed and --corruption-seed belong together: give both, or --unit"),
    "corruption seed alone": (
        ["--corruption-seed", "3"],
        "--seed and --corruption-seed belong together: give both, or --unit",
    ),
    "unit and seeds": (
        ["--unit", "1", "--seed", "3", "--corruption-seed", "4"],
        "--unit stands for both seeds: say --unit, or --seed and --corruption-seed",
    ),
    "unit and a seed": (
        ["--unit", "0", "--seed", "3"],
        "--unit stands for both seeds: say --unit, or --seed and --corruption-seed",
    ),
    "unit below 0": (["--unit", "-1"], "--unit is -1, allowed is 0 and above"),
    "seed below 0": (["--seed", "-1", "--corruption-seed", "2"], "--seed is -1, allowed is 0 and above"),
    "corruption seed below 0": (
        ["--seed", "1", "--corruption-seed", "-2"],
        "--corruption-seed is -2, allowed is 0 and above",
    ),
    "quick and steps": (["--quick", "--steps", "3"], "--quick and --steps contradict each other"),
    "preset of another algorithm": (
        ["--preset", "riql-oracle"],
        "--preset riql-oracle belongs to riql, not to iql",
    ),
    "one reference": (
        ["--env", "Hopper-v5", "--ref-min", "3"],
        "--ref-min and --ref-max belong together: give both or none",
    ),
    "references in the wrong order": (
        ["--env", "Hopper-v5", "--ref-min", "3", "--ref-max", "1"],
        "--ref-min 3.0 and --ref-max 1.0: the first must be the lower one",
    ),
    "reference not a number": (
        ["--env", "Hopper-v5", "--ref-min", "nan", "--ref-max", "1"],
        "--ref-min nan and --ref-max 1.0: the first must be the lower one",
    ),
}


@pytest.mark.parametrize(("arguments", "message"), WRONG.values(), ids=WRONG)
def test_a_wrong_value_is_said_before_anything_is_trained(arguments, message, tmp_path, capsys, untrained):
    usual = [] if "--algo" in arguments else ["--algo", "iql"]
    usual += [] if "--corrupt" in arguments else ["--corrupt", "none"]
    assert call("run", *usual, "--out", tmp_path / "out", *arguments) == 2
    assert said(capsys) == f"corruptbench run: {message}\n"
    assert not list(tmp_path.glob("out/*"))


def test_a_file_whose_environment_nobody_knows_is_refused_as_data(tmp_path, capsys, untrained):
    named = ("run", "--algo", "iql", "--corrupt", "none", "--dataset", "file:data.hdf5", "--out", tmp_path / "out")
    assert call(*named) == 3
    expected = "--dataset file:data.hdf5: a file needs the environment it belongs to, as --env Hopper-v5"
    assert said(capsys) == f"corruptbench run: {expected}\n"


@pytest.mark.parametrize("arguments", [[], ["--algo", "iql"], ["--corrupt", "none"]], ids=" ".join)
def test_a_run_without_algorithm_or_threat_model_says_how_one_is_spelled(arguments, capsys):
    assert call("run", *arguments) == 2
    assert said(capsys) == (
        "corruptbench run: --algo and --corrupt say what to run, as in --algo riql --sam --corrupt obs-adv\n"
    )


@pytest.mark.parametrize("arguments", [["data"], ["leaderboard"], ["list"]], ids=" ".join)
def test_a_verb_without_what_it_needs_is_one_line(arguments, capsys):
    assert call(*arguments) == 2
    assert re.fullmatch(rf"corruptbench {arguments[0]}: .+\n", said(capsys))


def test_a_thread_count_that_is_no_number_is_one_line(tmp_path):
    """In a process of its own, where OpenMP would complain about its variable too."""
    done = subprocess.run(
        [sys.executable, "-m", "corruptbench", "run", "--algo", "iql", "--corrupt", "none", "--threads", "two"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 2
    assert done.stderr == "corruptbench run: argument --threads: invalid int value: 'two'\n"


@pytest.mark.parametrize("below", ["", "results"], ids=["a file", "below a file"])
def test_an_unwritable_out_is_said_before_anything_is_trained(below, tmp_path, capsys, monkeypatch, untrained):
    occupied = tmp_path / "occupied"
    occupied.write_text("here already")
    out = occupied / below
    monkeypatch.setattr(running, "load", lambda *_: pytest.fail("the data were read"))
    assert call("run", "--algo", "iql", "--corrupt", "none", "--out", out) == 5
    reason = "Not a directory" if below else "File exists"
    assert said(capsys) == f"corruptbench run: --out {out}: cannot be written to: {reason}\n"
    assert occupied.read_text() == "here already"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root writes everywhere")
def test_an_out_without_permission_is_said_before_anything_is_trained(tmp_path, capsys, untrained):
    out = tmp_path / "locked"
    out.mkdir(mode=0o500)
    assert call("run", "--algo", "iql", "--corrupt", "none", "--out", out) == 5
    assert said(capsys) == f"corruptbench run: --out {out}: cannot be written to: Permission denied\n"


def test_a_missing_data_file_is_named(tmp_path, capsys, untrained):
    missing = tmp_path / "missing.hdf5"
    arguments = ["--dataset", f"file:{missing}", "--env", "Hopper-v5", "--out", tmp_path / "out"]
    assert call("run", "--algo", "iql", "--corrupt", "none", *arguments) == 3
    assert said(capsys) == f"corruptbench run: {missing}: there is no such file\n"


@pytest.mark.parametrize("flag", ["--plugin", "--config"])
def test_a_missing_file_of_the_users_is_named(flag, tmp_path, capsys):
    missing = tmp_path / "missing.py"
    assert call("run", "--algo", "iql", "--corrupt", "none", flag, missing) == 2
    assert re.fullmatch(rf"corruptbench run: .*{re.escape(str(missing))}: .*o such file.*\n", said(capsys))


def test_debug_adds_the_traceback_and_keeps_the_line(capsys):
    assert call("run", "--algo", "rqil", "--corrupt", "none", "--debug") == 2
    lines = said(capsys).splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-1] == UNKNOWN["algorithm"][1]


# Help and lists


FOREIGN = ("torch", "pandas", "gymnasium", "minari", "mujoco", "numpy", "h5py")


def test_help_imports_none_of_the_large_packages(tmp_path):
    code = (
        "import sys\n"
        "from corruptbench.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit as end: assert end.code == 0, end.code\n"
        f"print([name for name in {FOREIGN} if name in sys.modules], file=sys.stderr)\n"
    )
    done = fresh(["-c", code], cwd=tmp_path)
    assert done.stderr == "[]\n"
    assert done.stdout.startswith("usage: corruptbench [-h] [--version] VERB ...\n")
    for word in ("run", "list", "data", "leaderboard", "bench", "corruptbench VERB --help"):
        assert word in done.stdout


def test_help_answers_in_under_half_a_second(tmp_path):
    def seconds():
        begin = time.perf_counter()
        fresh(["-m", "corruptbench"], "--help", cwd=tmp_path)
        return time.perf_counter() - begin

    assert min(seconds() for _ in range(3)) < 0.5


def test_version_is_the_packages(capsys):
    from importlib.metadata import version

    assert call("--version") == 0
    assert capsys.readouterr().out == f"corruptbench {version('corruptbench')}\n"


def test_help_of_run_lists_the_options_of_the_algorithm(capsys):
    assert call("run", "--algo", "riql", "--help") == 0
    text = " ".join(capsys.readouterr().out.split())
    for field in dataclasses.fields(ALGORITHMS.get("riql")):
        flag = f"--riql.{field.name.replace('_', '-')} {field.name.upper()}"
        default = ",".join(map(str, field.default)) if isinstance(field.default, tuple) else field.default
        assert f"{flag} [{default}]" in text
    for flag in ("--unit", "--steps", "--sam-on", "--rho", "--preset", "--plugin", "--config", "--out", "--force"):
        assert flag in text
    assert "--iql." not in text


def test_help_of_run_without_an_algorithm_lists_none_of_their_options(capsys):
    assert call("run", "--help") == 0
    text = capsys.readouterr().out
    assert "--algo" in text
    assert not re.search(r"--\w+\.\w", text)


def listed(kind, capsys):
    assert call("list", kind) == 0
    return capsys.readouterr().out.splitlines()


def test_list_algos_has_a_line_and_the_defaults_of_each(capsys):
    lines = listed("algos", capsys)
    assert [line.split()[0] for line in lines[::2]] == ALGORITHMS.names()
    assert (
        lines[2].split(maxsplit=1)[1]
        == "Implicit Q-learning: expectile value, clipped twin critics, advantage-weighted actor."
    )
    assert lines[3].split("  ")[-1] == "target_rate=0.005"
    assert {"critics=5", "alpha=0.25", "delta=1.0", "hidden=(256, 256)"} <= set(lines[5].strip().split("  "))


def test_list_corruptions_has_a_line_and_the_defaults_of_each(capsys):
    lines = listed("corruptions", capsys)
    assert [line.split()[0] for line in lines[::2]] == [*CORRUPTIONS.names(), *ENSEMBLES]
    assert all(len(line.split()) > 2 for line in lines[::2])
    names = [*CORRUPTIONS.names(), *ENSEMBLES]
    defaults = dict(zip(names, (line.strip() for line in lines[1::2]), strict=True))
    assert defaults["rew-auto"] == "rew-random  rew-zero  rew-swap  rew-adv  rew-targeted"
    assert defaults["none"] == "rate=0.0  scale=1.0"
    assert defaults["act-random"] == "rate=0.3  scale=1.0  clip=False"


def test_list_datasets_says_how_large_they_are(capsys, hopper):
    line = next(line for line in listed("datasets", capsys) if line.startswith("hopper-replay "))
    episodes = len(set(hopper.episodes.tolist()))
    assert line.split(maxsplit=2)[1:] == ["Hopper-v5", f"{len(hopper):,} transitions, {episodes:,} episodes"]
    assert call("data", "list") == 0
    assert line in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("kind", ["suites", "presets"])
def test_list_of_files_has_the_comment_at_the_head_of_each(kind, capsys):
    lines = listed(kind, capsys)
    assert [line.split()[0] for line in lines] == names(kind)
    assert all(len(line.split()) > 3 and "#" not in line for line in lines)


def test_list_optimizers_has_a_line_for_each_and_its_defaults(capsys):
    lines = listed("optimizers", capsys)
    assert [line.split()[0] for line in lines if not line.startswith(" ")] == list(OPTIMIZERS)
    assert all(len(line.split()) > 3 for line in lines if not line.startswith(" "))
    below = {lines[i - 1].split()[0]: line.split() for i, line in enumerate(lines) if line.startswith(" ")}
    assert below["asam"] == ["rho=0.5", "eta=0.01"]
    assert below["swa"] == ["start=0.75"]
    assert below.keys() == {name for name, cls in OPTIMIZERS.items() if len(dataclasses.fields(cls)) > 1}


def test_list_of_an_unknown_kind_names_the_known_ones(capsys):
    assert call("list", "algo") == 2
    line = said(capsys)
    assert re.fullmatch(r"corruptbench list: .*'algo'.*\n", line)
    assert all(kind in line for kind in ("algos", "corruptions", "datasets", "suites", "presets", "optimizers"))


# Precedence: dataclass default < preset < --config < flag


@pytest.fixture
def config(tmp_path):
    """Writes a --config file and returns the options that name it."""

    def write(text):
        path = tmp_path / "options.yaml"
        path.write_text(text)
        return ["--config", path]

    return write


def test_a_config_file_goes_before_the_defaults_and_after_the_flags(config, request_of):
    given = config(
        "algo: riql\ncorrupt: obs-random:rate=0.1\nunit: 3\nsteps: 700\nsam: true\nrho: 0.1\nsam-on: [V, actor]\n"
        "riql.alpha: 0.4\nriql.hidden: [16, 8]\nriql.critics: 3\n"
    )
    request = request_of(*given)
    assert (request.algo, request.corrupt, request.unit, request.steps) == ("riql", "obs-random:rate=0.1", 3, 700)
    assert (request.optimizer, request.rho, request.sam_on) == ("sam", 0.1, ("V", "actor"))
    agent = settings.build(ALGORITHMS.get("riql"), request.algo_options, "")
    assert (agent.alpha, agent.hidden, agent.critics, agent.beta) == (0.4, (16, 8), 3, 3.0)

    flags = ["--corrupt", "none", "--unit", "4", "--steps", "9", "--rho", "0.2", "--sam-on", "Q", "--riql.alpha", "0.1"]
    for arguments in ([*given, *flags], [*flags, *given]):
        request = request_of(*arguments)
        assert (request.algo, request.corrupt, request.unit, request.steps) == ("riql", "none", 4, 9)
        assert (request.optimizer, request.rho, request.sam_on) == ("sam", 0.2, ("Q",))
        agent = settings.build(ALGORITHMS.get("riql"), request.algo_options, "")
        assert (agent.alpha, agent.hidden, agent.critics, agent.beta) == (0.1, (16, 8), 3, 3.0)


def test_a_flag_names_another_algorithm_than_the_config_file(config, request_of):
    given = config("algo: iql\ncorrupt: none\n")
    assert request_of(*given, "--algo", "bc", "--bc.batch-size", "8").algo == "bc"


@pytest.mark.parametrize(
    ("text", "flags", "optimizer"),
    [
        ("optimizer: asam", ["--sam"], "sam"),
        ("sam: true", ["--optimizer", "adam"], "adam"),
        ("sam: true", ["--optimizer", "gsam"], "gsam"),
        ("optimizer: asam", ["--optimizer", "adam"], "adam"),
        ("sam: true", [], "sam"),
        ("optimizer: asam", [], "asam"),
    ],
)
def test_a_flag_names_another_optimizer_than_the_config_file(text, flags, optimizer, config, request_of):
    given = config(f"algo: iql\ncorrupt: none\n{text}\n")
    assert request_of(*given, *flags).optimizer == optimizer


def test_settings_that_are_not_named_are_the_defaults(request_of):
    request = request_of("--algo", "iql", "--corrupt", "none")
    assert request == RunRequest("iql", "none")
    assert (request.steps, request.unit, request.optimizer, request.rho) == (50_000, 0, "adam", None)


def test_each_source_of_a_setting_goes_before_the_last(config, request_of, small_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("hopper.hdf5").symlink_to(small_file)
    usual = ["--algo", "riql", "--corrupt", "obs-random", "--dataset", "file:hopper.hdf5", "--env", "Hopper-v5"]
    preset = ["--preset", "riql-oracle"]
    file = config("riql.alpha: 0.4\nriql.delta: 2\n")
    flag = ["--riql.alpha", "0.15"]

    def settings(*arguments):
        agent = running.plan(request_of(*usual, *arguments)).agent
        return agent.critics, agent.alpha, agent.delta

    assert settings() == (5, 0.25, 1)
    assert settings(*preset) == (3, 0.25, 100)
    assert settings(*preset, *file) == (3, 0.4, 2)
    assert settings(*preset, *file, *flag) == (3, 0.15, 2)
    assert settings(*file, *flag) == (5, 0.15, 2)


CONFIG_ERRORS = {
    "unknown": ("stepz: 3", "unknown option 'stepz' (did you mean 'steps'?)"),
    "underscore": ("iql.batch_size: 3", "unknown option 'iql.batch_size' (did you mean 'iql.batch-size'?)"),
    "of the algorithm": ("iql.expectil: 0.3", "unknown option 'iql.expectil' (did you mean 'iql.expectile'?)"),
    "of another algorithm": ("riql.beta: 0.3", "unknown option 'riql.beta': it needs --algo riql"),
    "of another optimizer": ("gsam.alpha: 0.3", "unknown option 'gsam.alpha': it needs --optimizer gsam"),
    "text for a number": ("steps: many", "steps is 'many', which is no int"),
    "fraction for a whole number": ("steps: 1.5", "steps is 1.5, which is no int"),
    "bool for a number": ("unit: true", "unit is True, which is no int"),
    "nothing for a number": ("rho:", "rho is None, which is no float"),
    "list for a number": ("rho: [0.1, 0.2]", "rho is [0.1, 0.2], which is no float"),
    "text for a switch": ("sam: 'yes'", "sam is 'yes', allowed are true and false"),
    "number for a switch": ("sam: 1", "sam is 1, allowed are true and false"),
}


@pytest.mark.parametrize(("text", "message"), CONFIG_ERRORS.values(), ids=CONFIG_ERRORS)
def test_a_wrong_line_of_a_config_file_is_named_with_the_file(text, message, config, tmp_path, capsys, untrained):
    given = config(f"algo: iql\ncorrupt: none\n{text}\n")
    assert call("run", *given, "--out", tmp_path / "out") == 2
    assert said(capsys) == f"corruptbench run: --config {given[1]}: {message}\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("iql.expectile: high", "--algo iql: expectile is 'high', needed is a value of type float"),
        ("iql.expectile: true", "--algo iql: expectile is 'True', needed is a value of type float"),
        ("iql.batch-size: 1.5", "--algo iql: batch_size is '1.5', needed is a value of type int"),
        ("iql.hidden: [16, wide]", "--algo iql: hidden is 'wide', needed is a value of type int"),
        ("dataset: 5", "unknown dataset '5': known are .*"),
        ("steps: 0", "--steps is 0, allowed is 1 and above"),
    ],
)
def test_a_wrong_value_in_a_config_file_is_what_it_is_as_a_flag(text, message, config, tmp_path, capsys, untrained):
    assert call("run", *config(f"algo: iql\ncorrupt: none\n{text}\n"), "--out", tmp_path / "out") == 2
    assert re.fullmatch(f"corruptbench run: {message}\n", said(capsys))


@pytest.mark.parametrize("text", ["engine: fast", "algo: 5", "algo: [iql]"])
def test_a_config_value_that_no_flag_would_take_is_a_usage_error(text, config, small_file, tmp_path, capsys, untrained):
    usual = "corrupt: none\n" if "algo" in text else "algo: iql\ncorrupt: none\n"
    data = ["--dataset", f"file:{small_file}", "--env", "Hopper-v5", "--out", tmp_path / "out"]
    assert call("run", *config(f"{usual}{text}\n"), *data) == 2
    assert re.fullmatch(r"corruptbench run: .+\n", said(capsys))
    assert not list(tmp_path.glob("out/*"))


def test_a_config_file_names_plugins(config, tmp_path, options):
    """What it must not do is take the line and forget it."""
    plugin = tmp_path / "mine.py"
    plugin.write_text("import pathlib\npathlib.Path(__file__).with_suffix('.loaded').touch()\n")
    options(*config(f"algo: iql\ncorrupt: none\nplugin: {plugin}\n"))
    assert plugin.with_suffix(".loaded").is_file()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- algo\n", "it holds a list, and names with values are needed"),
        ("algo\n", "it holds a str, and names with values are needed"),
        ("", "it holds a NoneType, and names with values are needed"),
        ("algo: [iql\n", "not readable as YAML: .+"),
        ("algo: !!python/object/apply:os.getcwd []\n", "not readable as YAML: .+"),
        ("1: 2\n", "not readable as YAML: line 1: the name '1' is no text"),
    ],
    ids=["list", "text", "empty", "broken", "code", "number"],
)
def test_a_config_file_that_is_no_mapping_is_named(text, message, config, capsys):
    given = config(text)
    assert call("run", *given) == 2
    assert re.fullmatch(rf"corruptbench run: {re.escape(str(given[1]))}: {message}\n", said(capsys))


# Optimizers and seeds


def test_sam_is_spelled_in_two_ways(request_of):
    usual = ["--algo", "iql", "--corrupt", "none"]
    assert request_of(*usual, "--sam") == request_of(*usual, "--optimizer", "sam")
    assert request_of(*usual, "--sam", "--optimizer", "sam").optimizer == "sam"
    assert request_of(*usual, "--optimizer", "adam") == request_of(*usual)


def test_an_optimizers_own_settings_come_from_a_file_or_a_flag(config, request_of):
    given = config("algo: iql\ncorrupt: none\noptimizer: gsam\ngsam.alpha: 0.2\nrho: 0.1\n")
    request = request_of(*given)
    assert (request.optimizer, request.rho, request.optimizer_options) == ("gsam", 0.1, {"alpha": "0.2"})
    assert request_of(*given, "--gsam.alpha", "0.7").optimizer_options == {"alpha": "0.7"}
    assert request.algo_options == {}


def test_own_seeds_leave_no_unit_and_quick_is_fewer_steps(request_of):
    usual = ["--algo", "iql", "--corrupt", "none"]
    request = request_of(*usual, "--seed", "0", "--corruption-seed", "7")
    assert (request.unit, request.train_seed, request.corruption_seed) == (None, 0, 7)
    assert request_of(*usual, "--quick").steps == 2_000


# --preset riql-oracle


ELEMENTS = ("obs", "act", "rew", "dyn")
RELEASE = {
    # The authors' RIQL_config.py: (sigma, quantile, critics) of obs, act, rew and dyn
    ("halfcheetah", "random"): ((0.1, 0.1, 5), (0.5, 0.25, 3), (3, 0.25, 5), (3, 0.25, 5)),
    ("walker2d", "random"): ((0.1, 0.25, 5), (0.5, 0.1, 5), (3, 0.1, 5), (1, 0.25, 3)),
    ("hopper", "random"): ((0.1, 0.25, 3), (0.1, 0.25, 5), (1, 0.25, 3), (1, 0.5, 5)),
    ("halfcheetah", "adv"): ((0.1, 0.1, 5), (1, 0.1, 5), (1, 0.1, 5), (1, 0.1, 5)),
    ("walker2d", "adv"): ((1, 0.25, 5), (1, 0.1, 5), (3, 0.1, 5), (1, 0.25, 5)),
    ("hopper", "adv"): ((1, 0.25, 5), (1, 0.25, 5), (0.1, 0.25, 5), (1, 0.5, 5)),
}


class AnySurrogate:
    sha256 = "0" * 64


@pytest.fixture
def oracle(monkeypatch):
    """Plans RIQL with the preset; no surrogate is trained, because none is asked."""
    monkeypatch.setattr(running, "with_surrogate", lambda corruption, dataset, out: (corruption, AnySurrogate()))

    def planned(dataset, corrupt, env="Hopper-v5", **others):
        env = env if dataset.startswith("file:") else None
        request = RunRequest("riql", corrupt, dataset=dataset, preset="riql-oracle", env=env, **others)
        return running.plan(request)

    return planned


@pytest.mark.parametrize("mode", ["random", "adv"])
@pytest.mark.parametrize("family", ["halfcheetah", "walker2d", "hopper"])
def test_the_preset_holds_the_authors_table(family, mode):
    for element, (sigma, quantile, critics) in zip(ELEMENTS, RELEASE[family, mode], strict=True):
        corruption = CORRUPTIONS.get(f"{element}-{mode}")()
        row, track = preset(
            "riql-oracle", "riql", {"halfcheetah": "HalfCheetah-v5"}.get(family, f"{family.title()}-v5"), corruption
        )
        assert (row["critics"], row["alpha"], track) == (critics, quantile, "oracle")
        assert row["delta"] == pytest.approx(1 / sigma**2, rel=1e-15)
        if sigma == 3:
            assert row["delta"] == 1 / 9


@pytest.mark.parametrize("corrupt", [f"{element}-{mode}" for element in ELEMENTS for mode in ("random", "adv")])
def test_the_preset_reaches_the_agent_of_a_file(corrupt, oracle, small_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("hopper-medium-replay-v2.hdf5").symlink_to(small_file)
    element, mode = corrupt.split("-")
    sigma, quantile, critics = RELEASE["hopper", mode][ELEMENTS.index(element)]
    planned = oracle("file:hopper-medium-replay-v2.hdf5", f"{corrupt}:rate=0.1")
    assert (planned.agent.critics, planned.agent.alpha) == (critics, quantile)
    assert planned.agent.delta == pytest.approx(1 / sigma**2, rel=1e-15)
    assert planned.spec.track == "oracle"
    assert planned.spec.algorithm.options["critics"] == critics


def test_the_preset_finds_a_file_in_any_folder(oracle, small_file, tmp_path):
    data = tmp_path / "hopper-medium-replay-v2.hdf5"
    data.symlink_to(small_file)
    planned = oracle(f"file:{data}", "obs-random")
    assert planned.spec.track == "oracle"
    assert (planned.agent.critics, planned.agent.alpha, planned.agent.delta) == (3, 0.25, 100)


def test_the_presets_one_ninth_is_exact():
    row, _ = preset("riql-oracle", "riql", "Walker2d-v5", CORRUPTIONS.get("rew-random")())
    assert row["delta"] == 1 / 9


def test_the_preset_on_the_shipped_dataset(oracle):
    planned = oracle("hopper-replay", "obs-random")
    assert (planned.agent.critics, planned.agent.alpha, planned.agent.delta) == (3, 0.25, 100)
    assert planned.spec.track == "oracle"


@pytest.mark.parametrize("mode", ["random", "adv"])
def test_mixtures_use_the_row_of_the_observations(mode, oracle, small_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("hopper.hdf5").symlink_to(small_file)
    sigma, quantile, critics = RELEASE["hopper", mode][0]
    planned = oracle("file:hopper.hdf5", f"mix-{mode}")
    assert (planned.agent.critics, planned.agent.alpha, planned.spec.track) == (critics, quantile, "oracle")
    assert planned.agent.delta == pytest.approx(1 / sigma**2, rel=1e-15)


def test_a_cell_without_a_row_keeps_the_universal_settings(oracle, small_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name, corrupt = "hopper.hdf5", "none"
    Path(name).symlink_to(small_file)
    ant = preset("riql-oracle", "riql", "Ant-v5", CORRUPTIONS.get("obs-random")())
    assert ant == ({}, "universal")
    planned = oracle(f"file:{name}", corrupt)
    assert planned.agent == ALGORITHMS.get("riql")()
    assert planned.spec.track == "universal"
    plain = running.plan(RunRequest("riql", corrupt, dataset=f"file:{name}", env="Hopper-v5"))
    assert planned.spec.run_id == plain.spec.run_id


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("info", "hopper-replay", "--plot", "x.txt"), "--plot x.txt must end in .png, .svg or .pdf"),
        (
            ("info", "hopper-replay", "--plot", "nowhere/x.png"),
            "--plot nowhere/x.png: there is no folder to put it in, or it is one itself",
        ),
        (("info", "hopper-replay", "--corrupt", "none", "--unit", "-1"), "--unit is -1, allowed is 0 and above"),
        (
            ("convert", "hopper-replay", "file:x.hdf5"),
            "convert: 'file:x.hdf5' is no target, allowed are minari:ID and PATH.hdf5",
        ),
        (
            ("collect", "--env", "Hopper-v5", "--name", "../x", "--out", "x"),
            "collect: --name '../x' is no name, allowed are letters, digits, '.', '_' and '-'",
        ),
        (
            ("collect", "--env", "Hopper-v5", "--name", "x", "--seed", "-1", "--out", "x"),
            "collect: --seed is -1, allowed is 0 and above",
        ),
    ],
)
def test_data_says_what_is_wrong_before_it_reads_anything(arguments, text, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("corruptbench.data.sources.open_flat", lambda path: pytest.fail("it was read"))
    assert call("data", *arguments) == 2
    assert said(capsys) == f"corruptbench data: {text}\n"
    assert not list(tmp_path.iterdir())


def test_a_reader_that_has_seen_enough_ends_it_without_a_word():
    """As ``corruptbench list corruptions | head -1`` does."""
    command = [sys.executable, "-m", "corruptbench", "list", "corruptions"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        said = process.stderr.read()
    assert (process.returncode, said) == (0, "")
