"""YAML as settings need it: the core schema of YAML 1.2, without tags, within limits.

So ``3e-4`` is a number, and ``no``, ``12:30`` and ``2026-01-01`` are text, as they are written.
"""

import math
import re
from pathlib import Path
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode

from corruptbench.errors import UsageError, shown

LARGEST = 1 << 18
"""Bytes of a file; the scanner is pure Python, and takes up to 0.7 seconds for so many."""
_MOST_NODES = 10_000
"""Values in a file, those that an alias stands for counted again wherever it stands."""
_DEEPEST = 32
_LONGEST_NUMBER = 40

_SCALARS = {
    "null": r"~|null|Null|NULL|",
    "bool": r"true|True|TRUE|false|False|FALSE",
    "int": r"[-+]?[0-9]+",
    "float": r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?",
}
"""Plain scalars by type, the first that fits; what fits none is text. Infinity and NaN are no settings, so text."""


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file as a mapping; raises UsageError, with file and line, for one that is none or beyond the limits."""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise UsageError(f"{path}: not readable as YAML: allowed are {LARGEST} bytes, and it has more")
        node = _Loader(content.decode("utf-8")).get_single_node()
        value = node and _value(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = "" if mark is None else f"line {mark.line + 1}: "
        raise UsageError(
            f"{path}: not readable as YAML: {line}{(error.problem or error.context or '')[:200]}"
        ) from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"{path}: not readable as YAML: {' '.join(str(error).split())}") from error
    if not isinstance(value, dict):
        raise UsageError(f"{path}: it holds a {type(value).__name__}, and names with values are needed")
    return value


class _Loader(yaml.SafeLoader):
    """Composes nodes and counts them, so that a trap is refused where it begins; nothing else of it is used."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.count = self.depth = 0
        self.sizes: dict[Node, int] = {}  # of a node that is whole: itself and those in it

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        event, before = self.peek_event(), self.count
        if getattr(event, "tag", None) is not None:
            raise _error("a tag stands before a value, and none is read", event)
        self.depth += 1
        if self.depth > _DEEPEST:
            raise _error(f"values lie more than {_DEEPEST} deep in each other", event)
        node = super().compose_node(parent, index)
        assert node is not None
        self.depth -= 1
        if not isinstance(event, yaml.AliasEvent):
            self.count += 1
            self.sizes[node] = self.count - before
        elif node in self.sizes:
            self.count += self.sizes[node]
        else:
            raise _error(f"the alias {shown(event.anchor or '')} stands inside of what it stands for", event)
        if self.count > _MOST_NODES:
            raise _error(f"more than {_MOST_NODES} values up to here, with aliases written out", event)
        return node


def _value(node: Node) -> Any:
    if isinstance(node, ScalarNode):
        return _scalar(node)
    if not isinstance(node, MappingNode):
        return [_value(item) for item in node.value]
    found: dict[str, Any] = {}
    for name_node, value_node in node.value:
        name = _value(name_node)
        if not isinstance(name, str):
            raise _error(f"the name {shown(str(name))} is no text", name_node)
        if name in found:
            raise _error(f"{shown(name)} stands twice", name_node)
        found[name] = _value(value_node)
    return found


def _scalar(node: ScalarNode) -> Any:
    """Text in quotes is text, whatever it looks like."""
    text = node.value
    kind = next((k for k, pattern in _SCALARS.items() if node.style is None and re.fullmatch(pattern, text)), "str")
    if kind in ("int", "float"):
        if len(text) > _LONGEST_NUMBER:
            raise _error(f"a number has {len(text)} characters, allowed are {_LONGEST_NUMBER}", node)
        number = int(text) if kind == "int" else float(text)
        if not math.isfinite(number):
            raise _error(f"{text} is more than a number can be", node)
        return number
    return None if kind == "null" else text.lower() == "true" if kind == "bool" else text


def _error(problem: str, at: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=at.start_mark)
