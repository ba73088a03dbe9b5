"""Progress bars, all made here: on a terminal only, and none where the environment says so."""

import os
from collections.abc import Iterable
from typing import Any, TypeVar, overload

from tqdm import tqdm

T = TypeVar("T")

DISABLE = "TQDM_DISABLE"
"""tqdm's environment variable for no bars. To tqdm it is a default, which any ``disable`` in a call overrides."""


@overload
def progress(iterable: Iterable[T], **options: Any) -> "tqdm[T]": ...
@overload
def progress(**options: Any) -> tqdm: ...
def progress(iterable: Iterable[Any] | None = None, **options: Any) -> tqdm:
    """A bar of tqdm's, with its ``options``; it draws on a terminal, unless :data:`DISABLE` is set."""
    return tqdm(iterable, disable=True if os.environ.get(DISABLE) else None, **options)
