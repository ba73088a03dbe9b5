"""The report page: its numbers are the tables', text is inert, a browser shows and sorts it without a network."""

import dataclasses
import html
import importlib.util
import os
import re
import shutil
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure
from test_report import SAM, record, rows_of

from corruptbench.cli import main
from corruptbench.corruptions.auto import ENSEMBLES
from corruptbench.drawing import INK, picture, plain_numbers, styles
from corruptbench.page import figures as figures_module
from corruptbench.page import severity as severity_module
from corruptbench.page.grid import FLAGS
from corruptbench.page.profiles import matrices
from corruptbench.page.render import render
from corruptbench.page.section import section
from corruptbench.page.severity import axes_of
from corruptbench.spec import CorruptionSpec
from corruptbench.suites import Suite
from corruptbench.tables.build import build
from corruptbench.tables.labels import label, threat
from corruptbench.tables.listing import CELL

THREATS = {
    "none": ("none", 0.0, 1.0),
    "obs-random": ("obs-random", 0.3, 1.0),
    "obs-adv:rate=0.1": ("obs-adv", 0.1, 1.0),
    "obs-adv": ("obs-adv", 0.3, 1.0),
    "obs-adv:rate=0.5": ("obs-adv", 0.5, 1.0),
    "obs-adv:scale=2": ("obs-adv", 0.3, 2.0),
}
MADE_UP = Suite("made-up", 7, ("hopper-replay",), tuple(THREATS), ("bc", "iql", "iql+sam", "riql"), units=10)
LEARNERS = {"bc": ("bc", None), "iql": ("iql", None), "iql+sam": ("iql", SAM), "riql": ("riql", None)}
MINUS = "\N{MINUS SIGN}"
HOSTILE = (
    """$\\frac{$</td><script>document.title = 'taken'</script><img src="//example.com/x" onerror="alert(1)">&lt;"""
)


def made_up(units=10, learners=LEARNERS, threats=THREATS):
    """Records of every cell, with runs that broke off, a weak surrogate, and an attack that helps."""
    made = []
    for i, (algo, optimizer) in enumerate(learners.values()):
        for j, (name, rate, scale) in enumerate(threats.values()):
            for unit in range(units):
                broken = algo == "riql" and rate == 0.5 and unit < 2
                score = (
                    9.0 + 31 * i - 2 * j + 0.125 * unit * (i + 1) - 4 * (unit == 0) + 9 * (name == "obs-adv") * (i == 1)
                )
                run = record(
                    algo,
                    unit,
                    score,
                    name,
                    optimizer=optimizer,
                    outcome="diverged" if broken else "ok",
                    corruption=CorruptionSpec(name, rate, scale),
                )
                weak = {"obs": {"surrogate_weak": True}} if scale == 2.0 else {}
                made.append(dataclasses.replace(run, corruption={**run.corruption, "audit": weak}))
    return made


def with_curves(records, folder):
    """The records with the folder that a learning curve of each lies in."""
    for i, run in enumerate(records):
        (folder / run.run_id).mkdir(parents=True)
        points = [f"{step},{step / 100},{0.0002 * step + i % 7},0.5" for step in range(10_000, run.step + 1, 10_000)]
        if points:
            text = "step,return_mean,normalized_mean,loss_V\n" + "".join(f"{point}\n" for point in points)
            (folder / run.run_id / "curve.csv").write_text(text)
    return [(folder, run) for run in records]


@dataclasses.dataclass(frozen=True)
class Cell:
    table: str
    attributes: dict
    text: str


class Page(HTMLParser):
    """The cells of each table, row by row, the ids, and whatever could load something or run."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.tags, self.ids, self.text = [], [], [], []
        self.table, self.open, self.bodies = "", [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append((tag, attributes))
        self.ids += [attributes["id"]] if "id" in attributes else []
        if tag == "table":
            self.table = attributes["class"].split()[-1]
        if tag == "tr":
            self.rows.append((self.table, []))
        if tag in ("td", "th", "data", "code"):
            self.open.append((tag, attributes, []))

    def handle_data(self, data):
        self.text.append(data)
        for _, _, text in self.open:
            text.append(data)

    def handle_endtag(self, tag):
        if self.open and self.open[-1][0] == tag:
            _, attributes, text = self.open.pop()
            self.rows[-1][1].append((tag, attributes, " ".join(" ".join(text).split()))) if self.rows else None

    def table_rows(self, name):
        """The rows of data of a table: what has a column's name, by that name."""
        found = [
            [(a["data-column"], text) for _, a, text in cells if "data-column" in a]
            for n, cells in self.rows
            if n == name
        ]
        return [dict(row) for row in found if row]


