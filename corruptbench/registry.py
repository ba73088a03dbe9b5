"""Names of algorithms, corruptions and optimizers: built in, from installed packages, or from a file of the user's.

A built-in is any class that a module of the package registers, so adding one is adding a file. Other names are looked
up among the entry points of installed packages, and ``package.module:Class`` names a class directly.
"""

import hashlib
import importlib
import importlib.util
import inspect
import logging
import pkgutil
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import TypeVar

from corruptbench.errors import PluginError, UsageError, unknown

log = logging.getLogger(__name__)
T = TypeVar("T", bound=type)

PLUGIN_MODULE = "corruptbench_plugin_"
"""How the modules of ``--plugin`` files are called, before the file's name."""


class Registry:
    """The classes of one kind by name; modules are imported at the first look-up, not before."""

    def __init__(self, kind: str, package: str) -> None:
        self.kind, self.package = kind, package
        self._classes: dict[str, type] = {}
        self._complete = False

    def register(self, name: str) -> Callable[[T], T]:
        """Class decorator that enters a class under ``name``; raises UsageError where the name is taken."""

        def enter(cls: T) -> T:
            taken = self._classes.get(name)
            if taken is not None and _origin(taken) != _origin(cls):
                raise UsageError(f"{self.kind} {name!r} of {cls.__module__} is already defined by {taken.__module__}")
            self._classes[name] = cls
            cls.name = name  # type: ignore[attr-defined]
            return cls

        return enter

    def names(self) -> list[str]:
        """Every known name, sorted; entry points that cannot be imported are warned of and left out."""
        self._import_builtins()
        for point in entry_points(group=self.package):
            if point.name not in self._classes:
                try:
                    self._enter(point.name, point.load())
                except Exception as error:  # a broken package must not take the others with it
                    log.warning("entry point %r of %s cannot be imported: %s", point.name, point.value, error)
        return sorted(self._classes)

    def get(self, name: str) -> type:
        """The class called ``name``; raises UsageError with the nearest right name."""
        self._import_builtins()
        if name in self._classes:
            return self._classes[name]
        if ":" in name:
            return self._direct(name)
        for point in entry_points(group=self.package, name=name):
            try:
                return self._enter(name, point.load())
            except Exception as error:
                raise PluginError(f"{self.kind} {name!r}: its entry point {point.value} raised {error!r}") from error
        raise unknown(self.kind, name, self.names())

    def _enter(self, name: str, cls: type) -> type:
        if not isinstance(cls, type):
            raise PluginError(f"{self.kind} {name!r} is a {type(cls).__name__}, not a class")
        return self.register(name)(cls)

    def _direct(self, name: str) -> type:
        module_name, _, class_name = name.partition(":")
        try:
            return self._enter(name, getattr(importlib.import_module(module_name), class_name))
        except (ImportError, AttributeError) as error:
            raise UsageError(f"unknown {self.kind} {name!r}: {error}") from error

    def _import_builtins(self) -> None:
        if not self._complete:
            package = importlib.import_module(self.package)
            for module in pkgutil.iter_modules(package.__path__):
                importlib.import_module(f"{self.package}.{module.name}")
            self._complete = True


ALGORITHMS = Registry("algorithm", "corruptbench.algos")
CORRUPTIONS = Registry("corruption", "corruptbench.corruptions")


def load_plugin(path: Path) -> None:
    """Runs a Python file, whose decorators register what it defines. A plug-in is code that you trust."""
    if not path.is_file():
        raise UsageError(f"--plugin {path}: there is no such file")
    name = f"{PLUGIN_MODULE}{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"--plugin {path}: not a Python file (its name must end in .py)")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except UsageError:
        raise
    except Exception as error:
        raise PluginError(f"--plugin {path}: importing it raised {type(error).__name__}: {error}") from error


def source_sha256(cls: type) -> str | None:
    """SHA-256 of the file that defines a plug-in's class, None for a built-in: an edited plug-in is another run."""
    if cls.__module__.startswith("corruptbench."):
        return None
    return hashlib.sha256(Path(inspect.getfile(cls)).read_bytes()).hexdigest()


def _origin(cls: type) -> tuple[str, str]:
    return cls.__module__, cls.__qualname__
