"""Weights that begin anew in the middle of training: reset of the last layers, shrink and perturb.

Both act between two steps, in place, on every group that an objective trains. They belong before the step that
follows: what is measured or saved after a multiple of so many steps is what those steps have trained, and after the
last step nothing happens.
"""

from collections.abc import Callable, Mapping, Sequence

from corruptbench.algos.agent import Agent, State
from corruptbench.algos.networks import Params

Moments = Mapping[str, Sequence[Params]]
"""Group -> Adam's moments, each in the shapes of the group's parameters."""


def is_due(agent: Agent, taken: int) -> bool:
    """Whether something begins anew after ``taken`` steps, if another one follows."""
    return any(_falls_on(every, taken) for every in (agent.reset_every, agent.shrink_every))


def _falls_on(every: int, taken: int) -> bool:
    return every > 0 and taken > 0 and taken % every == 0


def last_reset(agent: Agent, step: int) -> int:
    """After how many steps the last reset before ``step``, from 1, was; 0 where there was none.

    From there Adam counts the updates whose moments it makes up for: counted from the beginning, moments that a reset
    set to zero would make steps of up to 6.6 times the length.
    """
    return (step - 1) // agent.reset_every * agent.reset_every if agent.reset_every else 0


def renew_(agent: Agent, taken: int, state: State, moments: Moments, fresh: Callable[[str], State]) -> None:
    """What is due after ``taken`` steps; ``fresh(purpose)`` are fresh parameters, from streams of this purpose.

    Shrink and perturb: w <- shrink w + (1 - shrink) w0' for all weights (Ash & Adams 2020, arXiv 1910.08475, with the
    noise of D'Oro et al. 2023, a fresh initialisation). Adam's moments stay: most of each weight does, too.
    Reset: the last layers become fresh ones, with moments of zero (Nikishin et al. 2022, arXiv 2205.07802).
    Target networks take over what was changed in the network that they follow.
    """
    if _falls_on(agent.shrink_every, taken):
        start = fresh("shrink")
        for group in _trained(agent):
            for w, new in zip(state[group], start[group], strict=True):
                w.mul_(agent.shrink).add_(new, alpha=1 - agent.shrink)
        _follow(agent, state, slice(None))
    if _falls_on(agent.reset_every, taken):
        start, last = fresh("reset"), slice(-2 * agent.reset_layers, None)
        for group in _trained(agent):
            for w, new in zip(state[group][last], start[group][last], strict=True):
                w.copy_(new)
            for moment in moments[group]:
                for part in moment[last]:
                    part.zero_()
        _follow(agent, state, last)


def _trained(agent: Agent) -> list[str]:
    return list(dict.fromkeys(objective.group for objective in agent.objectives))


def _follow(agent: Agent, state: State, layers: slice) -> None:
    trained = _trained(agent)
    for target, (source, _) in agent.target_networks.items():
        if source in trained:
            for w, followed in zip(state[target][layers], state[source][layers], strict=True):
                w.copy_(followed)