@pytest.fixture(scope="module")
def records():
    return made_up()


@pytest.fixture(scope="module")
def found(records, tmp_path_factory):
    return with_curves(records, tmp_path_factory.mktemp("records"))


@pytest.fixture(scope="module")
def contents(found):
    return render([section(found, MADE_UP)])


@pytest.fixture(scope="module")
def page(contents):
    return Page(contents["index.html"].decode())


@pytest.fixture(scope="module")
def tables(records):
    built = build(records, MADE_UP)
    return rows_of(built["made-up.csv"]), rows_of(built["made-up-summary.csv"])


# The numbers


def test_the_tables_of_the_page_have_the_text_of_the_csvs(page, tables):
    runs, summary = tables
    shown = page.table_rows("summary")
    assert len(shown) == len(summary) == 24
    assert len(shown[0]) == 11
    assert shown == [{name: row[name] for name in shown[0]} for row in summary]

    pairs = page.table_rows("runs")
    shown = [{**first, **second} for first, second in zip(pairs[::2], pairs[1::2], strict=True)]
    assert len(shown) == len(runs) == 240
    assert shown == [{name: row[name] for name in shown[0]} for row in runs]
    assert {"return_mean", "normalized", "run_id", "corrupted_sha256", "outcome"} < set(shown[0])


def test_the_table_across_cells_has_the_text_of_its_csv(page, records):
    rows = rows_of(build(records, MADE_UP)["made-up-overall.csv"])
    shown = page.table_rows("overall")
    assert len(shown) == len(rows) > 1
    assert {"n", "iqm", "iqm_low", "iqm_high", "drop", "rank", "flags"} < set(shown[0])
    assert shown == [{name: row[name] for name in shown[0]} for row in rows]


def test_the_command_stands_under_each_row(page, tables):
    commands = [
        text for name, cells in page.rows if name == "runs" for _, a, text in cells if a.get("class") == "command"
    ]
    assert commands == [row["command"] for row in tables[0]]


def test_the_heat_map_has_the_means_and_what_was_lost(page, tables, contents):
    """One decimal is shown, the CSV's text stands beside it, and the change is the difference of two of its texts."""
    summary = tables[1]
    means = {(label(row), threat(row), row["rate"], row["scale"]): row for row in summary}
    lines = [cells for name, cells in page.rows if name == "heat"]
    header = [text for tag, _, text in lines[0] if tag == "th"][1:]
    assert header == [
        "none",
        "obs-random rate 0.3, scale 1",
        "obs-adv rate 0.1, scale 1",
        "obs-adv rate 0.3, scale 1",
        "obs-adv rate 0.5, scale 1",
        "obs-adv rate 0.3, scale 2",
    ]
    drawn = [
        element.text for element in ElementTree.fromstring(contents["figures/made-up-hopper-replay-heat.svg"]).iter()
    ]
    for line, learner in zip(lines[1:], LEARNERS, strict=True):
        name, *cells = [text for tag, _, text in line if tag in ("th", "td")]
        values = [(a["value"], text) for tag, a, text in line if tag == "data"]
        assert name == learner
        for (words, rate, scale), cell, (value, shown) in zip(THREATS.values(), cells, values, strict=True):
            row = means[learner, words, f"{rate:g}", f"{scale:g}"]
            assert value == row["mean"]
            assert abs(float(shown.replace(MINUS, "-")) - float(value)) <= 0.05 + 1e-9
            change = float(value) - float(means[learner, "none", "0", "1"]["mean"])
            expected = [shown, f"{change:+.1f}".replace("-", MINUS), "n = 10"]
            assert cell.startswith(" ".join(expected if words != "none" else [shown, "n = 10"]))
            assert ("2 of 10 failed" in cell) == (row["failed"] == "2") == (learner == "riql" and rate == 0.5)
            assert ("surrogate-weak" in cell) == (scale == 2.0)
            assert ("transfer-weak" in cell) == (row["flags"] == "transfer-weak")
            assert shown in drawn or any(text and shown in text for text in drawn)
    assert [row["flags"] for row in summary].count("transfer-weak") == 1


