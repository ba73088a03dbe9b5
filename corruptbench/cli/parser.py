"""argparse, except that a wrong option gets the nearest right name."""

import argparse
import re
import sys
from collections.abc import Sequence
from typing import NoReturn

from corruptbench.errors import UsageError, nearest


class Help(argparse.HelpFormatter):
    """Shows a default where there is one to show and the text does not tell it already."""

    def _get_help_string(self, action: argparse.Action) -> str:
        text = action.help or ""
        told = "default" in text or action.default in (None, False, argparse.SUPPRESS)
        return text if told or not action.option_strings else f"{text} (default: %(default)s)"


class Parser(argparse.ArgumentParser):
    """Errors are one line and exit with 2; abbreviations are not guessed."""

    def __init__(self, prog: str, description: str, **settings) -> None:  # type: ignore[no-untyped-def]
        super().__init__(
            prog,
            description=description,
            allow_abbrev=False,
            formatter_class=Help,
            **settings,
        )

    def options(self) -> list[str]:
        """Every long option, those of the verbs below included."""
        below = [a.choices.values() for a in self._actions if isinstance(a, argparse._SubParsersAction)]
        parsers = [self, *(parser for choices in below for parser in choices)]
        return [o for parser in parsers for o in parser._option_string_actions if o.startswith("--")]

    def hint(self, flag: str) -> str:
        """What ends a sentence about an unknown option."""
        return nearest(flag, self.options())

    def require_beside(self, needed: str, options: argparse.Namespace, names: Sequence[str]) -> None:
        """Raises UsageError for options that were given without ``needed``, and would do nothing."""
        for name in names:
            value = getattr(options, name)
            if value != self.get_default(name):
                given = f"--{name.replace('_', '-')}" + (f" {value}" if value is not True else "")
                raise UsageError(f"{given} does nothing without {needed}: give that as well")

    def error(self, message: str) -> NoReturn:
        found = re.match(r"unrecognized arguments: (\S+)", message)
        if found:
            flag = found[1].partition("=")[0]
            message = f"unknown option {flag!r}{self.hint(flag)}; see {self.prog} --help"
        message = message if len(message) <= 1000 else f"{message[:1000]}..."
        print(f"{self.prog}: {message}", file=sys.stderr)
        sys.exit(2)


class Verb(Parser):
    """The parser of a verb below another one."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, "")
