"""Names of algorithms, corruptions and optimizers: built in, from installed packages, or from a file of the user's.

A built-in is any class that a module of the package registers, so adding one is adding a file. Other names are looked
up among the entry points of installed packages, and ``package.module:Class`` names a class directly.
"""

import dataclasses
import hashlib
import importlib
import inspect
import logging
import os
import pkgutil
import sys
import typing
from collections.abc import Callable
from contextvars import ContextVar
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from corruptbench.errors import PluginError, UsageError, sentence, shown, unknown
from corruptbench.names import check_name, check_printable, is_class

log = logging.getLogger(__name__)
T = TypeVar("T")

PLUGIN_MODULE = "corruptbench_plugin_"
"""How the modules of ``--plugin`` files are called, before the file's name."""

PLUGIN_TIMEOUT = 3600.0
"""Seconds that a plug-in's corruption may take."""

_loading: ContextVar[tuple[Path, str] | None] = ContextVar("_loading", default=None)
"""File and SHA-256 of the plug-in that is being imported."""


class Registry:
    """The classes of one kind by name; modules are imported at the first look-up, not before."""

    def __init__(self, kind: str, package: str, base: str) -> None:
        self.kind, self.package, self.base = kind, package, base
        self._classes: dict[str, Any] = {}
        self._complete = False

    def register(self, name: str) -> Callable[[T], T]:
        """Class decorator that enters a class under ``name``; raises UsageError where it is none, or taken."""
        return self.entering(check_name(name, self.kind))

    def entering(self, name: str) -> Callable[[T], T]:
        """As :meth:`register`, for a name that was looked at, which may be ``package.module:Class``."""

        def enter(cls: T) -> T:
            taken = self._classes.get(name)
            if taken is not None and _origin(taken) != _origin(cls):
                module = getattr(cls, "__module__", "?")
                raise UsageError(f"{self.kind} {name!r} of {module} is already defined by {taken.__module__}")
            self._classes[name] = cls
            if "name" not in vars(cls):
                cls.name = name  # type: ignore[attr-defined]
            loading = _loading.get()
            if loading is not None and getattr(cls, "__module__", "") == f"{PLUGIN_MODULE}{loading[0].stem}":
                cls.plugin = loading  # type: ignore[attr-defined]
            return cls

        return enter

    def names(self) -> list[str]:
        """Every known name, sorted; entry points that cannot be imported are warned of and left out."""
        self._import_builtins()
        for point in entry_points(group=self.package):
            if point.name not in self._classes:
                try:
                    self.register(point.name)(self._checked(point.name, point.load()))
                except (Exception, SystemExit) as error:  # a broken package must not take the others with it
                    self._classes.pop(point.name, None)
                    log.warning("entry point %r of %s cannot be imported: %s", point.name, point.value, error)
        return sorted(self._classes)

    def get(self, name: str) -> Any:
        """The class called ``name``; raises UsageError with the nearest right name, PluginError for one of no use."""
        self._import_builtins()
        if name not in self._classes:
            self.entering(name)(self._checked(name, self._found(name)))
        return self._checked(name, self._classes[name])

    def known(self, name: str) -> Any:
        """As :meth:`get`, for a name that stands in a file: no module is imported because a stranger wrote its name."""
        if ":" in name and name not in self._classes:
            raise UsageError(
                f"{self.kind} {shown(name)} is a class that this command does not name, so it is not loaded"
            )
        return self.get(name)

    def _found(self, name: str) -> Any:
        """A class that is not registered yet: named directly, or by an entry point."""
        module_name, colon, class_name = name.partition(":")
        if colon:
            if not is_class(name):
                raise UsageError(f"{self.kind} {shown(name)} is no class, which is spelled package.module:Class")
            try:
                return getattr(importlib.import_module(module_name), class_name)
            except (Exception, SystemExit) as error:
                raise UsageError(f"unknown {self.kind} {name!r}: {' '.join(str(error).split())}") from error
        for point in entry_points(group=self.package, name=name):
            try:
                return point.load()
            except (Exception, SystemExit) as error:
                value = point.value
                raise PluginError(f"{self.kind} {name!r}: its entry point {value} raised {sentence(error)}") from error
        raise unknown(self.kind, name, self.names())

    def _checked(self, name: str, cls: Any) -> Any:
        """``cls``, if it is of use: a dataclass made from the base, with nothing abstract and all defaults."""
        base = getattr(importlib.import_module(self.package), self.base)
        where = f"{self.kind} {name!r}"
        if not (isinstance(cls, type) and issubclass(cls, base) and dataclasses.is_dataclass(cls)):
            raise PluginError(f"{where} is not what is needed, a frozen dataclass made from {base.__name__}")
        if "__dataclass_fields__" not in vars(cls):
            raise PluginError(f"{where} needs @dataclass(frozen=True) of its own, or its settings would not be seen")
        if inspect.isabstract(cls):
            raise PluginError(f"{where} lacks {', '.join(sorted(cls.__abstractmethods__))}")
        for field in dataclasses.fields(cls):
            check_name(field.name, f"{where}: its field", PluginError)
            if field.init and field.default is dataclasses.MISSING:
                raise PluginError(f"{where}: its field {field.name!r} needs a default, and default_factory is none")
        try:
            typing.get_type_hints(cls)
        except Exception as error:
            raise PluginError(f"{where}: its type hints raised {sentence(error)}") from error
        return cls

    def _import_builtins(self) -> None:
        if not self._complete:
            package = importlib.import_module(self.package)
            for module in pkgutil.iter_modules(package.__path__):
                importlib.import_module(f"{self.package}.{module.name}")
            self._complete = True


ALGORITHMS = Registry("algorithm", "corruptbench.algos", "Agent")
CORRUPTIONS = Registry("corruption", "corruptbench.corruptions", "Corruption")


def load_plugin(path: Path) -> None:
    """Runs a Python file, whose decorators register what it defines. A plug-in is code that you trust.

    The file is compiled from what is read here, so what runs is what was hashed, and nothing is left beside it.
    """
    check_printable(str(path), "--plugin")
    if not os.path.isfile(path):
        raise UsageError(f"--plugin {path}: there is no such file")
    if path.suffix != ".py":
        raise UsageError(f"--plugin {path}: not a Python file (its name must end in .py)")
    source = path.read_bytes()
    module = ModuleType(f"{PLUGIN_MODULE}{path.stem}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module
    token = _loading.set((path.absolute(), hashlib.sha256(source).hexdigest()))
    try:
        exec(compile(source, path, "exec"), module.__dict__)
    except UsageError:
        raise
    except (Exception, SystemExit) as error:
        raise PluginError(f"--plugin {path}: importing it raised {sentence(error)}") from error
    finally:
        _loading.reset(token)


def plugin_file(cls: type) -> Path | None:
    """The ``--plugin`` file that defines a class, None for any other class."""
    plugin: tuple[Path, str] | None = vars(cls).get("plugin")
    return plugin[0] if plugin else None


def source_sha256(cls: type) -> str | None:
    """SHA-256 of the file that defines a plug-in's class, None for a built-in: an edited plug-in is another run."""
    plugin: tuple[Path, str] | None = vars(cls).get("plugin")
    if plugin:
        return plugin[1]
    if cls.__module__.startswith("corruptbench."):
        return None
    return hashlib.sha256(Path(inspect.getfile(cls)).read_bytes()).hexdigest()


def _origin(cls: Any) -> tuple[str, str]:
    return getattr(cls, "__module__", "?"), getattr(cls, "__qualname__", repr(cls))
