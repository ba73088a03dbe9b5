"""Which units of a network's hidden layers are at work: SAM is known to lower the number (arXiv 2305.16292)."""

from corruptbench.algos.networks import PLAIN, Kind, Params, hidden_layers
from corruptbench.sharpness.problem import inputs_of
from corruptbench.types import Batch


def activity(params: Params, batch: Batch, kind: Kind = PLAIN) -> list[dict[str, float]]:
    """Of each hidden layer, over all networks of an ensemble together.

    ``active`` is the share of (row, output) above 0, ``dead`` that of outputs with none on any row; with concatenated
    ReLU a unit has two outputs. A group whose networks take neither s nor [s, a] has no entry.
    """
    x = inputs_of(params, batch)
    if x is None:
        return []
    x = x if params[0].ndim == 2 else x.unsqueeze(-3)
    on = [(layer > 0).double() for layer in hidden_layers(params, x, kind)]
    return [{"active": float(o.mean()), "dead": float((o.amax(-2) == 0).double().mean())} for o in on]
