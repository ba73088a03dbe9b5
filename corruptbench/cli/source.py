"""How a command line names a dataset: the options that ``run``, ``corrupt`` and ``data`` have in common."""

import argparse
import math
import sys
from pathlib import Path
from typing import Any

from corruptbench.errors import UsageError

NAMES = "a shipped dataset, d4rl:ID, d4rl:PATH, minari:ID, or file:PATH"


def add_source_options(parser: argparse._ActionsContainer) -> None:
    """What says how a dataset is read: for ``data`` and ``corrupt``, as in ``run``."""
    parser.add_argument("--env", help="the environment it belongs to (default: that of our table; a file: needs it)")
    _add_reading_options(parser)


def add_clean_options(parser: argparse._ActionsContainer, needs: str = "") -> None:
    """The clean data of finished runs, which have an environment; read by :func:`clean_data`."""
    text = "the clean data, as in training; needed for a file:, whose folder a record does not know"
    parser.add_argument("--dataset", help=f"{needs}{text}")
    _add_reading_options(parser)


def _add_reading_options(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--on-nonfinite",
        choices=("refuse", "drop-episode"),
        default="refuse",
        help="drop-episode drops whole episodes with NaN or Inf",
    )
    parser.add_argument("--download", action="store_true", help="fetch a Minari dataset that is not here (extra hub)")


def add_plugin_timeout(parser: argparse._ActionsContainer) -> None:
    """How long a plug-in's corruption may take."""
    from corruptbench.registry import PLUGIN_TIMEOUT

    parser.add_argument(
        "--plugin-timeout", type=float, default=PLUGIN_TIMEOUT, help="seconds that a plug-in's corruption may take"
    )


def plugin_timeout(options: argparse.Namespace) -> float:
    """The seconds that were asked for; raises UsageError."""
    seconds: float = options.plugin_timeout
    if not 0 < seconds < math.inf:
        raise UsageError(f"--plugin-timeout is {seconds:g}, allowed is any number of seconds above 0")
    return seconds


def add_log_options(parser: argparse._ActionsContainer) -> None:
    """Where a run tells how it goes."""
    parser.add_argument("--log", metavar="TRACKER", help="tensorboard or wandb (extras of these names), offline")
    parser.add_argument("--log-to", type=Path, default=Path("logs"), help="folder of what is logged")


def add_device(parser: argparse._ActionsContainer) -> None:
    """What training is done on."""
    parser.add_argument("--device", default="cpu", help="what training is done on: cpu, cuda, or cuda:1 for the second")


def add_track_sharpness(parser: argparse._ActionsContainer) -> None:
    """How often a run's sharpness is measured."""
    parser.add_argument(
        "--track-sharpness",
        type=int,
        metavar="EVERY",
        help="measure the sharpness of every objective every so many steps and at the end, into sharpness.json",
    )


def log_options(options: argparse.Namespace) -> dict[str, Any]:
    """The fields of a Setup; raises UsageError for an unknown tracker or a missing package."""
    from corruptbench.trackers import check

    if options.log is not None:
        check(options.log)
    return {"log": options.log, "log_to": options.log_to}


def setup_of(options: argparse.Namespace, *, here: bool = True):  # type: ignore[no-untyped-def]
    """The Setup of ``run`` and ``sweep``; raises UsageError, for a device only where runs are trained ``here``."""
    from corruptbench.attempt import Setup

    return Setup(
        options.engine,
        options.threads,
        options.checkpoint_every,
        plugin_timeout(options),
        options.track_sharpness,
        **log_options(options),
        device=device(options.device) if here else options.device,
    )


def device(text: str) -> str:
    """The device that was asked for; raises UsageError for one that PyTorch does not see here."""
    if text == "cpu":
        return text
    import torch

    seen = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    seen += [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    if text not in seen:
        raise UsageError(f"--device is {text!r}, and PyTorch {torch.__version__} sees {', '.join(seen)} here")
    return text


def load_rows(options: argparse.Namespace, *, announce: bool = True):  # type: ignore[no-untyped-def]
    """The dataset that the options name, with the gate's report, of which standard error is told."""
    from corruptbench.environments import environment

    return _loaded(options, environment(options.env) if options.env else None, announce=announce)


def clean_data(options: argparse.Namespace, record):  # type: ignore[no-untyped-def]
    """The dataset of a run that ``--dataset`` names, in the run's environment; None where nothing is named."""
    from corruptbench.trained import environment_of_data

    return _loaded(options, environment_of_data(record.spec)).dataset() if options.dataset else None


def _loaded(options: argparse.Namespace, env, *, announce: bool = True):  # type: ignore[no-untyped-def]
    from corruptbench.data import load_rows

    loaded = load_rows(options.dataset, env, on_nonfinite=options.on_nonfinite, download=options.download)
    for sentence in loaded.report.sentences if announce else ():
        print(f"{loaded.id}: {sentence}", file=sys.stderr)
    return loaded
