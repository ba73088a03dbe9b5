"""A device with memory of its own where there is no GPU: it answers to "cuda", computes what the CPU does, and what
takes a tensor of the one with a tensor of the other, or reads one of it without a move, fails as it would there.

PyTorch sees its tensors as on "meta", the one device without memory that it knows by itself.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

MOVES = {torch.ops.aten.copy_.default, torch.ops.aten._to_copy.default}
INDEXED = {torch.ops.aten.index.Tensor, torch.ops.aten.index_put_.default}  # a GPU takes indices from the host


class There(torch.Tensor):
    """A tensor of the device; ``host`` is where its numbers are kept."""

    @staticmethod
    def __new__(cls, host):
        return cls._make_wrapper_subclass(cls, host.shape, strides=host.stride(), dtype=host.dtype, device="meta")

    def __init__(self, host):
        self.host = host

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, operation, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        there = [isinstance(tensor, There) for tensor in given]
        apart = any(there) and any(tensor.dim() for tensor in given if not isinstance(tensor, There))
        if apart and operation not in MOVES | INDEXED:
            raise RuntimeError(f"{operation} takes tensors of two devices")
        host_args, host_kwargs = tree_map_only(There, lambda tensor: tensor.host, (args, kwargs))
        if kwargs.get("device") is not None:
            host_kwargs["device"] = "cpu"
            stays = torch.device(kwargs["device"]).type == "meta"
        else:
            stays = any(there)
        result = operation(*host_args, **host_kwargs)
        if operation._schema.is_mutable:
            return kwargs.get("out", args[0])
        return tree_map_only(torch.Tensor, There, result) if stays else result


class _Made(TorchDispatchMode):
    """What is made on the device has no tensor of it to be known by."""

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        device = (kwargs or {}).get("device")
        own = device is not None and torch.device(device).type == "meta"
        own = own or any(isinstance(leaf, There) for leaf in tree_leaves((args, kwargs)))
        return There.__torch_dispatch__(operation, types, args, kwargs) if own else operation(*args, **(kwargs or {}))


class _Named(TorchFunctionMode):
    def __torch_function__(self, function, types, args=(), kwargs=None):
        def here(leaf):
            return "meta" if leaf in ("cuda", torch.device("cuda")) else leaf

        return function(
            *tree_map_only((str, torch.device), here, args), **tree_map_only((str, torch.device), here, kwargs or {})
        )


@contextmanager
def device_of_its_own() -> Iterator[None]:
    with _Made(), _Named():
        yield
