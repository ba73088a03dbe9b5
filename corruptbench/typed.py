"""Whether what was read has the types that its dataclass declares: Python does not look."""

import dataclasses
import types
import typing
from functools import cache
from typing import Any

from corruptbench.errors import shown


def misfit(value: Any, hint: Any, name: str) -> str | None:
    """The first value of another type, as ``spec.steps is '5', needed is int``; None where all fit.

    ``hint`` is a dataclass, ``dict[K, V]``, ``tuple[X, ...]``, ``X | None``, ``Any`` or a class; a float may be an int.
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any or (type(None) in arguments and value is None):
        return None
    if origin in (types.UnionType, typing.Union):
        return misfit(value, next(a for a in arguments if a is not type(None)), name)
    fits = isinstance(value, (int, float) if hint is float else origin or hint)
    if not fits or (isinstance(value, bool) and hint is not bool):
        return f"{name} is {shown(str(value))}, needed is {getattr(hint, '__name__', hint)}"
    inner: list[tuple[Any, Any, str]] = []
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        inner = [(getattr(value, field), of, f"{name}.{field}") for field, of in _hints(hint).items()]
    elif origin is dict:
        inner = [(item, arguments[1], f"{name}.{key}") for key, item in value.items()]
    elif origin is tuple:
        inner = [(item, arguments[0], name) for item in value]
    return next(filter(None, (misfit(*each) for each in inner)), None)


@cache
def _hints(cls: Any) -> dict[str, Any]:
    return {field.name: typing.get_type_hints(cls)[field.name] for field in dataclasses.fields(cls)}
