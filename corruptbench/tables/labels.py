"""How tables, pages and the terminal name a row's threat model and its learner."""

from collections.abc import Sequence

from corruptbench.errors import PluginError, UsageError
from corruptbench.optimizers import OPTIMIZERS, optimizer_for
from corruptbench.records import RunRecord
from corruptbench.registry import ALGORITHMS
from corruptbench.tables.listing import Row, run_row, shown_name


def threat(row: Row) -> str:
    """A row's threat model as ``--corrupt`` spells it, without its rate and its scale."""
    words = [f"preset={row['preset']}"] * bool(row["preset"])
    words += [o.removeprefix("corruption.") for o in row["options"].split(";") if o.startswith("corruption.")]
    return ":".join([row["corruption"], ",".join(words)] if words else [row["corruption"]])


def full_threat(row: Row) -> str:
    """A row's threat model as ``--corrupt`` spells it, with rate and scale where they are not the usual ones."""
    usual = {"rate": ("0.3", "0"), "scale": ("1",)}
    words = [f"{name}={row[name]}" for name in usual if row[name] not in usual[name]]
    short = threat(row)
    return ("," if ":" in short else ":").join([short, ",".join(words)]) if words else short


def label(row: Row) -> str:
    """``riql+sam``, with its track and its settings where they are not the usual ones."""
    parts = [shown_name(row["algo"], row["optimizer"])]
    if row["sam_on"] and row["sam_on"] != _usual_objectives(row["algo"], row["optimizer"]):
        parts.append(f"on {row['sam_on']}")
    if row["rho"] not in ("", str(getattr(OPTIMIZERS.get(row["optimizer"]), "rho", ""))):
        parts.append(f"rho={row['rho']}")
    if row["track"] != "universal":
        parts.append(f"({row['track']})")
    own = [option for option in row["options"].split(";") if option and not option.startswith("corruption.")]
    return " ".join([*parts, *filter(None, [";".join(own)])])


def run_name(record: RunRecord) -> str:
    """``riql+sam, obs-adv, unit 0``."""
    row = run_row(record)
    seeds = f"unit {row['unit']}" if row["unit"] else "own seeds"
    return f"{label(row)}, {full_threat(row)}, {seeds}"


def run_names(records: Sequence[RunRecord]) -> list[str]:
    """The name of each run, with its dataset where there are several and its id where two would be called the same."""
    several = len({record.spec.dataset for record in records}) > 1
    found = [run_name(record) + f", {record.spec.dataset}" * several for record in records]
    return [
        name if found.count(name) == 1 else f"{name}, {record.run_id}"
        for name, record in zip(found, records, strict=True)
    ]


def _usual_objectives(algo: str, optimizer: str) -> str:
    """What an optimizer alone applies to, nothing for an algorithm or an optimizer that is not at hand."""
    if optimizer not in OPTIMIZERS:
        return ""
    try:
        agent = ALGORITHMS.known(algo)()
    except (UsageError, PluginError):
        return ""
    return "+".join(optimizer_for(agent, optimizer).on)
