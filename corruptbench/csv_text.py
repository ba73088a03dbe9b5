"""CSV whose text no spreadsheet takes for a formula: such a cell has an apostrophe in front until it is read."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_RISKY = tuple("=+-@\t\r\n'")
"""With these a formula begins (OWASP, CSV injection); an apostrophe is among them so that each cell comes back."""
_NUMBER = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")


def to_csv(header: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """The rows under their header; numbers stay as they are, as numbers or as text."""
    lines = [header, *([_defused(row.get(name)) for name in header] for row in rows)]
    return "".join(f"{','.join(map(_quoted, line))}\n" for line in lines)


def _quoted(value: Any) -> str:
    """As Python's csv module has it, and around a carriage return too, which that module does not read otherwise."""
    text = "" if value is None else str(value)
    return '"{}"'.format(text.replace('"', '""')) if any(c in text for c in ',"\r\n') else text


def _defused(value: Any) -> Any:
    risky = isinstance(value, str) and value.startswith(_RISKY) and not _NUMBER.fullmatch(value)
    return f"'{value}" if risky else value


def fused(text: str) -> str:
    """A cell of :func:`to_csv` as it was."""
    defused = text.startswith("'") and text[1:].startswith(_RISKY)
    return text[1:] if defused else text
