"""A training step in its fastest form: compiled where a C++ compiler is found, else as it is written."""

import logging
import shutil
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

from corruptbench.errors import UsageError

log = logging.getLogger(__name__)


class Update(Protocol):
    """Rows of the batch, rates and noise of an update, and whether it is whole -> losses by objective."""

    def __call__(
        self, indices: Tensor, rates: Tensor, noise: dict[str, Tensor], whole: bool = True
    ) -> dict[str, Tensor]: ...


ENGINES = ("auto", "compiled", "eager")


def resolve_engine(engine: str) -> str:
    """``auto`` becomes ``compiled`` where a C++ compiler is on the path, else ``eager``."""
    if engine not in ENGINES:
        raise UsageError(f"engine is {engine!r}, allowed are {', '.join(ENGINES)}")
    if engine != "auto":
        return engine
    return "compiled" if any(shutil.which(name) for name in ("g++", "clang++", "c++")) else "eager"


class Updating(Protocol):
    """What trains step by step: ``update`` is ``step_as_written`` or its compiled form."""

    engine: str
    update: Update

    def step_as_written(
        self, indices: Tensor, rates: Tensor, noise: dict[str, Tensor], whole: bool = True
    ) -> dict[str, Tensor]:
        """One update."""


def choose_update(trained: Updating, engine: str, what: str, device: str = "cpu") -> None:
    """Sets ``engine`` and ``update`` for the engine asked for, with tensors on ``device``.

    Where a step turns out not to be compilable, and needn't be, it is eager from then on. What is compiled is a program
    for whole updates and, at the first of them, one for the others. TF32 is off from here on in this process, whatever
    the environment says: its products have three digits.
    """
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    trained.engine, trained.update = resolve_engine(engine), trained.step_as_written
    if trained.engine == "eager":
        return
    fast = compiled(trained.step_as_written, device)

    def compiled_or_eager(
        indices: Tensor, rates: Tensor, noise: dict[str, Tensor], whole: bool = True
    ) -> dict[str, Tensor]:
        try:
            return fast(indices, rates, noise, whole)
        except Exception as error:
            if engine == "compiled" or not _is_about_compiling(error):
                raise
            reason = str(error).strip().partition("\n")[0]
            log.warning("%s cannot be compiled and is trained eagerly: %s", what, reason)
            trained.engine, trained.update = "eager", trained.step_as_written
            return trained.update(indices, rates, noise, whole)

    trained.update = compiled_or_eager


def compiled(step: Callable[..., Any], device: str = "cpu") -> Callable[..., Any]:
    """``step`` compiled at its first call: on a CPU one C++ program without a call back into Python.

    docs/performance.md has what each option gains.
    """
    from corruptbench.once import (
        Once,
    )  # torch's compiler takes two seconds to import, and an eager run needs none of it

    torch._dynamo.reset()  # each step compiles afresh, however many came before it in this process
    options: dict[str, Any] = {"cpp_wrapper": device == "cpu", "post_grad_custom_pre_pass": Once()}
    return torch.compile(step, fullgraph=True, dynamic=False, options=options)


def _is_about_compiling(error: Exception) -> bool:
    """Whether torch's compiler raised this, and not the code that it runs."""
    from torch._dynamo.exc import TorchDynamoException
    from torch._inductor.exc import InductorError

    return isinstance(error, TorchDynamoException | InductorError)
