"""scripts/publish_records.py: what goes from results into leaderboard/records, and what gives way there."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
from builders_scripts import script

from corruptbench.errors import IntegrityError
from corruptbench.records import RECORD, RunRecord
from corruptbench.sharpness import SHARPNESS
from corruptbench.store import check_manifest, publish
from corruptbench.tables.reading import LEADERBOARD


@pytest.fixture(scope="module")
def publishing():
    return script("publish_records")


@pytest.fixture
def run(tmp_path):
    """A run with a sharpness report, with the weights and the timing that its folder had."""
    measured = next(path.parent for path in sorted((LEADERBOARD / "records").glob(f"*/{SHARPNESS}")))
    return again(measured, tmp_path / "results" / measured.name, policy=b"weights", timing=b"{}")


def again(source: Path, folder: Path, *, without: str = "", policy=None, timing=None, **changed) -> Path:
    """A run of the same name with other things in it, its manifest made anew; ``changed`` are fields of its record."""
    record = json.loads((source / RECORD).read_text("utf-8"))

    def write(made: Path) -> None:
        for path in source.iterdir():
            if path.name not in ("manifest.json", without):
                shutil.copyfile(path, made / path.name)
        if changed:
            (made / RECORD).write_text(json.dumps(record | changed), "utf-8")
        for name, content in (("policy.safetensors", policy), ("timing.json", timing)):
            if content is not None:
                (made / name).write_bytes(content)

    publish(folder, write, replace=True)
    return folder


def of_version(run: Path, version: str) -> dict[str, dict[str, str]]:
    return {"versions": json.loads((run / RECORD).read_text("utf-8"))["versions"] | {"corruptbench": version}}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_record_its_curve_and_its_report_are_copied_without_weights_and_timings(publishing, run, tmp_path, capsys):
    (run.parent / ".left-over").mkdir()
    shutil.copy(run / RECORD, run.parent / ".left-over")  # by a run that was killed
    publishing.main([str(run.parent), str(tmp_path / "records")])
    assert [path.name for path in (tmp_path / "records").iterdir()] == [run.name]
    there = tmp_path / "records" / run.name
    check_manifest(there)
    assert set(contents(there)) == {RECORD, "curve.csv", SHARPNESS, "manifest.json"}
    assert contents(there).items() - contents(run).items() == {("manifest.json", contents(there)["manifest.json"])}
    assert capsys.readouterr().out == f"{run.name} ok {RunRecord.read(run / RECORD).command}\n"
    publishing.main([str(run.parent), str(tmp_path / "records")])
    assert capsys.readouterr().out == ""


def test_the_first_run_of_a_cell_and_unit_counts(publishing, run, tmp_path):
    there = tmp_path / "records" / run.name
    publishing.main([str(run.parent), str(there.parent)])
    first = contents(there)
    again(run, run, **of_version(run, "9.9.9"))
    publishing.main([str(run.parent), str(there.parent)])
    assert contents(there) == first
    publishing.main([str(run.parent), str(there.parent), "--renew"])
    assert RunRecord.read(there / RECORD).versions["corruptbench"] == "9.9.9"


def test_a_run_of_the_same_version_gives_way_to_none(publishing, run, tmp_path):
    there = tmp_path / "records" / run.name
    publishing.main([str(run.parent), str(there.parent)])
    first = contents(there)
    record = json.loads((run / RECORD).read_text("utf-8"))
    again(run, run, execution=record["execution"] | {"cpu": "another kind"})
    publishing.main([str(run.parent), str(there.parent), "--renew"])
    assert contents(there) == first


def test_a_report_joins_its_own_run_alone(publishing, run, tmp_path):
    whole, there = contents(run), tmp_path / "records" / run.name
    again(run, run, without=SHARPNESS)
    publishing.main([str(run.parent), str(there.parent)])
    assert SHARPNESS not in contents(there)
    (run / SHARPNESS).write_bytes(whole[SHARPNESS])
    again(run, run, **of_version(run, "9.9.9"))
    publishing.main([str(run.parent), str(there.parent)])
    assert SHARPNESS not in contents(there)
    (run / RECORD).write_bytes(whole[RECORD])
    again(run, run)
    publishing.main([str(run.parent), str(there.parent)])
    assert contents(there)[SHARPNESS] == whole[SHARPNESS]


@pytest.mark.parametrize("change", [{"unit": None}, {"steps": 2_000}])
def test_seeds_of_ones_own_and_quick_looks_are_left_out(publishing, run, tmp_path, change):
    record = RunRecord.read(run / RECORD)
    changed = dataclasses.replace(record, spec=dataclasses.replace(record.spec, **change))
    again(run, run, **changed.to_json())
    publishing.main([str(run.parent), str(tmp_path / "records")])
    assert not (tmp_path / "records").exists()


def test_a_changed_run_is_refused(publishing, run, tmp_path):
    (run / "curve.csv").write_text("edited\n")
    with pytest.raises(IntegrityError, match=r"curve\.csv"):
        publishing.main([str(run.parent), str(tmp_path / "records")])
    assert not (tmp_path / "records").exists()


def test_a_folder_without_runs_is_a_mistake(publishing, tmp_path, capsys):
    with pytest.raises(SystemExit):
        publishing.main([str(tmp_path / "result")])
    assert f"results is {tmp_path / 'result'}, which has no runs" in capsys.readouterr().err
