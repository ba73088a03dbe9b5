"""Kills a dataset collection at each of its file events in turn: python scripts/kill_everywhere.py

What tests/faults/test_killed.py does with a run and a table, done with a collection of 1,000 random steps. The same
command is then given again, and its files are compared with those of a collection that nobody disturbed.
"""

import signal
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "faults"))

from fault_children import child, command, hashes, killed_at

COLLECT = ["data", "collect", "--env", "Pendulum-v1", "--policy", "random", "--steps", "1000", "--name", "pendulum"]


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)

        def collect(below: str):  # type: ignore[no-untyped-def]
            return command(*COLLECT, "--checkpoint-every", "200", "--out", str(folder / below / "pendulum"))

        errors = folder / "said"
        whole = child(collect("whole"), errors)
        assert whole.wait() == 0, whole.said()
        expected, resumed = hashes(folder / "whole"), 0
        for event in range(1, 10_000):
            below = folder / f"{event}"
            code = child(killed_at(event, below, collect(f"{event}")), errors).wait()
            if code == 0:
                break
            assert code == -signal.SIGKILL, errors.read_text()
            again = child(collect(f"{event}"), errors)
            code = again.wait()
            finished = code == 2 and "exists already" in again.said()  # the kill came after the last renaming
            assert code == 0 or finished, again.said()
            resumed += "goes on from the checkpoint" in again.said()
            found = hashes(below)
            assert {name: found[name] for name in expected} == expected, f"event {event}: other bytes"
            print(f"\r{event} events", end="", file=sys.stderr, flush=True)
    print(f"\n{event - 1} file events, a kill at each: every collection ended in the same bytes, {resumed} resumed")


if __name__ == "__main__":
    main()
