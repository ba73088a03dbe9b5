"""The algorithms, one file each, and the pieces that an algorithm of your own is made from."""

from corruptbench.algos.agent import Agent, Info, Objective, State
from corruptbench.algos.networks import Params, clone, init_mlp, mlp
from corruptbench.registry import ALGORITHMS

register = ALGORITHMS.register

__all__ = ["Agent", "Info", "Objective", "Params", "State", "clone", "init_mlp", "mlp", "register"]
