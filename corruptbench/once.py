"""What a compiled step computes twice is computed once, as V(s) in the targets and again in the loss of V."""

import torch
from torch._inductor.custom_graph_pass import CustomGraphPass
from torch.fx import Graph, Node


class Once(CustomGraphPass):
    """Common subexpression elimination over the operations of a step; torch's compiler leaves products as they are."""

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