def test_a_change_is_over_the_units_that_both_cells_have(tmp_path):
    """Means over different units differ by what the units are, which is no cost of corruption."""
    made = [record("iql", 0, 38.0, "none"), record("iql", 1, 26.0, "none"), record("iql", 0, 24.5, "obs-random")]
    made += [record("bc", 0, 8.0, "none"), record("bc", 1, 15.0, "obs-random")]  # no unit in common
    (grid,) = section([(tmp_path, run) for run in made], MADE_UP).grids
    at = {(row, where.name): grid.at(row, where) for row in ("iql", "bc") for where in grid.threats[:2]}
    assert [at[name][0].shown_change for name in at] == ["", f"{MINUS}13.5 (1 unit)", "", ""]
    whole = record("iql", 1, 20.0, "obs-random")
    (grid,) = section([(tmp_path, run) for run in (*made, whole)], MADE_UP).grids
    assert grid.at("iql", grid.threats[1])[0].shown_change == f"{MINUS}9.8"


def test_the_worst_case_is_compared_where_it_has_as_many_units(tmp_path):
    selected = Suite("made-up", 1, ("hopper-replay",), ("none", "rew-auto"), ("iql",), units=3)
    made = [record("iql", unit, 30.0, threat) for threat in ENSEMBLES["rew-auto"] for unit in range(2)]
    for units, change in ((2, f"{MINUS}10.0"), (3, "")):
        clean = [record("iql", unit, 40.0, "none") for unit in range(units)]
        (grid,) = section([(tmp_path, run) for run in (*clean, *made)], selected).grids
        (worst,) = [entry for where in grid.threats if where.name == "rew-auto" for entry in grid.at("iql", where)]
        assert (worst.score, worst.shown_change) == ("30.0", change)


def test_versions_are_named_where_there_are_several(tmp_path):
    made = made_up(2, {"bc": ("bc", None)}, {"none": THREATS["none"]})
    made[0] = dataclasses.replace(made[0], versions={**made[0].versions, "corruptbench": "0.0.9"})
    text = " ".join(render([section([(tmp_path, run) for run in made], MADE_UP)])["index.html"].decode().split())
    assert re.search(r"of 2 versions of CorruptBench, .*: 0\.0\.9 \(1 run\), ", text)


def test_failures_are_named(page, records):
    text = " ".join("".join(page.text).split())
    assert "2 of 240 runs failed or diverged" in text
    assert text.count("it diverged") == 2


@pytest.mark.parametrize(("units", "word"), [(4, "incomplete"), (5, "preliminary"), (9, "preliminary"), (10, "ranked")])
def test_how_complete_a_suite_is(units, word, tmp_path):
    some = {name: THREATS[name] for name in ("none", "obs-random")}
    selected = dataclasses.replace(MADE_UP, corruptions=tuple(some), algorithms=("bc", "iql"))
    made = made_up(units, {"bc": ("bc", None), "iql": ("iql", None)}, some)
    guest = record("guest", 0, 5.0, "none")  # with a single unit
    found = section([(tmp_path, run) for run in (*made, guest)], selected)
    assert (found.standing, found.coverage) == (word, (4, 4, units))
    lacking = section([(tmp_path, run) for run in made if run.spec.corruption.name == "none"], selected)
    assert (lacking.standing, lacking.coverage) == ("incomplete", (2, 4, units))


