"""The page and its figures as files: one HTML document that loads nothing, and each figure as SVG and PNG."""

import base64
import hashlib
import importlib.util
from collections.abc import Sequence
from importlib.metadata import version
from importlib.resources import files

from corruptbench.errors import UsageError
from corruptbench.page.figures import figures
from corruptbench.page.grid import FLAGS
from corruptbench.page.section import Section
from corruptbench.tables.labels import label, threat

PAGE = "index.html"
FIGURES = "figures"


def check_libraries() -> None:
    """Raises UsageError, before anything is read, where what draws the page is not installed."""
    missing = [name for name in ("jinja2", "matplotlib") if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(f"leaderboard report needs {' and '.join(missing)}: pip install 'corruptbench[report]'")


def render(sections: Sequence[Section]) -> dict[str, bytes]:
    """File name -> content; the same rows and curves give the same bytes with the same versions of what draws them."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("corruptbench.page", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    drawn = {section.suite.name: figures(section) for section in sections}
    script, styles = (files("corruptbench.page").joinpath(name).read_text("utf-8") for name in ("page.js", "page.css"))
    page = environment.get_template("template.html").render(
        sections=sections,
        drawn=drawn,
        folder=FIGURES,
        flags=FLAGS,
        threat=threat,
        label=label,
        inline=lambda picture: Markup(picture.inline()),  # drawn here, and matplotlib escapes the text in it
        script=Markup(script),
        # a hash, so that no other script runs even if one came in with a record
        script_sha256=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        styles=Markup(styles),
        version=version("corruptbench"),
    )
    contents = {PAGE: page.encode()}
    for picture in (picture for found in drawn.values() for picture in found.all):
        contents[f"{FIGURES}/{picture.name}.svg"] = picture.svg
        contents[f"{FIGURES}/{picture.name}.png"] = picture.png
    return contents
