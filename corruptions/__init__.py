"""The threat models, and what a corruption of your own is made from."""

from corruptbench.corruptions.corruption import FIELDS, Corruption
from corruptbench.registry import CORRUPTIONS
from corruptbench.types import Corrupted, Streams, Surrogate, TransitionDataset

register = CORRUPTIONS.register

__all__ = ["FIELDS", "Corrupted", "Corruption", "Streams", "Surrogate", "TransitionDataset", "register"]