def test_what_a_flag_says_and_the_commands_of_a_row_stand_there(page, contents, tables):
    text = " ".join(html.unescape(contents["index.html"].decode()).split())
    for flag in ("surrogate-weak", "transfer-weak"):
        assert f'<dt class="flag">{flag}</dt><dd>{" ".join(FLAGS[flag].split())}</dd>' in text
    assert "worst</dt>" not in text  # there is no ensemble
    under = [
        [text for _, a, text in cells if a.get("class") == "command"] for name, cells in page.rows if name == "summary"
    ]
    assert [commands for commands in under if commands] == [
        [run["command"] for run in tables[0] if all(run[name] == row[name] for name in CELL)] for row in tables[1]
    ]
    assert text.count("commands of its 10 runs") == 24


def test_what_is_missing_is_shown(tmp_path):
    threats = {name: THREATS[name] for name in ("none", "obs-random")}
    contents = render([section([(tmp_path, run) for run in made_up(2, threats=threats)], MADE_UP)])
    text = " ".join(contents["index.html"].decode().split())
    assert set(re.findall('class="standing ([a-z]+)"', text)) == {"incomplete"}
    assert "8 of the suite's 24 rows have a run, and the shortest of those 2 units." in text
    assert text.count("not run") == 16
    assert not [name for name in contents if "learning" in name or "severity" in name]  # there is nothing to draw


def test_a_cell_without_a_sound_run_has_no_mean(tmp_path):
    made = [record("iql", unit, None, outcome="failed") for unit in range(2)] + [record("iql", 0, 5.0, "none")]
    selected = Suite("made-up", 1, ("hopper-replay",), ("none", "obs-random"), ("iql",), units=2)
    page = Page(render([section([(tmp_path, run) for run in made], selected)])["index.html"].decode())
    (line,) = [cells for name, cells in page.rows if name == "heat"][1:]
    assert [text for tag, _, text in line if tag == "td"] == ["5.0 n = 1", "no mean n = 2 2 of 2 failed"]


def test_a_suite_without_a_run_says_so(tmp_path):
    text = render([section([], MADE_UP)])["index.html"].decode()
    assert "0 of the suite's 24 rows" in " ".join(text.split())


# The figures


def test_a_profile_has_the_cells_and_units_that_all_learners_have(tmp_path):
    made = [
        *made_up(3, {"bc": ("bc", None), "iql": ("iql", None)}, {name: THREATS[name] for name in ("none", "obs-adv")}),
        record("iql", 0, 70.0, "obs-random"),  # no cell of BC's
        record("bc", 0, 5.0, "obs-adv", corruption=CorruptionSpec("obs-adv", 0.3, 2.0)),  # no cell of IQL's
        record("riql", 0, 99.0, "none", options={"riql.alpha": "0.1"}),  # a guest without the other cell
        record("guest", 1, 60.0, "none"),
        record("guest", 1, 50.0, "obs-adv"),
        record("guest", 0, 40.0, "obs-adv"),  # no unit of the other cell
    ]
    found = matrices(section([(tmp_path, run) for run in made], MADE_UP))
    assert [where.name for _, where in found.cells] == ["none", "obs-adv"]
    assert {name: table.shape for name, table in found.scores.items()} == {"bc": (3, 2), "iql": (3, 2), "guest": (1, 2)}
    np.testing.assert_allclose(found.scores["guest"], [[60.0, 50.0]])


def test_a_guest_is_in_the_figures_when_it_has_every_cell_that_all_of_the_suites_own_have(tmp_path):
    """One that was run in some of them would widen each figure for a point or two; its rows are in the tables."""
    made = [
        *made_up(2, {"bc": ("bc", None), "iql": ("iql", None)}, {name: THREATS[name] for name in ("none", "obs-adv")}),
        record("iql", 0, 70.0, "obs-random"),  # no cell of BC's, so a guest may lack it too
        record("whole", 0, 60.0, "none"),
        record("whole", 1, 50.0, "obs-adv"),
        record("part", 0, 40.0, "obs-adv"),
        record("other", 0, 30.0, "obs-random"),  # where none of the suite's own was run
    ]
    suites = section([(tmp_path, run) for run in made], MADE_UP)
    assert (suites.learners[-1], suites.in_part) == ("whole", ("part", "other"))
    (grid,) = suites.grids
    assert {"bc", "iql", "whole"} <= set(grid.learners)
    assert not {"part", "other"} & set(grid.learners)
    text = " ".join(render([suites])["index.html"].decode().split())
    assert "runs of 2 learners that lack a cell that the suite's own have: part, other." in text
    page = Page(text)
    for table in ("summary", "runs"):
        learners = {cells[1][2] for name, cells in page.rows if name == table and len(cells) > 9}
        assert {"whole", "part", "other"} <= learners


