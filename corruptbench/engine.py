"""A training step in its fastest form: compiled where a C++ compiler is found, else as it is written."""

import shutil
from collections.abc import Callable
from typing import Any

import torch
from torch._inductor.custom_graph_pass import CustomGraphPass
from torch.fx import Graph, Node

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
    torch._dynamo.reset()  # each step compiles afresh, however many came before it in this process
    options: dict[str, Any] = {"cpp_wrapper": True, "post_grad_custom_pre_pass": _Once()}
    return torch.compile(step, fullgraph=True, dynamic=False, options=options)


class _Once(CustomGraphPass):
    """What a step computes twice is computed once: V(s) in the targets and again in the loss of V, for instance."""

    def __call__(self, graph: Graph) -> None:
        seen: dict[object, Node] = {}
        for node in list(graph.nodes):
            if not _pure(node):
                continue
            key = (node.target, repr(node.args), repr(node.kwargs))  # of a node its name, unique in a graph
            if key in seen:
                node.replace_all_uses_with(seen[key])
                graph.erase_node(node)
            else:
                seen[key] = node

    def uuid(self) -> str:
        """Part of the key under which torch keeps what it compiled."""
        return "corruptbench-once-1"


def _pure(node: Node) -> bool:
    """Whether a node is an operation whose result depends on its inputs alone, which it leaves as they are."""
    operation = node.target
    if node.op != "call_function":
        return False
    if not isinstance(operation, torch._ops.OpOverload):
        return getattr(operation, "__name__", "") == "getitem"
    return not operation._schema.is_mutable and torch.Tag.nondeterministic_seeded not in operation.tags
