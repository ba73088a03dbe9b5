"""How suites and sweeps spell a learner: ``iql``, ``iql+sam:rho=0.1,on=V+Q``, ``iql:layer_norm=true+sam``."""

from typing import Any

from corruptbench import command, settings
from corruptbench.errors import shown
from corruptbench.optimizers import optimizer_named
from corruptbench.request import RunRequest
from corruptbench.tables.listing import shown_name


def learner_fields(text: str) -> dict[str, Any]:
    """The fields of a request that ask for a learner; raises UsageError for an unknown optimizer and a broken spelling.

    Settings are checked where algorithm and optimizer are made, for an algorithm may come with a plug-in.
    """
    where = f"algorithm {shown(text)}"
    first, plus, rest = text.partition("+")
    algo, own = settings.with_settings(first, where)
    fields: dict[str, Any] = {"algo": algo, "algo_options": own} if own else {"algo": algo}
    if not plus:
        return fields
    name, options = settings.with_settings(rest, where)
    optimizer_named(name)
    fields["optimizer"] = name
    if "on" in options:
        fields["sam_on"] = tuple(options.pop("on").split("+"))
    if "rho" in options:
        fields["rho"] = settings.convert(options.pop("rho"), float, f"{where}: rho")
    return {**fields, "optimizer_options": options}


def learner_text(request: RunRequest) -> str:
    """A request's learner as suites spell it, its settings in sorted order."""
    given = _texts(request.optimizer_options)
    if request.sam_on is not None:
        given["on"] = "+".join(request.sam_on)
    if request.rho is not None:
        given["rho"] = command.text(request.rho)
    algo = _with(request.algo, _texts(request.algo_options))
    return _with(shown_name(algo, request.optimizer), given)


def _texts(options: dict[str, Any]) -> dict[str, str]:
    return {name: command.text(value) for name, value in options.items()}


def _with(name: str, given: dict[str, str]) -> str:
    return f"{name}:{','.join(f'{key}={value}' for key, value in sorted(given.items()))}" if given else name
