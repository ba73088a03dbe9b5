"""The README's plug-ins run as they stand there, and its promises about them hold."""

import re
from pathlib import Path

from corruptbench.cli import main
from corruptbench.records import read_records
from corruptbench.spec import DEFAULT_STEPS
from corruptbench.suites import suite
from corruptbench.tables.build import build

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
QUICK = ["--steps", "30", "--engine", "eager"]


def plugin(name: str, folder: Path) -> Path:
    """The README's Python block whose first line is a comment with the file's name."""
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    text = next(block for block in blocks if block.startswith(f"# {name}\n"))
    path = folder / name
    path.write_text(text)
    return path


def test_the_corruption_runs_and_is_short(tmp_path, small_file):
    path = plugin("my_noise.py", tmp_path)
    assert len(path.read_text().splitlines()) < 25
    where = ["--dataset", f"file:{small_file}", "--env", "Hopper-v5", "--out", str(tmp_path / "results")]
    assert main(["run", "--algo", "bc", "--plugin", str(path), "--corrupt", "my-noise", *where, *QUICK]) == 0
    (record,) = read_records(tmp_path / "results")
    assert record.outcome == "ok"
    assert record.spec.corruption.source_sha256
    assert record.corruption["sha256"] != record.spec.dataset_sha256


def test_the_algorithm_is_bc_under_another_name_and_takes_sam(tmp_path, capsys):
    path = plugin("my_bc.py", tmp_path)
    text = path.read_text()
    assert len(text.splitlines()) < 60
    built_in = (ROOT / "algos" / "bc.py").read_text()
    assert text.replace("# my_bc.py\n", "").replace('"my-bc"', '"bc"') == built_in

    out = ["--out", str(tmp_path / "results")]
    command = ["run", "--algo", "my-bc", "--plugin", str(path), "--corrupt", "obs-adv:rate=0.01", *out, *QUICK]
    assert main(command) == 0
    assert "this run: my-bc " in capsys.readouterr().out
    assert main([*command, "--sam"]) == 0
    shown = capsys.readouterr().out
    assert "this run: my-bc+sam" in shown
    plain, sam = sorted(read_records(tmp_path / "results"), key=lambda record: record.spec.optimizer.name)
    assert sam.spec.optimizer.on == ("actor",)
    assert plain.corruption == sam.corruption
    weights = [(tmp_path / "results" / r.run_id / "policy.safetensors").read_bytes() for r in (plain, sam)]
    assert weights[0] != weights[1]


def test_a_plugin_algorithm_appears_in_the_table(tmp_path):
    """With the default steps it would take minutes, so a record of 30 steps is given the suite's number of them."""
    import dataclasses

    path = plugin("my_bc.py", tmp_path)
    out = ["--out", str(tmp_path / "results")]
    assert main(["run", "--algo", "my-bc", "--sam", "--plugin", str(path), "--corrupt", "none", *out, *QUICK]) == 0
    (record,) = read_records(tmp_path / "results")
    whole = dataclasses.replace(record, spec=dataclasses.replace(record.spec, steps=DEFAULT_STEPS))
    tables = build([whole], suite("core"))
    assert "\ncb2026,hopper-replay,Hopper-v5,my-bc,sam,actor,0.05,universal,none," in tables["core.csv"]
    assert ",my-bc,sam,actor," in tables["core-summary.csv"]


def test_every_command_of_the_readme_parses(tmp_path):
    """Each ``corruptbench VERB`` in a shell block names a verb and options that exist."""
    from corruptbench.cli.main import VERBS

    found = re.findall(
        r"^(?:\.venv/bin/)?corruptbench (\w+)(.*)$",
        "\n".join(re.findall(r"```bash\n(.*?)```", README, re.DOTALL)),
        re.MULTILINE,
    )
    assert {verb for verb, _ in found} <= set(VERBS)
    assert any(verb == "run" for verb, _ in found)
