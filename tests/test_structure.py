"""The house: imports run one way, the package is one name, and the links in it serve tools only."""

import ast
import functools
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from corruptbench.surrogates import TRAINED_BY

ROOT = Path(__file__).parent.parent
FOLDERS = {
    "corruptbench": "corruptbench",
    "corruptbench.algos": "algos",
    "corruptbench.corruptions": "corruptions",
    "corruptbench.configs": "configs",
    "corruptbench.leaderboard": "leaderboard",
}
LEVELS = (
    ("errors",),
    (
        "rng",
        "types",
        "numerics",
        "names",
        "typed",
        "csv_text",
        "yaml_files",
        "links",
        "stopping",
        "resources",
        "bars",
    ),
    ("store", "checkpoints", "registry", "versions", "settings", "drawing"),
    ("spec", "records", "environments", "data", "corruptions", "algos", "assets", "configs", "leaderboard"),
    (
        "optimizers",
        "engine",
        "once",
        "batches",
        "step",
        "train",
        "resume",
        "population",
        "simulation",
        "evaluate",
        "weights",
        "trained",
        "frozen",
        "surrogates",
        "contract",
        "modifiers",
        "isolated",
        "isolation",
        "command",
        "corrupting",
        "sharpness",
    ),
    ("request", "trackers", "attempt", "training", "run", "collect", "bench", "workers"),
    ("learners", "suites", "tables", "sweep", "contents", "verify", "submission"),
    ("page",),
    ("landscape",),
    ("cli", "__main__"),
)
"""A module imports from its own line and those above it."""


@functools.cache
def modules() -> dict[str, Path]:
    """Dotted name -> file of every module of the package; the links are not walked."""
    found = {}
    for package, folder in FOLDERS.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            inside = path.relative_to(ROOT / folder)
            linked = package == "corruptbench" and inside.parts[0] in FOLDERS.values()
            if not linked:
                parts = [*inside.parts[:-1], *([] if inside.stem == "__init__" else [inside.stem])]
                found[".".join((package, *parts))] = path
    return found


def imports_of(path: Path) -> set[str]:
    """The project's modules that a file imports anywhere, lazily too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name in modules()}


def level(module: str) -> int:
    part = module.split(".")[1] if "." in module else "__init__"
    return next((i for i, names in enumerate(LEVELS) if part in names), -1)


def test_the_layers_are_those_that_contributors_read_of():
    told = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    assert "\n".join(("```", *(", ".join(names) for names in LEVELS), "```")) in told


@pytest.mark.parametrize("module", modules())
def test_imports_run_one_way(module):
    if module == "corruptbench":
        assert imports_of(modules()[module]) == set()
        return
    assert level(module) >= 0, f"{module} stands in no level of {Path(__file__).name}"
    for imported in imports_of(modules()[module]) - {"corruptbench"}:
        assert level(imported) <= level(module), f"{module} imports {imported}"


def test_the_key_of_a_surrogate_covers_the_source_of_all_that_trains_it():
    """Whatever training and its resumption import, and what that imports, but for what computes nothing."""
    reached, waiting = set(), {"corruptbench.train", "corruptbench.resume"}
    while waiting:
        module = waiting.pop()
        reached.add(module)
        if module in modules():
            waiting |= imports_of(modules()[module]) - reached
    parts = {module.split(".")[1] for module in reached if "." in module}
    assert parts - set(TRAINED_BY) <= {"errors", "names", "registry", "types", "checkpoints", "stopping", "store"}
    assert set(TRAINED_BY) <= parts


def test_attacks_and_algorithms_never_import_each_other():
    for module, path in modules().items():
        for one, other in (("algos", "corruptions"), ("corruptions", "algos")):
            if module.startswith(f"corruptbench.{one}"):
                assert not [name for name in imports_of(path) if name.startswith(f"corruptbench.{other}")], module


def test_no_import_goes_round_in_a_circle():
    graph = {module: imports_of(path) - {module} for module, path in modules().items()}
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " -> ".join((*trail, module))
        if module not in done:
            for imported in graph[module]:
                if not module.startswith(f"{imported}."):  # a module of a package runs the package's own file first
                    visit(imported, (*trail, module))
            done.add(module)

    for module in graph:
        visit(module, ())


def test_one_module_makes_the_progress_bars():
    """tqdm called elsewhere draws in workers too, over the bar of who started them."""
    importing = re.compile(r"^\s*(import|from) tqdm\b", re.MULTILINE)
    assert [module for module, path in modules().items() if importing.search(path.read_text("utf-8"))] == [
        "corruptbench.bars"
    ]


def copy_without_links(target: Path) -> Path:
    """The tracked tree as a ZIP download has it: no links, no builds."""
    for name in (*FOLDERS.values(), "pyproject.toml", "README.md", "LICENSE"):
        source = ROOT / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
            shutil.copytree(source, target / name, symlinks=True, ignore=ignored)
        else:
            shutil.copy(source, target / name)
    for link in target.glob("corruptbench/*"):
        if link.is_symlink():
            link.unlink()
    assert not [path for path in target.rglob("*") if path.is_symlink()]
    return target


def build(tree: Path, kind: str, out: Path) -> Path:
    """A wheel, ``build_wheel`` or ``build_editable``, made by the project's own backend."""
    out.mkdir()
    code = f"import setuptools.build_meta as b; print(b.{kind}({str(out)!r}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tree, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return out / done.stdout.splitlines()[-1]


def run_from(site: Path, cwd: Path, *arguments: str) -> subprocess.CompletedProcess:
    """The command line of the project installed in ``site``, blind to the one that runs this test."""
    code = (
        "import sys, site; sys.path.append(sys.argv[1]); site.addsitedir(sys.argv[2]); "
        "from corruptbench.cli import main; sys.exit(main(sys.argv[3:]))"
    )
    libraries = sysconfig.get_paths()["purelib"]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, "-S", "-c", code, libraries, str(site), *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return copy_without_links(tmp_path_factory.mktemp("tree"))


def test_the_wheel_adds_one_name_and_carries_the_data(tree, tmp_path):
    wheel = build(tree, "build_wheel", tmp_path / "wheel")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "site")
    assert {name.split("/")[0] for name in names} == {
        "corruptbench",
        f"{wheel.name.removesuffix('-py3-none-any.whl')}.dist-info",
    }
    for needed in (
        "corruptbench/py.typed",
        "corruptbench/assets/hopper-replay/data.hdf5",
        "corruptbench/assets/hopper-replay/surrogate.safetensors",
        "corruptbench/configs/suites/core.yaml",
        "corruptbench/leaderboard/SHA256SUMS",
        "corruptbench/page/template.html",
        "corruptbench/page/page.css",
        "corruptbench/page/page.js",
    ):
        assert needed in names
    packaged = {name.removesuffix(".py").removesuffix("/__init__") for name in names if name.endswith(".py")}
    assert packaged == {module.replace(".", "/") for module in modules()}
    done = run_from(tmp_path / "site", tmp_path, "list", "algos")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("bc ")


def test_an_editable_install_works_without_the_links(tree, tmp_path, small_file):
    wheel = build(tree, "build_editable", tmp_path / "wheel")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    run = ["run", "--algo", "riql", "--sam", "--corrupt", "mix-random", "--dataset", f"file:{small_file}"]
    done = run_from(tmp_path / "site", tmp_path, *run, "--env", "Hopper-v5", "--steps", "5", "--engine", "eager")
    assert done.returncode == 0, done.stderr
    assert "this run: riql+sam" in done.stdout
