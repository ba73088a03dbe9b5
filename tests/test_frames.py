"""load_table: what pandas gets is what stands in the CSV, value by value."""

import csv
import re
import shutil
from pathlib import Path

import pandas
import pytest

from corruptbench.errors import IntegrityError, UsageError
from corruptbench.tables import frames, load_table
from corruptbench.tables.reading import LEADERBOARD, read_sums

README = (Path(__file__).parent.parent / "README.md").read_text("utf-8")
TABLES = [name.removesuffix(".csv") for name in sorted(read_sums(LEADERBOARD / "SHA256SUMS"))]


@pytest.mark.parametrize("name", TABLES)
def test_every_value_is_that_of_the_csv(name):
    frame = load_table(name)
    with (LEADERBOARD / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(frame) == len(rows)
    for column in frame:
        values = frame[column].tolist()
        if column in frames.TEXT:
            assert values == [row[column] for row in rows]
            continue
        assert frame[column].dtype == ("Int64" if column in frames.WHOLE else "float64")
        for value, row in zip(values, rows, strict=True):
            assert pandas.isna(value) if row[column] == "" else value == float(row[column])


def test_grouping_loses_no_row_and_none_is_a_threat_model():
    runs = load_table("tiny")
    assert runs.groupby(["algo", "optimizer", "preset", "options", "sam_on"]).size().sum() == len(runs)
    assert "none" in set(runs.corruption)


def test_another_name_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"unknown table 'tiny-sumary': known are core, .*did you mean 'tiny-summary'"):
        load_table("tiny-sumary")
    with pytest.raises(UsageError, match="unknown table"):
        load_table("../leaderboard/tiny")


def test_an_edited_table_is_refused(tmp_path, monkeypatch):
    for path in LEADERBOARD.glob("*[!y]"):
        if path.is_file():
            shutil.copy(path, tmp_path)
    monkeypatch.setattr(frames, "LEADERBOARD", tmp_path)
    assert len(load_table("tiny")) > 0
    path = tmp_path / "tiny.csv"
    path.write_text(path.read_text("utf-8").replace(",ok,", ",diverged,", 1), "utf-8")
    with pytest.raises(IntegrityError, match=r"tiny\.csv: its content is not what .*SHA256SUMS says"):
        load_table("tiny")


def test_the_readmes_lines_show_its_table(capsys):
    (block,) = re.findall(r"```python\n(from corruptbench\.tables import load_table\n.*?)```", README, re.DOTALL)
    exec(block, {})
    shown = capsys.readouterr().out
    table = re.search(r"<!-- core -->\n(.*?)<!-- /core -->", README, re.DOTALL)[1]
    columns = [cell.strip() for cell in table.splitlines()[0].split("|")[2:-1]]
    for line, found in zip(table.splitlines()[2:], shown.splitlines()[2:], strict=True):
        wanted = dict(zip(columns, (cell.split()[0] for cell in line.split("|")[2:-1]), strict=True))
        assert found.split()[-len(columns) :] == [wanted[column] for column in shown.split()[1 : 1 + len(columns)]]
