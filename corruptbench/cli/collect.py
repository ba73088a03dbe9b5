"""``corruptbench data collect``: a dataset of one's own, from SAC's training or from random actions."""

import argparse
import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corruptbench.errors import UsageError, shown
from corruptbench.names import is_name
from corruptbench.types import Environment

if TYPE_CHECKING:
    from corruptbench.collect.config import CollectConfig

MEDIUM_SCORE = 40.0
KEPT = 100_000
MAX_STEPS = 1_000_000
MOST_STEPS = 1_000_000_000

ENDED = {
    "target": "with the target reached",
    "max-steps": "at --max-steps, before the target was reached",
    "steps": "as many as were asked for",
}


def add(verbs: "argparse._SubParsersAction[Any]") -> None:
    """Adds the parser of ``collect`` to those below ``data``."""
    collect = verbs.add_parser("collect", help="SAC from nothing to a medium policy, everything it saw as a dataset")
    collect.add_argument("--env", required=True, help="Gymnasium environment with Box observations and actions")
    collect.add_argument("--name", required=True, help="what the dataset is called")
    collect.add_argument("--out", type=Path, required=True, help="folder that is made, with data, card and plot")
    collect.add_argument("--seed", type=int, default=0, help="of the learner, its exploration and the environment")
    collect.add_argument("--policy", default="sac", help="sac, or random: uniform actions for --steps steps")
    collect.add_argument(
        "--target-score",
        type=float,
        help=f"ends at this normalized score; {MEDIUM_SCORE:.0f} by default where there are references",
    )
    collect.add_argument("--target-return", type=float, help="or at this mean return")
    collect.add_argument(
        "--steps", type=int, help="or after exactly so many steps, whatever the return; the last episode is cut off"
    )
    collect.add_argument(
        "--max-steps", type=int, help=f"a target not reached by then is given up; {MAX_STEPS:,} by default"
    )
    collect.add_argument(
        "--transitions",
        type=int,
        help=f"how many to keep, in whole episodes, and no target ends collecting earlier; {KEPT:,} by default, "
        "with --steps all",
    )
    collect.add_argument(
        "--checkpoint-every",
        type=int,
        default=25_000,
        help="steps between checkpoints in OUT.partial, from which the same command goes on; made at ends of episodes",
    )
    collect.add_argument("--engine", default="auto", help="auto, compiled or eager")


def main(options: argparse.Namespace, arguments: Sequence[str]) -> int:
    """Collects what ``options`` ask for; ``arguments`` are the words after ``data``, which the card records."""
    import torch

    from corruptbench.checkpoints import Checkpoints
    from corruptbench.collect.card import write_dataset
    from corruptbench.collect.replay import collect
    from corruptbench.environments import environment
    from corruptbench.store import probe_writable, publish, read_json

    torch.set_num_threads(1)
    config = config_of(options, environment(options.env))
    if options.out.exists():
        raise UsageError(f"collect: --out {options.out} exists already, and nothing is overwritten")
    probe_writable(options.out.parent)
    checkpoints = Checkpoints(options.out.with_name(f"{options.out.name}.partial"), options.checkpoint_every)
    replay, evaluations = collect(config, engine=options.engine, checkpoints=checkpoints)
    command = shlex.join(["corruptbench", "data", *_without_out(arguments)])

    def write(folder: Path) -> None:
        write_dataset(folder, options.name, config, replay, evaluations, command)

    publish(options.out, write)
    checkpoints.remove()
    print(summary(options.out, read_json(options.out / "card.json")))
    return 0


def config_of(options: argparse.Namespace, env: Environment) -> "CollectConfig":
    """The collection that the options stand for; raises UsageError where they contradict each other."""
    from corruptbench.collect.config import CollectConfig

    target = target_of(options, env)
    steps = options.max_steps if options.steps is None else options.steps
    kept = options.steps if options.transitions is None else options.transitions
    config = CollectConfig(
        options.env,
        options.seed,
        target_return=target,
        transitions=KEPT if kept is None else kept,
        max_steps=MAX_STEPS if steps is None else steps,
        policy=options.policy,
    )
    if not is_name(options.name):
        raise UsageError(
            f"collect: --name {shown(options.name)} is no name, allowed are letters, digits, '.', '_' and '-'"
        )
    if options.seed < 0:
        raise UsageError(f"collect: --seed is {options.seed}, allowed is 0 and above")
    if max(config.transitions, config.max_steps) > MOST_STEPS:
        raise UsageError(f"collect: more than {MOST_STEPS:,} steps are more than a replay can hold")
    if config.transitions < 1 or config.max_steps < 1 or options.checkpoint_every < 1:
        raise UsageError(
            "collect: --steps, --max-steps, --transitions and --checkpoint-every are numbers of steps, 1 and above"
        )
    return config


def target_of(options: argparse.Namespace, env: Environment) -> float | None:
    """The mean return that ends collecting, None where a number of steps does; raises UsageError."""
    given = [name for name in ("--target-score", "--target-return", "--steps") if _value(options, name) is not None]
    if len(given) > 1:
        raise UsageError(f"collect: {given[0]} and {given[1]} both say when to end, so give one of them")
    if options.steps is not None:
        if options.max_steps is not None:
            raise UsageError("collect: --max-steps is the upper end for a target, and --steps has none")
        return None
    if options.policy == "random":
        raise UsageError("collect: --policy random gets no better, so say --steps and no target")
    if options.target_return is not None:
        target = options.target_return
    elif env.reference_min is None or env.reference_max is None:
        raise UsageError(
            f"collect: {options.env} has no references for a --target-score, so say --target-return or --steps"
        )
    else:
        score = MEDIUM_SCORE if options.target_score is None else options.target_score
        target = env.reference_min + score / 100 * (env.reference_max - env.reference_min)
    if not math.isfinite(target):
        raise UsageError(f"collect: the target is {target}, allowed is any finite number")
    return target


def summary(out: Path, card: Mapping[str, Any]) -> str:
    """What was collected, for people."""
    score = "" if card["normalized_mean"] is None else f" (normalized {card['normalized_mean']})"
    count = f"{card['transitions']:,} transitions in {card['episodes']:,} episodes"
    lines = [
        f"{card['name']}: {count} of {card['environment']}",
        f"ended         after {card['steps_collected']:,} steps, {ENDED[card['ended']]}",
        f"episodes      mean return {card['return_mean']}{score}, from {card['return_min']} to {card['return_max']}",
    ]
    if card["final_evaluations"]:
        lines.append(f"evaluations   the last: {', '.join(str(r) for r in card['final_evaluations'])}")
    use = shlex.join(["--dataset", f"file:{out / 'data.hdf5'}", "--env", card["environment"]])
    return "\n".join([*lines, "", str(out), f"corruptbench run --algo iql --corrupt obs-random {use}"])


def _value(options: argparse.Namespace, flag: str) -> Any:
    return getattr(options, flag[2:].replace("-", "_"))


def _without_out(arguments: Sequence[str]) -> list[str]:
    """The command as it is recorded: the folder is the reader's own."""
    kept, skip = [], False
    for argument in arguments:
        if skip or argument.startswith("--out="):
            skip = False
        elif argument == "--out":
            skip = True
        else:
            kept.append(argument)
    return [*kept, "--out", "DIR"]
