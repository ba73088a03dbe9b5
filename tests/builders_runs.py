"""Folders of runs, changed as somebody might change them."""

from pathlib import Path

from corruptbench.store import MANIFEST, publish


def rewrite(folder: Path, **files: str) -> None:
    """Gives a run's folder other content in some JSON files, under a manifest of its own."""

    def write(temporary: Path) -> None:
        for path in folder.iterdir():
            if path.name != MANIFEST:
                (temporary / path.name).write_bytes(path.read_bytes())
        for name, content in files.items():
            (temporary / f"{name}.json").write_text(content)

    publish(folder, write, replace=True)
