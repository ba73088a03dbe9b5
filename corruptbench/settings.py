"""Settings as people write them, turned into dataclasses: unknown names and wrong types are errors."""

import dataclasses
import math
import types
import typing
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

from corruptbench.errors import CorruptBenchError, PluginError, UsageError, nearest, sentence, shown, unknown
from corruptbench.names import is_value
from corruptbench.yaml_files import read_yaml

T = TypeVar("T")
CONFIGS = Path(str(files("corruptbench.configs")))


def build(cls: type[T], values: dict[str, Any], where: str) -> T:
    """An instance of a dataclass from values that may be text; ``where`` begins the errors.

    Raises UsageError with the nearest right name for an unknown field, and for a value of the wrong type.
    """
    hints = typing.get_type_hints(cls)
    fields = {f.name: hints[f.name] for f in dataclasses.fields(cls) if f.init}  # type: ignore[arg-type]
    converted = {}
    for name, value in values.items():
        key = name.replace("-", "_")
        if key not in fields:
            allowed = ", ".join(sorted(fields))
            raise UsageError(f"{where}: unknown option {shown(name)}: known are {allowed}{nearest(key, fields)}")
        converted[key] = convert(value, fields[key], f"{where}: {name}")
    try:
        return cls(**converted)
    except CorruptBenchError:
        raise
    except Exception as error:  # a plug-in's own checks
        raise PluginError(f"{where} raised {sentence(error)}") from error


def convert(value: Any, hint: Any, where: str) -> Any:
    """``value``, perhaps text, as ``hint``: bool, int, float, str, ``X | None`` or ``tuple[X, ...]``."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        if value is None or (isinstance(value, str) and value.lower() == "none"):
            return None
        return convert(value, next(a for a in arguments if a is not type(None)), where)
    if origin is tuple:
        items = value.split(",") if isinstance(value, str) else value
        if not isinstance(items, list | tuple):
            raise UsageError(f"{where} is {value!r}, needed are values with commas between them")
        return tuple(convert(item, arguments[0], where) for item in items)
    if hint is bool:
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.lower() in ("true", "false"):
            return value.lower() == "true"
        raise UsageError(f"{where} is {value!r}, allowed are true and false")
    if hint is str and isinstance(value, str):
        if not is_value(value):
            raise UsageError(
                f"{where} is {shown(value)}, allowed is text that can be printed, without ';', up to 1000 characters"
            )
        return value
    if hint in (int, float) and isinstance(value, str | int | float) and not isinstance(value, bool):
        try:
            number = hint(value)
        except ValueError:
            number = None
        if number is not None and not math.isfinite(number):
            raise UsageError(f"{where} is {value!r}, needed is a finite number")
        if number is not None and float(number) == float(value):
            return number
    raise UsageError(f"{where} is {value!r}, needed is a value of type {getattr(hint, '__name__', hint)}")


def parse_threat(text: str) -> tuple[str, dict[str, str]]:
    """``obs-adv:rate=0.1,scale=0.5`` to its name and its settings."""
    return with_settings(text, f"--corrupt {text!r}")


def with_settings(text: str, where: str) -> tuple[str, dict[str, str]]:
    """``name:one=1,other=2`` to the name and the settings; raises UsageError, which ``where`` begins.

    ``package.module:Class`` names a class, so the settings begin after the last colon that is followed by ``name=``. A
    whole number alone goes on with the value before it, as in ``hidden=128,128``.
    """
    name, settings = text, ""
    head, colon, tail = text.rpartition(":")
    if colon and "=" in tail:
        name, settings = head, tail
    pairs: dict[str, str] = {}
    for item in filter(None, settings.split(",")):
        key, equals, value = item.partition("=")
        if item.isdecimal() and pairs:
            pairs[[*pairs][-1]] += f",{item}"
            continue
        if not equals or key in pairs:
            raise UsageError(f"{where}: {item!r} is not name=value, once each, with commas between")
        pairs[key] = value
    return name, pairs


def names(kind: str) -> list[str]:
    """Names of the files in ``configs/<kind>``."""
    return sorted(path.stem for path in (CONFIGS / kind).glob("*.yaml"))


def named(kind: str, name: str) -> dict[str, Any]:
    """The content of ``configs/<kind>/<name>.yaml``; raises UsageError for an unknown name."""
    if name not in names(kind):
        raise unknown(kind.rstrip("s"), name, names(kind))
    return read_yaml(CONFIGS / kind / f"{name}.yaml")