def test_results_without_a_run_of_the_suites_own_are_in_the_figures(tmp_path):
    suites = section([(tmp_path, record("mine", 0, 40.0, "obs-adv"))], MADE_UP)
    assert (suites.learners[-1], suites.in_part) == ("mine", ())
    assert "lack a cell" not in render([suites])["index.html"].decode()


@pytest.fixture
def drawn(monkeypatch, found):
    """The axes of a figure by its name in corruptbench/page, with what the suite's section has to draw."""

    def draw_again(name):
        module = severity_module if name == "severity" else figures_module
        kept = []
        monkeypatch.setattr(module, "picture", lambda *arguments: kept.append(arguments[-1]))
        suites = section(found, MADE_UP)
        looks = styles(suites.learners)
        getattr(module, name)(suites, suites.grids[0], looks)
        figure = Figure()
        kept[0](figure)
        return suites, looks, [axes for axes in figure.axes if axes.get_visible() and axes.axison]

    return draw_again


@pytest.mark.parametrize(("low", "high"), [(2, 8), (11, 19), (0.3, 3000), (1.02, 1.05), (3e5, 8e6)])
def test_a_logarithmic_axis_has_plain_numbers_however_little_is_in_view(low, high):
    def draw(figure):
        axes = figure.subplots()
        axes.plot([0, 1], [low, high])
        axes.set(yscale="log", xticks=[])
        plain_numbers(axes.yaxis)

    svg = ElementTree.fromstring(picture("a", "a title", "a text", (4, 3), draw).svg)
    shown = [text.text for text in svg.iter("{http://www.w3.org/2000/svg}text") if text.text != "a title"]
    assert len([number for number in map(float, shown) if low <= number <= high]) >= 2


def lines_of(axes, look, marker):
    """The points of what is drawn in a learner's colour with a marker."""
    return [
        [tuple(point) for point in line.get_xydata()]
        for line in axes.lines
        if (line.get_color(), line.get_marker()) == (look.color, marker)
    ]


def test_the_interval_figure_has_every_unit_its_mean_and_its_interval(drawn):
    suites, looks, panels = drawn("intervals")
    (grid,) = suites.grids
    for axes, where in zip(panels, grid.threats, strict=True):
        for down, name in enumerate(grid.learners):
            runs, row = suites.by_place[name, grid.dataset, where], grid.at(name, where)[0].row
            sound = [(float(run["normalized"]), down) for run in runs if run["outcome"] == "ok"]
            assert [point for (point,) in lines_of(axes, looks[name], "o")] == sound
            broken = [(suites.score(run), down) for run in runs if run["outcome"] != "ok"]
            assert [point for (point,) in lines_of(axes, looks[name], "x")] == broken
            assert lines_of(axes, looks[name], "|") == [[(float(row["mean"]), down)]]
            ends = [(float(row["ci_low"]), down), (float(row["ci_high"]), down)]
            assert lines_of(axes, looks[name], "None") == [ends]


def test_the_learning_figure_has_every_curve_and_their_mean(drawn):
    suites, looks, panels = drawn("learning")
    (grid,) = suites.grids
    for axes, where in zip(panels, grid.threats, strict=True):
        for name in grid.learners:
            curves = [suites.curves[run["run_id"]] for run in suites.by_place[name, grid.dataset, where]
                      if run["run_id"] in suites.curves]  # fmt: skip
            assert sorted(lines_of(axes, looks[name], "None")) == sorted(curves)
            shared = sorted(set.intersection(*({step for step, _ in curve} for curve in curves)))
            means = [(step, sum(dict(curve)[step] for curve in curves) / len(curves)) for step in shared]
            (thick,) = lines_of(axes, looks[name], looks[name].marker)
            np.testing.assert_allclose(thick, means)


