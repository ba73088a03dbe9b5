"""Ensembles of attacks without parameters, after AutoAttack (Croce & Hein 2020, arXiv 2003.01690): obs-auto, ...

A learner is trained under every member, and its worst case is the lowest of the units' means. The members are fixed: no
one has to choose an attack, and no one can choose a mild one.
"""

from corruptbench.errors import UsageError
from corruptbench.registry import CORRUPTIONS

ENSEMBLES = {
    "obs-auto": (
        "obs-random",
        "obs-gauss",
        "obs-zero",
        "obs-swap",
        "obs-adv",
        "obs-adv:preset=riql2024",
        "obs-inflate",
        "obs-targeted",
        "obs-targeted:by=advantage",
    ),
    "act-auto": (
        "act-random",
        "act-gauss",
        "act-zero",
        "act-swap",
        "act-adv",
        "act-adv:preset=riql2024",
        "act-inflate",
        "act-targeted",
        "act-targeted:by=advantage",
    ),
    "rew-auto": ("rew-random", "rew-zero", "rew-swap", "rew-adv", "rew-targeted"),
    "dyn-auto": (
        "dyn-random",
        "dyn-gauss",
        "dyn-zero",
        "dyn-swap",
        "dyn-adv",
        "dyn-adv:preset=riql2024",
        "dyn-inflate",
        "dyn-targeted",
        "dyn-targeted:by=advantage",
    ),
}
"""Each at the same rate and, where it has one, the same scale."""


def members(text: str) -> tuple[str, ...]:
    """The threat models of an ensemble, spelled as ``--corrupt`` spells them; any other threat model is itself.

    Only ``rate`` and ``scale`` can be said of an ensemble; raises UsageError for anything else.
    """
    name, _, words = text.partition(":")
    if name not in ENSEMBLES:
        return (text,)
    given = dict(word.partition("=")[::2] for word in words.split(",") if word)
    if len(given) < len([word for word in words.split(",") if word]):
        raise UsageError(f"--corrupt {text!r}: a setting stands twice")
    if given.keys() - {"rate", "scale"}:
        other = min(given.keys() - {"rate", "scale"})
        raise UsageError(f"--corrupt {text!r}: {name} has no option {other!r}, allowed are rate and scale")
    return tuple(_with(member, given) for member in ENSEMBLES[name])


def _with(member: str, given: dict[str, str]) -> str:
    """A member with a rate and a scale of the user's; what has no scale is left without."""
    name, _, own = member.partition(":")
    known = {key: value for key, value in given.items() if key != "scale" or CORRUPTIONS.get(name).scaled}
    words = [own] * bool(own) + [f"{key}={value}" for key, value in sorted(known.items())]
    return ":".join([name, ",".join(words)] if words else [name])
