"""How suites and sweeps spell a learner, an algorithm with its optimizer: ``iql``, ``iql+sam:rho=0.1,on=V+Q``."""

from typing import Any

from corruptbench import command, settings
from corruptbench.errors import shown
from corruptbench.optimizers import optimizer_named
from corruptbench.request import RunRequest
from corruptbench.tables.listing import shown_name


def learner_fields(text: str) -> dict[str, Any]:
    """The fields of a request that ask for a learner; raises UsageError for an unknown optimizer and a broken spelling.

    The optimizer's settings are checked where it is made, for an algorithm may come with a plug-in.
    """
    algo, plus, rest = text.partition("+")
    if not plus:
        return {"algo": algo}
    where = f"algorithm {shown(text)}"
    name, options = settings.with_settings(rest, where)
    optimizer_named(name)
    fields: dict[str, Any] = {"algo": algo, "optimizer": name}
    if "on" in options:
        fields["sam_on"] = tuple(options.pop("on").split("+"))
    if "rho" in options:
        fields["rho"] = settings.convert(options.pop("rho"), float, f"{where}: rho")
    return {**fields, "optimizer_options": options}


def learner_text(request: RunRequest) -> str:
    """A request's learner as suites spell it, its settings in sorted order."""
    given = {name: command.text(value) for name, value in request.optimizer_options.items()}
    if request.sam_on is not None:
        given["on"] = "+".join(request.sam_on)
    if request.rho is not None:
        given["rho"] = command.text(request.rho)
    name = shown_name(request.algo, request.optimizer)
    return f"{name}:{','.join(f'{key}={value}' for key, value in sorted(given.items()))}" if given else name
