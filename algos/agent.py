"""What an algorithm is made of. Optimizers and measurements work on objectives, so none of them knows an algorithm."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar, NamedTuple

import torch
from numpy.random import PCG64
from torch import Tensor

from corruptbench.algos.networks import Params, mlp
from corruptbench.errors import UsageError
from corruptbench.types import Batch

State = dict[str, Params]  # group name -> parameters, targets included
Info = dict[str, Tensor]


class Objective(NamedTuple):
    """A named loss over one group of parameters.

    ``loss(params, batch, targets) -> (loss, info)`` reduces its batch axis only and reads nothing else: whatever a step
    holds fixed comes in through ``targets``.
    """

    name: str  # as ``--sam-on`` spells it
    group: str  # key of the parameters in the state
    loss: Callable[[Params, Batch, Any], tuple[Tensor, Info]]
    cosine: bool = False  # its learning rate follows a cosine to 0 over the declared steps


@dataclass(frozen=True)
class Agent(ABC):
    """An algorithm and its settings (section 3). Its state is explicit: nothing changes in the object itself."""

    hidden: tuple[int, ...] = (256, 256)  # width of each hidden layer
    learning_rate: float = 3e-4  # Adam, all networks
    batch_size: int = 256

    name: ClassVar[str]
    sam_on: ClassVar[tuple[str, ...]] = ()  # objectives that ``--sam`` perturbs, all of them where none is named
    acting: ClassVar[tuple[str, ...]] = ("actor",)  # groups that ``act`` reads

    def __post_init__(self) -> None:
        self.require("hidden", min(self.hidden, default=0) >= 1, "widths of 1 and above")
        self.require("learning_rate", 0 < self.learning_rate < float("inf"), "any number above 0")
        self.require("batch_size", self.batch_size >= 1, "1 and above")

    def require(self, name: str, sound: bool, allowed: str) -> None:
        """Raises UsageError, with the value found and the values allowed, for a setting that makes no sense."""
        if not sound:
            raise UsageError(f"{self.name}: {name} is {getattr(self, name)}, allowed is {allowed}")

    @abstractmethod
    def init(self, observation_dim: int, action_dim: int, streams: Callable[[str], PCG64]) -> State:
        """Fresh parameters; ``streams(name)`` is the random stream of one network."""

    @property
    @abstractmethod
    def objectives(self) -> tuple[Objective, ...]:
        """In the order in which a step updates them."""

    def targets(self, state: State, batch: Batch) -> Any:
        """Everything held fixed in a step, computed once, without gradient, from the state at the step's start."""
        return None

    @property
    def sam_cost(self) -> Fraction:
        """What an update costs with SAM on ``sam_on``, in updates without; 2 where nothing but those two passes costs.

        Counted in passes of one network over a batch: forwards 1, and back 2.
        """
        return Fraction(2)

    @property
    def target_networks(self) -> dict[str, tuple[str, float]]:
        """Groups that follow another one, and the share by which they move towards it at the end of a step (EMA)."""
        return {}

    def statistic(self, q: Tensor) -> Tensor:
        """What an algorithm with critics trusts of their values, ``(..., K, batch)`` to ``(..., batch)``: the lowest.

        It is what a white-box attack on the algorithm moves; the critics are the group ``critic`` of the state, K
        networks of :func:`init_mlp` with ``ensemble=(K,)`` on ``[s, a]``.
        """
        return q.amin(-2)

    def act(self, state: State, observations: Tensor) -> Tensor:
        """Deterministic actions ``(batch, da)`` in [-1, 1] for normalised observations ``(batch, do)``."""
        return torch.tanh(mlp(state["actor"], observations))
