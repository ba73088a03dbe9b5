"""What an algorithm is made of. Optimizers and measurements work on objectives, so none of them knows an algorithm."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from fractions import Fraction
from typing import Any, ClassVar, NamedTuple

import torch
from numpy.random import PCG64
from torch import Tensor

from corruptbench.algos.networks import ACTIVATIONS, Kind, Params, init_mlp, mlp
from corruptbench.errors import UsageError, nearest, shown
from corruptbench.types import Batch

State = dict[str, Params]  # group name -> parameters, targets included
Info = dict[str, Tensor]

MODIFIERS = ("layer_norm", "activation", "reset_every", "reset_layers", "shrink_every", "shrink")
"""Settings of any algorithm that a spec names only where they differ from their defaults: older specs have none."""


class Objective(NamedTuple):
    """A named loss over one group of parameters.

    ``loss(params, batch, targets) -> (loss, info)`` reduces its batch axis only and reads nothing else: whatever a step
    holds fixed comes in through ``targets``. With ``rows``, ``info["rows"]`` has the loss of each row ``(..., batch)``,
    whose mean the loss is: what an optimizer that selects rows needs.
    """

    name: str  # as ``--sam-on`` spells it
    group: str  # key of the parameters in the state, which no other objective moves
    loss: Callable[[Params, Batch, Any], tuple[Tensor, Info]]
    cosine: bool = False  # its learning rate follows a cosine to 0 over the declared steps
    rows: bool = False  # whether its info has the loss of each row


@dataclass(frozen=True)
class Agent(ABC):
    """An algorithm and its settings (section 3). Its state is explicit: nothing changes in the object itself."""

    hidden: tuple[int, ...] = (256, 256)  # width of each hidden layer
    learning_rate: float = 3e-4  # Adam, all networks
    batch_size: int = 256
    layer_norm: bool = False  # layer normalization of each hidden layer, before its activation
    activation: str = "relu"  # of the hidden layers, or crelu: [relu(z), relu(-z)]
    reset_every: int = 0  # steps between two resets of the last layers, 0 for none
    reset_layers: int = 1  # how many of the last layers are reset
    shrink_every: int = 0  # steps between two times that weights are shrunk and perturbed, 0 for none
    shrink: float = 0.8  # share of the weights that is kept then; the rest comes from fresh ones

    name: ClassVar[str]
    sam_on: ClassVar[tuple[str, ...]] = ()  # objectives that ``--sam`` perturbs, all of them where none is named
    acting: ClassVar[tuple[str, ...]] = ("actor",)  # groups that ``act`` reads

    def __post_init__(self) -> None:
        self.require("hidden", min(self.hidden, default=0) >= 1, "widths of 1 and above")
        self.require("learning_rate", 0 < self.learning_rate < float("inf"), "any number above 0")
        self.require("batch_size", self.batch_size >= 1, "1 and above")
        self._require_modifiers()

    def _require_modifiers(self) -> None:
        if self.activation not in ACTIVATIONS:
            known = f"{', '.join(ACTIVATIONS)}{nearest(self.activation, ACTIVATIONS)}"
            raise UsageError(f"{self.name}: activation is {shown(self.activation)}, allowed are {known}")
        layers = len(self.hidden) + 1
        self.require("reset_every", self.reset_every >= 0, "0 and above")
        self.require("reset_layers", 1 <= self.reset_layers <= layers, f"1 to {layers}, the layers of a network")
        self.require("shrink_every", self.shrink_every >= 0, "0 and above")
        self.require("shrink", 0 <= self.shrink <= 1, "0 to 1")
        usual = {field.name: field.default for field in fields(self)}
        for name, every in (("reset_layers", "reset_every"), ("shrink", "shrink_every")):
            # what does nothing would give the same run another id
            at_work = getattr(self, every) > 0 or getattr(self, name) == usual[name]
            self.require(name, at_work, f"{usual[name]} where {every} is 0")

    def require(self, name: str, sound: bool, allowed: str) -> None:
        """Raises UsageError, with the value found and the values allowed, for a setting that makes no sense."""
        if not sound:
            raise UsageError(f"{self.name}: {name} is {getattr(self, name)}, allowed is {allowed}")

    @property
    def network_kind(self) -> Kind:
        """What stands between the layers of its networks."""
        return Kind(self.layer_norm, self.activation)

    def init_mlp(self, bits: PCG64, sizes: Sequence[int], ensemble: tuple[int, ...] = ()) -> Params:
        """Fresh parameters of a network of this agent's kind, as :func:`corruptbench.algos.networks.init_mlp`."""
        return init_mlp(bits, sizes, ensemble, self.network_kind)

    def mlp(self, params: Params, x: Tensor) -> Tensor:
        """A network of this agent's kind: ``(*lead, batch, inputs)`` to ``(*lead, batch, outputs)``."""
        return mlp(params, x, self.network_kind)

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
        networks of :meth:`init_mlp` with ``ensemble=(K,)`` on ``[s, a]``.
        """
        return q.amin(-2)

    def q_values(self, critic: Params, observations: Tensor, actions: Tensor) -> Tensor:
        """Every critic's Q(s, a), ``(..., K, batch)``."""
        return self.mlp(critic, torch.cat([observations, actions], -1).unsqueeze(-3)).squeeze(-1)

    def act(self, state: State, observations: Tensor) -> Tensor:
        """Deterministic actions ``(batch, da)`` in [-1, 1] for normalised observations ``(batch, do)``."""
        return torch.tanh(self.mlp(state["actor"], observations))


def options_of(agent: Agent) -> dict[str, Any]:
    """The settings by name as specs and files of weights hold them: all, but of the modifiers those that are set."""
    usual = {field.name: field.default for field in fields(agent) if field.name in MODIFIERS}
    return {name: value for name, value in asdict(agent).items() if name not in usual or value != usual[name]}
