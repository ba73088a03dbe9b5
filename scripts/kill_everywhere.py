"""Kills a command at each of its file events in turn: python scripts/kill_everywhere.py collection|sweep

What tests/faults/test_killed.py does with a run and a table, done with a collection of 1,000 random steps, or with a
sweep of two runs of 20 steps. After each kill ``verify`` must find nothing and the same command is given again; its
files are compared with those of a command that nobody disturbed.
"""

import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "faults"))

from fault_children import child, command, hashes, in_turn, killed_at, sweep_arguments

from corruptbench import training
from corruptbench.sweep import sweep

COLLECT = ["data", "collect", "--env", "Pendulum-v1", "--policy", "random", "--steps", "1000", "--name", "pendulum"]


def collection(folder: Path) -> Callable[[], int]:
    return command(*COLLECT, "--checkpoint-every", "200", "--out", str(folder / "pendulum"))


def sweep_of_two(folder: Path) -> Callable[[], int]:
    return command(*sweep_arguments(folder.parent, folder))


def main(what: str) -> None:
    action = {"collection": collection, "sweep": sweep_of_two}[what]
    sweep.here = in_turn
    training.FINAL_EPISODES, training.CURVE_EPISODES, training.CURVE_EVERY = 2, 1, 10
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        errors = folder / "said"
        whole = child(action(folder / "whole"), errors)
        assert whole.wait() == 0, whole.said()
        expected, resumed = hashes(folder / "whole"), 0
        for event in range(1, 10_000):
            below = folder / f"{event}"
            code = child(killed_at(event, below, action(below)), errors).wait()
            if code == 0:
                break
            assert code == -signal.SIGKILL, errors.read_text()
            if below.exists() and what == "sweep":
                found = child(command("verify", str(below)), errors)
                assert found.wait() == 0, found.said()
            again = child(action(below), errors)
            code = again.wait()
            finished = code == 2 and "exists already" in again.said()  # the kill came after the last renaming
            assert code == 0 or finished, again.said()
            resumed += "goes on from the checkpoint" in again.said()
            found = hashes(below)
            assert {name: found[name] for name in expected} == expected, f"event {event}: other bytes"
            if what == "sweep":
                assert set(found) == set(expected), f"event {event}: {set(found) - set(expected)} is left over"
            print(f"\r{event} events", end="", file=sys.stderr, flush=True)
    print(
        f"\n{event - 1} file events of a {what}, a kill at each: the same command ended in the same bytes every time, "
        f"{resumed} went on from a checkpoint ({(time.monotonic() - begin) / 60:.0f} minutes)"
    )


if __name__ == "__main__":
    if sys.argv[1:] not in (["collection"], ["sweep"]):
        sys.exit(__doc__)
    main(sys.argv[1])
