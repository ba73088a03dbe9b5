"""A training step in its fastest form: compiled where a C++ compiler is found, else as it is written."""

import shutil
from collections.abc import Callable
from typing import Any

import torch

from corruptbench.errors import UsageError

ENGINES = ("auto", "compiled", "eager")


def resolve_engine(engine: str) -> str:
    """``auto`` becomes ``compiled`` where a C++ compiler is on the path, else ``eager``."""
    if engine not in ENGINES:
        raise UsageError(f"engine is {engine!r}, allowed are {', '.join(ENGINES)}")
    if engine != "auto":
        return engine
    return "compiled" if any(shutil.which(name) for name in ("g++", "clang++", "c++")) else "eager"


def compiled(step: Callable[..., Any]) -> Callable[..., Any]:
    """``step`` as one C++ program without a call back into Python; it is compiled at its first call.

    docs/performance.md has what each option gains.
    """
    from corruptbench.once import (
        Once,
    )  # torch's compiler takes two seconds to import, and an eager run needs none of it

    torch._dynamo.reset()  # each step compiles afresh, however many came before it in this process
    options: dict[str, Any] = {"cpp_wrapper": True, "post_grad_custom_pre_pass": Once()}
    return torch.compile(step, fullgraph=True, dynamic=False, options=options)


def is_about_compiling(error: Exception) -> bool:
    """Whether torch's compiler raised this, and not the code that it runs."""
    from torch._dynamo.exc import TorchDynamoException
    from torch._inductor.exc import InductorError

    return isinstance(error, TorchDynamoException | InductorError)
