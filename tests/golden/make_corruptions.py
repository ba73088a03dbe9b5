"""Makes ``corruptions.json``: the published hashes of the random corruptions (docs/protocol.md section 6 A).

    python tests/golden/make_corruptions.py

The dataset is ``integer_transitions`` of ``tests/builders_corruptions.py``, the settings are each corruption's
defaults, the corruption seed is unit 0's. The same bytes are promised on any machine, so a new number means another
protocol: never make them again to turn a test green. Nothing is written where the slow version of the tests disagrees.
"""

import json
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from builders_corruptions import integer_transitions  # noqa: E402
from reference_corruptions import FIELDS, slow_gauss, slow_random, slow_sha256, slow_swap, slow_zero  # noqa: E402

from corruptbench.registry import CORRUPTIONS  # noqa: E402
from corruptbench.rng import unit_seeds  # noqa: E402
from corruptbench.types import Streams  # noqa: E402

NAMES = (
    *("none", "obs-random", "act-random", "rew-random", "dyn-random", "mix-random"),
    *("obs-gauss", "act-gauss", "dyn-gauss"),
    *(f"{element}-{mode}" for mode in ("zero", "swap") for element in FIELDS),
)
SLOW = {"random": slow_random, "gauss": slow_gauss}


def slow_hash(name: str, seed: int) -> str:
    """The hash of the default threat model ``name``, computed by the slow version alone."""
    clean = integer_transitions()
    element, _, mode = name.partition("-")
    touched = {"none": (), "mix": tuple(FIELDS)}.get(element, (element,))
    changed = {}
    for e in touched:
        if mode in SLOW:
            changed[FIELDS[e]] = SLOW[mode](clean, seed, e, 0.3, 1.0)[0].astype(np.float32)
        else:
            changed[FIELDS[e]] = {"zero": slow_zero, "swap": slow_swap}[mode](clean, seed, e, 0.3)[0]
    return slow_sha256(clean.replace(**changed))


def main() -> None:
    seed = unit_seeds(0)[1]
    hashes = {n: CORRUPTIONS.get(n)()(integer_transitions(), Streams(seed)).dataset.sha256 for n in NAMES}
    for name, digest in hashes.items():
        if digest != slow_hash(name, seed):
            raise SystemExit(f"{name}: the product says {digest}, the slow version {slow_hash(name, seed)}")
    table = {"dataset": "integer_transitions()", "corruption_seed": seed, "sha256": hashes}
    (HERE / "corruptions.json").write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
