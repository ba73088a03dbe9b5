"""The README of a collected dataset: where it comes from, its figures, and in which points it is not D4RL's."""

from typing import Any

from corruptbench.collect.config import CollectConfig
from corruptbench.environments import environment

README = """\
# {name}

{transitions:,} transitions in {episodes:,} episodes of {environment}: {story}

{picture}| | |
|---|---|
| command | `{command}` |
| seed | {seed} |
| versions | {stack} |
| steps collected | {steps_collected:,} |
| return of an episode | mean {return_mean}{share}, from {return_min} to {return_max} |
{last}| SHA-256 of `data.hdf5` | `{sha256}` |
| SHA-256 of the content | `{content_sha256}` |

Keys: `observations`, `actions`, `rewards`, `terminals`, `timeouts` (one row a step, float32 and bool) and
`final_observations` (one row an episode). `episodes.csv` lists every episode of the whole collection{tables}.

## Differences from D4RL

{theirs} This dataset differs in these points:

{points}"""

STORY = {
    "target": """\
what a SAC learner saw from its
first step until it was a medium policy, in the manner of D4RL's medium-replay datasets.""",
    "max-steps": """\
what a SAC learner saw from its
first step to step {steps:,}, where collecting ended before it was a medium policy, in the manner of D4RL's
medium-replay datasets.""",
    "steps": """\
what a SAC learner saw in its
first {steps:,} steps, as many as were asked for, in the manner of D4RL's replay datasets.""",
    "random": """\
what {steps:,} steps of uniform
random actions led to, as many as were asked for, in the manner of D4RL's random datasets.""",
}
_MEDIUM_REPLAY = """\
D4RL's medium-replay data come from rlkit's SAC on `mujoco-py` environments of version 2, all steps until the policy is
medium."""
THEIRS = {
    "target": _MEDIUM_REPLAY,
    "max-steps": _MEDIUM_REPLAY,
    "steps": "D4RL's replay data come from rlkit's SAC on `mujoco-py` environments of version 2.",
    "random": "D4RL's random data come from a policy before its training, on `mujoco-py` environments of version 2.",
}

ENVIRONMENT = "{env} with the versions above{not_v2}."
NOT_V2 = ", whose rewards and contacts are not those of version 2"
"""Of D4RL's own environments."""
LEARNER = """\
SAC is this project's own (`corruptbench/collect/sac.py`): {random_steps:,} uniform actions first, then one update of
batch {batch_size} a step, hidden layers of {widths} units, learning rate {learning_rate:g}, automatic temperature."""
MEDIUM = """\
"Medium" is a mean return of at least {target_return:.1f}{score} of the deterministic policy, over the last
{eval_window} evaluations of {eval_episodes} episodes, one every {eval_every:,} steps."""
NOT_MEDIUM = " Here it was not reached."
UNIFORM = "The actions are uniform in the environment's box, whatever is observed."
DRAWN = """\
Whole episodes are drawn evenly over the course of training until {transitions:,} transitions are reached; D4RL keeps
all of them."""
FINAL = """\
Each episode's final observation is stored, so the true s' of every step is known. D4RL stores `next_observations`."""


def readme(card: dict[str, Any], config: CollectConfig, plotted: bool) -> str:
    """Markdown, from the card and the configuration; ``plotted`` says whether there is a picture of the returns."""
    kind = "random" if config.policy == "random" else card["ended"]
    last = f"| last evaluations | {', '.join(str(r) for r in card['final_evaluations'])} |\n"
    return README.format(
        **card,
        story=STORY[kind].format(steps=card["steps_collected"]),
        picture="![returns over time](returns.png)\n\n" if plotted else "",
        stack=", ".join(f"{name} {number}" for name, number in card["versions"].items()),
        share="" if card["normalized_mean"] is None else f" (normalized {card['normalized_mean']})",
        last="" if kind == "random" else last,
        tables="" if kind == "random" else ",\n`evaluations.csv` the evaluations",
        theirs=THEIRS[kind],
        points=_points(kind, config, some_dropped=card["transitions"] < card["steps_collected"]),
    )


def _points(kind: str, config: CollectConfig, some_dropped: bool) -> str:
    """The differences as a numbered list."""
    points = {
        "target": [ENVIRONMENT, LEARNER, MEDIUM],
        "max-steps": [ENVIRONMENT, LEARNER, MEDIUM + NOT_MEDIUM],
        "steps": [ENVIRONMENT, LEARNER],
        "random": [ENVIRONMENT, UNIFORM],
    }[kind]
    points += [DRAWN, FINAL] if some_dropped else [FINAL]
    score = None if config.target_return is None else environment(config.env).normalized(config.target_return)
    values = vars(config) | vars(config.sac)
    values["not_v2"] = NOT_V2 if config.env.split("-")[0] in ("Hopper", "HalfCheetah", "Walker2d", "Ant") else ""
    values["widths"] = " and ".join(map(str, config.sac.hidden))
    values["score"] = "" if score is None else f" (normalized score {score:.0f})"
    indented = (point.format(**values).replace("\n", "\n   ") for point in points)
    return "".join(f"{number}. {point}\n" for number, point in enumerate(indented, 1))
