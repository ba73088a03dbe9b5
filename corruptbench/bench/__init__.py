"""How fast this machine is, beside the field's usual code and the hardware's limit.

Absolute figures drift, ratios hold. Every part is measured in a process of its own, so that its peak memory is its own
and no part warms another's caches.
"""

from corruptbench.bench.parts import PARTS, check, machine, measure

__all__ = ["PARTS", "check", "machine", "measure"]
