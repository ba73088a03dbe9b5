"""What the docs say was measured is what the committed records say."""

import dataclasses
import re
from pathlib import Path

import pytest
from builders_scripts import script

from corruptbench.contract import apply
from corruptbench.data import ASSETS, shipped
from corruptbench.optimizers import OPTIMIZERS
from corruptbench.records import read_records
from corruptbench.registry import CORRUPTIONS
from corruptbench.spec import DEFAULT_STEPS
from corruptbench.tables.listing import read_csv
from corruptbench.tables.reading import LEADERBOARD
from corruptbench.types import Streams

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def results():
    return script("results")


def test_the_tables_in_the_docs_are_made_from_the_records(results):
    records = read_records(ROOT / "leaderboard" / "records")
    core, tiny = (results.suite_table(results.own_runs(records, name), name) for name in ("core", "tiny"))
    horizon = results.horizon_table([record for record in records if results.is_horizon(record)])
    learning = (ROOT / "docs" / "learning.md").read_text("utf-8")
    assert f"<!-- core -->\n{core}\n<!-- /core -->" in learning
    assert f"<!-- horizon -->\n{horizon}\n<!-- /horizon -->" in learning
    for name, table in (("core", core), ("tiny", tiny)):
        assert f"<!-- {name} -->\n{table}\n<!-- /{name} -->" in (ROOT / "README.md").read_text("utf-8")
    harm = results.harm_table(records)
    assert f"<!-- harm -->\n{harm}\n<!-- /harm -->" in (ROOT / "docs" / "attacks.md").read_text("utf-8")
    for dataset, card in shipped().items():
        learned = results.learned_table(records, dataset, card)
        text = (ASSETS / dataset / "README.md").read_text("utf-8")
        assert f"<!-- learned -->\n{learned}\n<!-- /learned -->" in text


def test_the_page_in_the_docs_has_the_runs_of_the_tables():
    """Made anew whenever the tables are; its figures depend on the versions of what draws them."""
    page = (ROOT / "docs" / "leaderboard" / "index.html").read_text("utf-8")
    for name in ("core", "tiny"):
        for row in read_csv((LEADERBOARD / f"{name}.csv").read_text("utf-8")):
            assert row["run_id"] in page
            assert f'data-column="normalized">{row["normalized"]}<' in page


def test_the_tables_of_the_attacks_are_made_from_the_measurements():
    """docs/figures/attacks.csv holds every dataset, element, rate and attack, and the doc shows it."""
    table = script("attack_table")
    rows, doc = table.read(), (ROOT / "docs" / "attacks.md").read_text("utf-8")
    assert len(rows) == len(shipped()) * 3 * (4 + 4 + 3)
    assert f"<!-- values -->\n{table.values(rows)}\n<!-- /values -->" in doc
    assert f"<!-- coordinates -->\n{table.coordinates(rows)}\n<!-- /coordinates -->" in doc


def test_what_the_docs_say_of_the_statistics_is_what_the_script_simulates():
    """All but the bootstrap's coverage, which takes long."""
    check = script("statistics_check")
    doc = (ROOT / "docs" / "statistics.md").read_text("utf-8")
    assert f"<!-- smallest -->\n{check.smallest()}\n<!-- /smallest -->" in doc
    assert f"<!-- test -->\n{check.test_table()}\n<!-- /test -->" in doc
    for kind in check.SCORES:
        assert check.coverage_row(kind, 3) in doc
    table = check.correlation_table()
    assert f"<!-- correlation -->\n{table}\n<!-- /correlation -->" in doc
    held = [float(share) for share in re.findall(r"([\d.]+) %", table)]
    assert len(held) == 48
    assert min(held) >= 95 - 1.5  # three standard errors of 2,000 sets
    assert max(held) <= 99.5
    rates = dict(re.findall(r"^\| normal \| (\d+) \| (.*) % \|$", check.test_table(), re.MULTILINE))
    alike, apart = map(float, rates["10"].split(" % | "))
    assert alike <= 5 + 1.4 * 3 / 2  # three standard errors of 1,000 pairs
    assert apart >= 90
    assert rates["5"] == "0.0 % | 0.0"