def test_the_severity_figure_has_the_means_over_the_strength(drawn):
    suites, looks, panels = drawn("severity")
    (grid,) = suites.grids
    for axes, axis in zip(panels, axes_of(grid), strict=True):
        threats = [where for where in grid.threats if where.name == "none" and axis.varied == "rate"] + [*axis.threats]
        for name in grid.learners:
            rows = [(float(getattr(where, axis.varied)), grid.at(name, where)[0].row) for where in threats]
            assert lines_of(axes, looks[name], looks[name].marker) == [[(x, float(row["mean"])) for x, row in rows]]


def test_what_varies_in_strength_has_a_curve(found):
    (grid,) = section(found, MADE_UP).grids
    axes = [(axis.name, axis.varied, axis.fixed, [(t.rate, t.scale) for t in axis.threats]) for axis in axes_of(grid)]
    assert axes == [
        ("obs-adv", "rate", "1", [("0.1", "1"), ("0.3", "1"), ("0.5", "1")]),
        ("obs-adv", "scale", "0.3", [("0.3", "1"), ("0.3", "2")]),
    ]


def test_figures_are_files_and_part_of_the_page(contents, page):
    kinds = [
        "hopper-replay-heat",
        "hopper-replay-intervals",
        "hopper-replay-learning",
        "hopper-replay-severity",
        "profiles",
    ]
    wanted = {f"figures/made-up-{kind}.{ending}" for kind in kinds for ending in ("svg", "png")}
    assert set(contents) == {"index.html", *wanted}
    for name in wanted:
        if name.endswith(".png"):
            assert contents[name].startswith(b"\x89PNG\r\n\x1a\n")
        else:
            assert ElementTree.fromstring(contents[name]).tag == "{http://www.w3.org/2000/svg}svg"
    inline = [attributes for tag, attributes in page.tags if tag == "svg"]
    assert [a["aria-labelledby"] for a in inline] == [f"made-up-{kind}-title" for kind in kinds[1:]]
    assert len(set(page.ids)) == len(page.ids)
    assert INK not in contents["index.html"].decode().split("</style>", 1)[1]  # it is the page's own colour there


def test_the_same_records_give_the_same_bytes(found, contents):
    assert render([section(found[::-1], MADE_UP)]) == contents


# What comes in with a record


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    made = [
        dataclasses.replace(
            record(
                "iql", unit, 5.0 * unit, name, outcome="failed" if unit == 2 else "ok", options={"iql.name": HOSTILE}
            ),
            command=f"corruptbench run {HOSTILE}",
            reason=HOSTILE if unit == 2 else None,
        )
        for name in ("none", "obs-random")
        for unit in range(3)
    ]
    found = with_curves(made, tmp_path_factory.mktemp("hostile"))
    return render([section(found, Suite("made-up", 7, ("hopper-replay",), ("none", "obs-random"), ("iql",), units=3))])


def test_text_of_a_record_is_text(hostile):
    page = Page(hostile["index.html"].decode())
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert not [attributes for _, attributes in page.tags if any(name.startswith("on") for name in attributes)]
    assert not {"img", "iframe", "link", "object", "base", "form"} & {tag for tag, _ in page.tags}
    assert not [attributes for _, attributes in page.tags if "src" in attributes]
    assert f"corruptbench run {HOSTILE}" in "".join(page.text)
    for name, content in hostile.items():
        if name.endswith(".svg"):
            assert not [e for e in ElementTree.fromstring(content).iter() if e.tag.endswith(("script", "image", "img"))]


# The command line


def write(records, folder):
    for run in records:
        (folder / run.run_id).mkdir(parents=True, exist_ok=True)
        (folder / run.run_id / "record.json").write_text(run.text())
    return folder


def report(*arguments):
    return main(["leaderboard", "report", *map(str, arguments)])


def test_the_command_writes_the_page_and_the_figures(tmp_path, capsys):
    folder = write([record("iql", 0, 20.0, "none", steps=25_000)], tmp_path / "records")
    assert report("--records", folder, "--suite", "tiny", "--out", tmp_path / "page") == 0
    assert capsys.readouterr().out == f"{tmp_path / 'page' / 'index.html'}: tiny\n"
    written = {
        path.relative_to(tmp_path / "page").as_posix() for path in (tmp_path / "page").rglob("*") if path.is_file()
    }
    kinds = ("hopper-replay-heat", "hopper-replay-intervals", "profiles")
    assert written == {"index.html", *(f"figures/tiny-{kind}.{end}" for kind in kinds for end in ("svg", "png"))}


