"""Rules on how it was run: one configuration throughout, and nothing in a record that says otherwise."""

import dataclasses
import json
from collections import Counter, defaultdict
from typing import Any

from corruptbench import command, settings
from corruptbench.algos.agent import options_of
from corruptbench.errors import CorruptBenchError, shown
from corruptbench.optimizers import optimizer_of, spec_of
from corruptbench.registry import ALGORITHMS, source_sha256
from corruptbench.store import canonical
from corruptbench.submission.reading import (
    UNIVERSAL,
    Entry,
    Found,
    Run,
    Submission,
    most_common,
    preset_of,
    preset_settings,
)

PHYSICS = ("corruptbench", "gymnasium", "mujoco")
"""The software that moves scores; the last bits depend on more, and re-evaluation and reproduction say on what."""


def configuration(submission: Submission) -> Found:
    """An algorithm has one configuration in all cells and units; a preset's settings may differ from cell to cell."""
    for entry in submission.entries:
        found = {run.name: _configuration(run, entry) for run in entry.runs}
        names = sorted({name for values in found.values() for name in values})
        deviating: dict[str, list[str]] = defaultdict(list)
        for name in names:
            counts = Counter(canonical(values.get(name)) for values in found.values())
            usual = most_common(counts.elements())
            for run, values in found.items():
                text = canonical(values.get(name))
                if text != usual:
                    deviating[run].append(
                        f"its {name} is {_value(text)}, and {counts[usual]} of the {len(found)} runs of {entry.name} "
                        f"have {_value(usual)}"
                    )
        yield from ((run, "; ".join(what)) for run, what in deviating.items())


def _value(text: str) -> str:
    """A setting's canonical text for people, ``nothing`` for one that a spec does not name."""
    value = json.loads(text)
    if value is None:
        return "nothing"
    return shown(value) if isinstance(value, str) or len(text) > 80 else text


def _configuration(run: Run, entry: Entry) -> dict[str, Any]:
    """What is the same in all runs of an entry, by name; of a preset's track, what was set beside the preset."""
    spec, optimizer = run.spec, run.spec.optimizer
    options = dict(spec.algorithm.options)
    if entry.track != UNIVERSAL and run.agent is not None:
        options = command.differing(run.agent, _preset(run, entry.track)[1])
    return {
        **{f"{spec.algorithm.name}.{name}": value for name, value in options.items()},
        "plug-in's SHA-256": spec.algorithm.source_sha256,
        "sam-on": list(optimizer.on),
        "rho": optimizer.rho,
        **{f"{optimizer.name}.{name}": value for name, value in optimizer.options.items()},
        **{f"version of {name}": run.record.versions.get(name) for name in PHYSICS},
    }


def stated(submission: Submission) -> Found:
    """What tables show of a run follows from its spec, to which its id belongs: settings, optimizer, track, command."""
    for run in submission.runs:
        spec, record = run.spec, run.record
        what = _algorithm(run)
        if what is None and run.agent is not None:
            what = _optimizer(run, run.agent)
        if what is None and run.agent is not None and run.corruption is not None:
            preset, base = _preset(run, spec.track)
            optimizer = optimizer_of(run.agent, spec.optimizer)
            options = command.changed_in_run(run.agent, spec.algorithm.name, optimizer, run.corruption)
            words = command.words(spec, run.agent, run.corruption, (preset, base) if preset else None)
            supplied = spec.environment.references_supplied  # a rule of its own
            stated = {name: value for name, value in record.options.items() if name != "references" or not supplied}
            if spec.track != UNIVERSAL and preset is None:
                what = f"its track is {spec.track}, and {spec.algorithm.name} has no such settings for this cell"
            elif stated != options:
                what = f"its options are {_shown(stated)}, and its spec gives {_shown(options)}"
            elif record.command.removesuffix(" --no-score") not in (words, f"{words} --on-nonfinite drop-episode"):
                what = f"its command is {shown(record.command)}, and that of its spec is {shown(words)}"
        if what:
            yield run.name, what


def _preset(run: Run, track: str) -> tuple[str | None, Any]:
    """The preset that a track has for a run's cell, if there is one, and the algorithm as it alone makes it."""
    name = preset_of(run.spec.algorithm.name, track)
    values = preset_settings(name, run) if name else {}
    return name if values else None, settings.build(type(run.agent), values, run.spec.algorithm.name)


def _algorithm(run: Run) -> str | None:
    """What is wrong with the name of an algorithm and its settings, as far as it is at hand."""
    spec = run.spec.algorithm
    try:
        cls = ALGORITHMS.known(spec.name)
    except CorruptBenchError:
        return None if spec.source_sha256 else f"{spec.name} is no algorithm of ours, and no plug-in's SHA-256 is there"
    if source_sha256(cls) != spec.source_sha256:
        found, needed = spec.source_sha256 or "that of no plug-in", source_sha256(cls) or "part of the benchmark"
        return f"the SHA-256 of its {spec.name} is {found[:18]}, and {spec.name} here is {needed[:21]}"
    if run.agent is None or canonical(options_of(run.agent)) != canonical(spec.options):
        return f"its settings are not those that {spec.name} has"
    return None


def _optimizer(run: Run, agent: Any) -> str | None:
    spec = run.spec.optimizer
    try:
        found = spec_of(optimizer_of(agent, spec))
    except CorruptBenchError as error:
        return f"its optimizer cannot be: {error}"
    if canonical(dataclasses.asdict(found)) == canonical(dataclasses.asdict(spec)):
        return None
    own = "".join(f", {shown(str(name))} {shown(str(value))}" for name, value in sorted(spec.options.items()))
    return f"its optimizer cannot be: {spec.name} on {'+'.join(spec.on) or 'nothing'} with rho {spec.rho:g}{own}"


def _shown(options: dict[str, str]) -> str:
    text = ";".join(f"{name}={value}" for name, value in sorted(options.items()))
    return shown(text) if text else "the usual ones"