def test_modified_networks_have_the_parameters_that_the_docs_say():
    costs, doc = script("modifier_costs"), (ROOT / "docs" / "modifiers.md").read_text("utf-8")
    for name, agent in costs.KINDS.items():
        assert f"\n| {name} | {costs.parameters(agent):,} | " in doc


def test_every_listed_run_has_its_record_and_curve(results):
    for row in read_csv((LEADERBOARD / "core.csv").read_text()):
        folder = LEADERBOARD / "records" / row["run_id"]
        assert (folder / "record.json").is_file()
        assert (folder / "curve.csv").read_text().splitlines()[-1].startswith(f"{DEFAULT_STEPS},")


def test_published_cells_in_which_the_attack_is_milder():
    found = script("milder").counts()
    said = " ".join((ROOT / "docs" / "protocol.md").read_text("utf-8").split())
    groups = [found["obs", f"{source} of the data"] for source in ("TRACER, 100%", "ADG, 100%", "ADG, 10%")]
    shown = "In {} of {} published observation cells".format(*found["obs", "all"])
    assert shown in said
    assert "tables {} of {}, ADG's {} of {} and, on a tenth of the data, {} of {}:".format(*sum(groups, ())) in said
    (in_attacks,) = re.findall(r"in (\d+ of \d+) published", (ROOT / "docs" / "attacks.md").read_text("utf-8"))
    assert in_attacks in shown


def test_one_version():
    """Records name it, and say by it which of them are the same to the byte."""
    (packaged,) = re.findall(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE)
    assert f"\nversion: {packaged}\n" in (ROOT / "CITATION.cff").read_text("utf-8")
    assert f"\n## [{packaged}]" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_this_machine_corrupts_to_the_published_hashes(hopper):
    """Section 6 A: the random corruptions of every listed run, recomputed."""
    published = {
        (row["corruption"], row["corruption_seed"]): row["corrupted_sha256"]
        for row in read_csv((LEADERBOARD / "core.csv").read_text())
    }
    assert published
    for (name, seed), expected in published.items():
        if not name.endswith("-adv"):
            found = apply(CORRUPTIONS.get(name)(), name, hopper, Streams(int(seed)), None)
            assert found.dataset.sha256 == expected, name


def test_the_table_of_optimizers_has_each_with_its_defaults():
    text = (ROOT / "docs" / "optimizers.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)` \|.*\|([^|]*)\| [\d.]+ \|$", text, re.MULTILINE)
    expected = {}
    for name, cls in OPTIMIZERS.items():
        fields = [field for field in dataclasses.fields(cls) if field.name != "on"]
        expected[name] = ", ".join(f"`{field.name}={field.default}`" for field in fields)
    assert {name: defaults.strip() for name, defaults in rows} == expected


def test_no_document_names_a_file_that_is_not_there():
    for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("corruptbench/assets/*/*.md")):
        for target in re.findall(r"\]\(([^)#]+)\)", path.read_text("utf-8")):
            if "://" not in target:
                assert (path.parent / target).exists(), f"{path.name}: {target}"


@pytest.mark.parametrize(
    ("by_ray", "code", "told"),
    [({"a": "1", "b": "2"}, 0, "2 of 2"), ({"a": "1", "b": "3"}, 1, "1 of 2"), ({"a": "1"}, 1, "1 of 2"),
     ({"a": "1", "b": "2", "c": "3"}, 1, "2 of 2")],
)  # fmt: skip
def test_the_script_that_compares_bytes_fails_where_they_differ(by_ray, code, told, monkeypatch):
    """Of the last way, whose files are given by hand as those of the others are."""
    same, found = script("same_bytes"), iter([{"a": "1", "b": "2"}] * 3 + [by_ray])
    for name in ("jobs", "sweep", "connect"):
        monkeypatch.setattr(same, name, lambda *_, **__: [])
    monkeypatch.setattr(same, "hashes", lambda out: next(found))
    written = []
    monkeypatch.setattr(same, "insert", lambda path, marker, text: written.append(text))
    assert same.main() == code
    assert written[0].splitlines()[-1] == f"| by Ray, two | 0.0 | {told} |"