def test_records_of_no_suite(tmp_path, capsys):
    folder = write([record("iql", 0, 20.0, "none", steps=77)], tmp_path / "records")
    assert report("--records", folder, "--out", tmp_path / "page") == 2
    assert "none of the 1 records belongs to a suite" in capsys.readouterr().err
    assert not (tmp_path / "page").exists()


def test_a_damaged_curve_is_no_page(tmp_path, capsys):
    run = record("iql", 0, 20.0, "none", steps=25_000)
    folder = write([run], tmp_path / "records")
    (folder / run.run_id / "curve.csv").write_text("step,normalized_mean\n5000,1.0\n4000,2.0\n")
    assert report("--records", folder, "--out", tmp_path / "page") == 4
    assert "curve.csv: not a learning curve with steps that go up" in capsys.readouterr().err
    assert not (tmp_path / "page").exists()


@pytest.mark.parametrize("missing", ["jinja2", "matplotlib"])
def test_what_is_not_installed_is_named(missing, tmp_path, monkeypatch, capsys):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == missing else real(name, *rest))
    assert report("--out", tmp_path / "page") == 2
    said = f"corruptbench leaderboard: leaderboard report needs {missing}: pip install 'corruptbench[report]'\n"
    assert capsys.readouterr().err == said


# In a browser


def why_no_browser():
    if importlib.util.find_spec("playwright") is None:
        return "playwright is not installed"
    return None if chromium() else f"none of {', '.join(CHROMIUM)} is on the PATH"


CHROMIUM = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "chrome")


def chromium():
    return next(filter(None, map(shutil.which, CHROMIUM)), None)


@pytest.fixture(scope="module")
def browser():
    """Chromium; where there is none the tests are skipped, or fail with CORRUPTBENCH_REQUIRE_CHROMIUM=1."""
    reason = why_no_browser()
    if reason:
        (pytest.fail if os.environ.get("CORRUPTBENCH_REQUIRE_CHROMIUM") == "1" else pytest.skip)(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium())
        yield launched
        launched.close()


@dataclasses.dataclass
class Opened:
    page: object
    requests: list
    complaints: list


@pytest.fixture
def opened(browser, tmp_path):
    """Opens a page from the file system at a width, and notes what it asks for and complains of."""
    contexts = []

    def open_page(content, width=1400, scheme="light"):
        path = tmp_path / "index.html"
        path.write_bytes(content)
        contexts.append(
            browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme, offline=True)
        )
        page = contexts[-1].new_page()
        found = Opened(page, [], [])
        page.on("request", lambda request: found.requests.append(request.url))
        page.on("console", lambda message: found.complaints.append(message.text))
        page.on("pageerror", lambda error: found.complaints.append(str(error)))
        page.goto(path.as_uri())
        return found

    yield open_page
    for context in contexts:
        context.close()


def column_of(page, table, name):
    return page.eval_on_selector_all(
        f"table.{table} td[data-column='{name}']", "cells => cells.map(cell => cell.textContent.trim())"
    )


def test_a_click_on_a_column_sorts_by_number(opened, contents, tables):
    found = opened(contents["index.html"])
    page, before = found.page, [row["mean"] for row in tables[1]]
    header = page.locator("table.summary th", has_text="mean")
    assert column_of(page, "summary", "mean") == before
    assert header.get_attribute("aria-sort") is None
    header.get_by_role("button").click()
    assert column_of(page, "summary", "mean") == sorted(before, key=float, reverse=True)
    assert header.get_attribute("aria-sort") == "descending"
    header.get_by_role("button").press("Enter")
    assert column_of(page, "summary", "mean") == sorted(before, key=float) != sorted(before)
    assert header.get_attribute("aria-sort") == "ascending"
    assert page.locator("[aria-sort]").count() == 1
    assert found.complaints == []
    assert found.requests == [page.url]


