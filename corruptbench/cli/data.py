"""``corruptbench data``: the datasets there are, and collecting one."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from corruptbench.cli.parser import Parser, Verb
from corruptbench.errors import UsageError


def main(arguments: Sequence[str]) -> int:
    parser = Parser("corruptbench data", "Datasets.")
    verbs = parser.add_subparsers(dest="verb", required=True, parser_class=Verb)
    verbs.add_parser("list", help="the shipped datasets, one line each")
    collect = verbs.add_parser("collect", help="SAC from nothing to a medium policy, everything it saw as a dataset")
    collect.add_argument("--env", required=True, help="Gymnasium environment with Box observations and actions")
    collect.add_argument("--name", required=True, help="what the dataset is called")
    collect.add_argument("--out", type=Path, required=True, help="folder that is made, with data, card and plot")
    collect.add_argument("--seed", type=int, default=0, help="of the learner, its exploration and the environment")
    collect.add_argument(
        "--target-score", type=float, help="normalized score of a medium policy; 40 where there are references"
    )
    collect.add_argument("--target-return", type=float, help="or its mean return")
    collect.add_argument("--transitions", type=int, default=100_000, help="how many to keep, in whole episodes")
    collect.add_argument("--max-steps", type=int, default=1_000_000, help="collecting ends here at the latest")
    collect.add_argument("--engine", default="auto", help="auto, compiled or eager")
    options = parser.parse_args(arguments)
    return _list() if options.verb == "list" else _collect(options, arguments)


def _list() -> int:
    from corruptbench.data import shipped

    for name, card in shipped().items():
        print(
            f"{name:<18} {card['environment']:<15} {card['transitions']:>9,} transitions, {card['episodes']:,} episodes"
        )
    return 0


def _collect(options, arguments: Sequence[str]) -> int:  # type: ignore[no-untyped-def]
    import torch

    from corruptbench.collect.card import write_dataset
    from corruptbench.collect.replay import CollectConfig, collect
    from corruptbench.environments import environment
    from corruptbench.store import probe_writable, publish

    torch.set_num_threads(1)
    env = environment(options.env)
    target = options.target_return
    if target is None:
        if env.reference_min is None or env.reference_max is None:
            raise UsageError(f"data collect: {options.env} has no references for a score, so say --target-return")
        score = 40.0 if options.target_score is None else options.target_score
        target = env.reference_min + score / 100 * (env.reference_max - env.reference_min)
    if options.transitions < 1 or options.max_steps < 1:
        raise UsageError("data collect: --transitions and --max-steps are numbers of steps, 1 and above")
    if options.out.exists():
        raise UsageError(f"data collect: --out {options.out} exists already, and nothing is overwritten")
    probe_writable(options.out.parent)
    config = CollectConfig(
        options.env, options.seed, target_return=target, transitions=options.transitions, max_steps=options.max_steps
    )
    replay, evaluations = collect(config, engine=options.engine)
    command = shlex.join(["corruptbench", "data", *_without_out(arguments)])
    publish(
        options.out, lambda folder: print(write_dataset(folder, options.name, config, replay, evaluations, command))
    )
    return 0


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