def test_a_row_keeps_its_command_and_what_has_no_number_comes_last(opened, contents, tables):
    page = opened(contents["index.html"]).page
    header = page.locator("table.runs th", has_text="normalized").get_by_role("button")
    for reverse in (True, False):
        header.click()
        scores = column_of(page, "runs", "normalized")
        numbers = [float(score) for score in scores[:-2]]
        assert numbers == sorted(numbers, reverse=reverse)
        assert scores[-2:] == ["", ""]
        commands = {row["run_id"]: row["command"] for row in tables[0]}
        for body in page.locator("table.runs tbody").all()[::40]:
            assert body.locator("code.command").text_content() == commands[body.get_attribute("data-run")]


def test_on_a_phone_the_learner_of_a_row_stays_in_sight(opened, contents):
    page = opened(contents["index.html"], 360).page
    page.locator("[aria-label^='Summary of']").evaluate("region => region.scrollLeft = region.scrollWidth")
    for cell in (page.locator("table.summary td.who").first, page.locator("table.summary th.who")):
        box = cell.bounding_box()
        assert 0 <= box["x"] < box["x"] + box["width"] <= 360


def test_names_are_sorted_from_a_to_z_first(opened, contents):
    page = opened(contents["index.html"]).page
    page.locator("table.summary th", has_text="flags").get_by_role("button").click()
    flags = column_of(page, "summary", "flags")
    assert flags == sorted(flags)
    assert page.locator("[aria-sort]").get_attribute("aria-sort") == "ascending"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1400])
def test_the_page_fits_its_width_and_can_be_read(width, scheme, opened, contents):
    found = opened(contents["index.html"], width, scheme)
    assert found.page.evaluate("document.documentElement.scrollWidth") == width
    assert found.complaints == []
    for selector in (
        "p",
        "table.heat td",
        "table.heat .failed",
        "table.heat .flag",
        "figcaption",
        "svg text",
        "button",
    ):
        assert found.page.evaluate(CONTRAST, selector) >= 4.5, selector
    assert found.page.evaluate(CONTRAST, "svg path[style*='stroke: var(--c']") >= 3  # of a line, by WCAG


CONTRAST = """selector => {
  // the lowest contrast of a text or a line with what it stands on (WCAG 2), 0 where there is none
  const context = new OffscreenCanvas(1, 1).getContext("2d", {willReadFrequently: true});
  const rgb = (...layers) => {
    context.clearRect(0, 0, 1, 1);
    for (const layer of layers) { context.fillStyle = layer; context.fillRect(0, 0, 1, 1); }
    return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const luminance = (color) => {
    const [r, g, b] = color.map((x) => x / 255).map((x) => x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (element) => {
    const layers = [];
    for (let e = element; e; e = e.parentElement) layers.unshift(getComputedStyle(e).backgroundColor);
    const style = getComputedStyle(element);
    const drawn = element.tagName === "path" ? style.stroke : style.fill;
    const ink = luminance(rgb(element instanceof SVGElement ? drawn : style.color));
    const paper = luminance(rgb(...layers));
    return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
  };
  const found = [...document.querySelectorAll(selector)];
  return found.length && Math.min(...found.map(contrast));
}"""


def test_no_text_of_a_record_runs(opened, hostile):
    found = opened(hostile["index.html"])
    assert found.page.title() == "CorruptBench: made-up-7"
    assert found.complaints == []
    assert HOSTILE in found.page.locator("table.runs code.command").first.text_content()


def test_the_policy_of_the_page_stops_a_script_that_came_in_all_the_same(opened, contents):
    inside = b"<script>document.title = 'taken'</script><img src='https://example.com/x.png'></body>"
    found = opened(contents["index.html"].replace(b"</body>", inside))
    assert found.page.title() == "CorruptBench: made-up-7"
    assert len(found.complaints) == 2
    assert all("Content Security Policy" in complaint for complaint in found.complaints)


def test_a_command_is_copied_by_a_click(opened, contents, tables):
    page = opened(contents["index.html"]).page
    page.locator("table.runs .copy").first.click()
    assert page.evaluate("getSelection().toString()") == tables[0][0]["command"]
